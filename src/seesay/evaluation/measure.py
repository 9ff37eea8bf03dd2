"""What can be measured of a model: the same for training, the command line and Python.

A measure is a frozen config, so that a recipe can hold it as [evaluation.NAME]. A new one is a file
with such a class, and a line in MEASURES.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from seesay.errors import ConfigError, DataError
from seesay.evaluation.probing import ProbeAccuracy
from seesay.evaluation.retrieval import Retrieval
from seesay.evaluation.zero_shot import ZeroShot
from seesay.inference.embedder import Embedder
from seesay.text import Text


@runtime_checkable
class Measure(Protocol):
    def names(self) -> Sequence[str]:
        """What its values are called, in order. Known before anything is read."""

    def check(self) -> None:
        """Read the data, once. Raises DataError where it cannot be measured on."""

    def measure(self, embedder: Embedder) -> Iterator[tuple[str, float]]:
        """The value of each measure by its name. Higher is better."""


MEASURES: dict[str, type[Measure]] = {
    "retrieval": Retrieval,
    "zero_shot": ZeroShot,
    "probe": ProbeAccuracy,
}
"""By the name of the section of [evaluation] that asks for it."""


def measure_names(measures: Iterable[Measure]) -> list[str]:
    """What all values are called. Raises ConfigError where two have the same name."""
    names = [name for measure in measures for name in measure.names()]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise ConfigError(
            Text(
                f"two measures give {', '.join(twice[:3])}, so that one value would hide the "
                "other; expected different names: evaluate the measures one by one",
                f"有两项评测都给出 {'、'.join(twice[:3])}，会互相覆盖；名称应各不相同；请分开评测",
            )
        )
    return names


def check_measures(measures: Mapping[str, Measure]) -> None:
    """Raises DataError, naming the section of [evaluation], where its data cannot be used."""
    for section, measure in measures.items():
        try:
            measure.check()
        except DataError as error:
            where = f"[evaluation.{section}] "
            raise DataError(Text(where + error.text.en, where + error.text.zh)) from None


def evaluate(embedder: Embedder, measures: Sequence[Measure]) -> dict[str, float]:
    """The value of each name. All data is checked before the model sees any of it.

    Raises ConfigError where two values have the same name, DataError where the data of a measure
    cannot be used.
    """
    measure_names(measures)
    for measure in measures:
        measure.check()
    return {name: value for measure in measures for name, value in measure.measure(embedder)}
