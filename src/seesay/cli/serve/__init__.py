"""Serving collections. `compose` is what a program needs that starts a server itself."""

from seesay.cli.serve.composing import compose

__all__ = ["compose"]
