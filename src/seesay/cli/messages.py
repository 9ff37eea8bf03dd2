"""Which language the command line speaks. Each text stands in both where it is used: say(en, zh).

SEESAY_LANG decides (en or zh), else the locale. What the command line itself says about how it is
used is in that language; what the library raises stays in English, so that it can be searched for.
"""

import os


def language() -> str:
    """ "zh" where Chinese is asked for, else "en"."""
    names = ("SEESAY_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    wanted = next((value for name in names if (value := os.environ.get(name))), "en")
    return "zh" if wanted.lower().startswith("zh") else "en"


def say(en: str, zh: str) -> str:
    """The one of two texts that the user reads."""
    return zh if language() == "zh" else en
