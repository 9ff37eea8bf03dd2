"""All the texts of a recipe, to make a vocabulary from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from seesay.data.batches_config import RecordsConfig, open_records, read_classes, used_records
from seesay.errors import ConfigError, DataError


def texts_of_records(config: RecordsConfig) -> Iterator[str]:
    """The captions of a source, or the names of its classes in each template."""
    if config.classes is not None:
        yield from texts_of_classes(config.classes, config.templates)
        return
    source = open_records(config)
    for number in used_records(config, len(source), source.damaged):
        try:
            captions = source[number].captions
        except DataError:  # training will name it, and go on too
            continue
        for language in config.languages:
            yield from captions.get(language, ())


def texts_of_classes(file: str, templates: Mapping[Any, Sequence[str]]) -> Iterator[str]:
    """The name of every class in every template of its language."""
    names: Iterable[Mapping[str, str]] = read_classes(file)
    for row in names:
        for language, texts in templates.items():
            for text in texts:
                yield text.replace("{}", row[language])


def check_templates(templates: Mapping[Any, Sequence[str]]) -> None:
    """Raises ConfigError where a text has no place for the name of a class."""
    if not templates or any("{}" not in text for texts in templates.values() for text in texts):
        raise ConfigError(
            f"templates={dict(templates)} cannot be filled, expected texts that hold {{}}: "
            "correct them"
        )
