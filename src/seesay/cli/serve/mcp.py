"""`seesay mcp`: the collections as tools of an assistant, over stdin and stdout."""

from seesay.cli.options import Device
from seesay.cli.serve.command import Served


def mcp(collection: Served = None, device: Device = None) -> None:
    """Nothing but the protocol may stand on stdout: the assistant reads it."""
    import logging
    from functools import partial

    logging.basicConfig(level=logging.WARNING, format="seesay: %(message)s")  # on stderr
    from seesay.api.mcp import build_mcp
    from seesay.search.library import Library

    with Library.open(collection or (), device=device, read_only=True) as library:
        build_mcp(library, warm_up=partial(library.warm_up, only_texts=True)).run("stdio")
