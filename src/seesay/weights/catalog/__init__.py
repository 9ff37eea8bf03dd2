"""Which published checkpoints there are, what they need and for whom they are."""

from seesay.weights.catalog.entries import (
    BUILT_IN,
    CATALOG,
    CatalogEntry,
    Language,
    Layout,
    find,
    nearest,
    read_catalog,
    unknown_model,
)

__all__ = [
    "BUILT_IN",
    "CATALOG",
    "CatalogEntry",
    "Language",
    "Layout",
    "find",
    "nearest",
    "read_catalog",
    "unknown_model",
]
