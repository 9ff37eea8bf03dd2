"""The sentences that a class name is put into, and everyday words and scenes to compare it with.

One data file per language. A template holds exactly one `{}`; `a(n)` before it becomes "a" or "an"
to suit the name, and is dropped if the name has an article of its own.
"""

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from seesay.errors import ConfigError
from seesay.text import Language, Text

# "an" goes by sound: an hour, but a unicorn, a European, a ukulele, a one-way street.
_VOWEL = re.compile(
    r"(?!uni(?!m|n)|us(?:[aeu]|b?\b)|eu|uk|one\b|once\b)[aeiou]|hour|honest|heir", re.I
)
_ARTICLE = re.compile(r"(a|an|the)\s", re.I)


def templates(language: Language) -> tuple[str, ...]:
    """The built-in ensemble of a language, plain sentences first."""
    return tuple(_read(language)["templates"])


def concepts(language: Language) -> tuple[str, ...]:
    """Some 200 everyday words, from animals to textures."""
    groups = _read(language)["concepts"]
    return tuple(word for words in groups.values() for word in words)


def scenes(language: Language) -> tuple[str, ...]:
    """A hundred short descriptions of everyday photographs, the same ones in each language."""
    return tuple(_read(language)["scenes"])


def check_templates(given: Sequence[str]) -> tuple[str, ...]:
    """Returns the templates. Raises ConfigError if one has no `{}`, or several."""
    if not given:
        raise ConfigError(
            Text(
                "no template was given; expected at least one sentence such as 'a photograph of "
                "{}'; add one, or leave the templates out to use the built-in ones",
                "没有给出模板；至少应有一句，如“一张{}的照片”；请添加，或不写模板而用内置的",
            )
        )
    for template in given:
        if (places := template.count("{}")) != 1:
            raise ConfigError(
                Text(
                    f"the template {template!r} has {places} places for the class name; expected "
                    "exactly one {}; write it as in 'a photograph of {}' or '一张{}的照片'",
                    f"模板 {template!r} 里有 {places} 处放类别名；应正好有一个 "
                    "{}；请写成“一张{}的照片”这样",
                )
            )
    return tuple(given)


def fill(template: str, name: str) -> str:
    """The sentence for one class name."""
    if _ARTICLE.match(name):
        template = template.replace("a(n) {}", "{}")
    article = "an" if _VOWEL.match(name) else "a"
    return template.replace("a(n) {}", f"{article} {{}}").replace("{}", name)


@cache
def _read(language: Language) -> dict[str, Any]:
    text = Path(__file__).with_name(f"prompts-{language}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
