"""The `seesay` command. Each command imports what it needs when it runs, so --help is instant."""

import sys

import typer

from seesay.errors import SeesayError

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def root() -> None:
    """Vision-language models on your own machine."""


@app.command()
def shapes(dim: int = 8, heads: int = 2) -> None:
    """Show that an attention layer can be built."""
    from seesay.models.layers import Attention

    print(Attention(dim, heads))


def main() -> None:
    try:
        app()
    except SeesayError as error:
        print(f"seesay: {error}", file=sys.stderr)
        sys.exit(2)
