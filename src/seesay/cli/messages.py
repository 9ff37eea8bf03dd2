"""Which language the command line speaks. Each text stands in both where it is used: say(en, zh).

SEESAY_LANG decides (en or zh), else the locale.
"""

import os

from seesay.text import Text


def language() -> str:
    """ "zh" where Chinese is asked for, else "en"."""
    names = ("SEESAY_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    wanted = next((value for name in names if (value := os.environ.get(name))), "en")
    return "zh" if wanted.lower().startswith("zh") else "en"


def say(en: str, zh: str) -> str:
    """The one of two texts that the user reads."""
    return zh if language() == "zh" else en


def localized(text: Text) -> str:
    """What the user reads of a text that the library gives."""
    return text.in_language(language())
