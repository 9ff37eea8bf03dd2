"""Ranges that the sizes and numbers of a model's config lie in."""

from math import inf, isfinite

from seesay.errors import ConfigError


def require_at_least(least: int, **values: int) -> None:
    """Raises ConfigError, naming every value that is below `least`."""
    if wrong := [f"{name}={value}" for name, value in values.items() if value < least]:
        raise ConfigError(
            f"{' and '.join(wrong)} cannot be built, expected at least {least}: "
            "set a whole number in that range"
        )


def require_above_zero(**values: float) -> None:
    """Raises ConfigError, naming every value that is not a finite number above 0."""
    if wrong := [f"{n}={value}" for n, value in values.items() if not 0 < value < inf]:
        raise ConfigError(
            f"{' and '.join(wrong)} cannot be computed with, expected finite numbers above 0: "
            "set one in that range"
        )


def require_finite(**values: float) -> None:
    """Raises ConfigError, naming every value that is no finite number."""
    if wrong := [f"{name}={value}" for name, value in values.items() if not isfinite(value)]:
        raise ConfigError(
            f"{' and '.join(wrong)} cannot be computed with, expected finite numbers: set one"
        )


def require_token(id_name: str, token: int, vocab_size: int) -> None:
    """Raises ConfigError where an id is none of the vocabulary's."""
    if not 0 <= token < vocab_size:
        raise ConfigError(
            f"{id_name}={token} is not one of vocab_size={vocab_size} tokens, expected 0 to "
            f"{vocab_size - 1}: set {id_name} to a token of the vocabulary"
        )
