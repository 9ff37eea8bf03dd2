"""What commands do with the pictures and the model they are given: find, load, embed, count."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seesay.cli.messages import say
from seesay.cli.output import console, progress

if TYPE_CHECKING:
    from seesay.inference.embedder import Embedder, Embeddings


def collect_images(paths: Sequence[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Files to read, and (folder, reason) for folders without a picture."""
    from seesay.data.folders import find_images

    found = find_images(paths)
    empty = say("this folder has no picture in it", "这个文件夹里没有图片")
    return list(found.files), [(str(folder), empty) for folder in found.empty]


def load_embedder(name: str, device: str | None) -> "Embedder":
    """Load a model, saying so on a terminal while it takes."""
    with console(stderr=True).status(say(f"loading {name} …", f"正在加载 {name} …")):
        from seesay.inference.load import load

        return load(name, device=device)


def embed_images(embedder: "Embedder", files: Sequence[Path]) -> "Embeddings":
    with progress(say("pictures", "图片")) as report:
        return embedder.embed_images(files, on_progress=report)
