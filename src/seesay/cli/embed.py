"""`seesay embed`: pictures and texts in, vectors out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seesay.cli.options import DEFAULT_MODEL, Adapter, Device, Json, Model
from seesay.cli.output import say
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.inference.vector_files import VectorTable

SHOWN = 4  # numbers of each vector in the table on the screen


Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATHS",
        help=say("Pictures, or folders with pictures in them.", "图片，或者含有图片的文件夹。"),
    ),
]
GivenText = Annotated[
    list[str] | None,
    typer.Option("--text", "-t", help=say("A text; repeatable.", "一段文字；可重复使用。")),
]
TextsFile = Annotated[
    Path | None,
    typer.Option(help=say("UTF-8 file, one text per line.", "UTF-8 文本文件，每行一段文字。")),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help=say(
            "File for the vectors: .npz, .npy, .jsonl or .parquet.",
            "保存向量的文件：.npz、.npy、.jsonl 或 .parquet。",
        ),
    ),
]


def embed(
    paths: Paths = None,
    text: GivenText = None,
    texts_file: TextsFile = None,
    model: Model = DEFAULT_MODEL,
    adapter: Adapter = None,
    out: Out = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import (
        collect_images,
        embed_images,
        embed_texts,
        load_embedder,
        warn_about_language,
    )
    from seesay.cli.output import fail_unless_whole
    from seesay.data.files import by_ending, check_folder, read_lines
    from seesay.errors import ConfigError
    from seesay.inference.vector_files import WRITERS, save_vectors

    if out is not None:
        by_ending(out, WRITERS)  # report a wrong ending or folder before the work, not after
        check_folder(out)
    texts = [*(text or ()), *(read_lines(texts_file) if texts_file else ())]
    if not paths and not texts:
        raise ConfigError(
            Text(
                "there is nothing to embed; expected pictures, folders, --text or --texts-file; "
                "see seesay embed --help",
                "没有要计算的内容；应给出图片、文件夹、--text 或 --texts-file；"
                "参见 seesay embed --help",
            )
        )
    if not all(map(str.strip, texts)):
        raise ConfigError(
            Text(
                "a text is empty; expected words in each; fill it, or leave it out",
                "有一段文字是空的；每段都应有内容；请补上，或去掉它",
            )
        )
    files, failures = collect_images(paths or [])
    embedder = load_embedder(model, device, adapter)
    warn_about_language(model, texts)
    images = embed_images(embedder, files)
    sentences = embed_texts(embedder, texts)
    failures += [(str(files[f.index]), str(f.error)) for f in images.failures]
    failures += [(texts[f.index], str(f.error)) for f in sentences.failures]
    table = _table(embedder.name, [str(f) for f in files], texts, images, sentences)
    if out is not None and table.sources:
        save_vectors(out, table)
    if table.sources or json:
        _show(table, failures, out, as_json=json)
    fail_unless_whole(failures, len(table.sources) + len(failures), listed=json)


def _table(
    model: str, files: Sequence[str], texts: Sequence[str], images: Any, sentences: Any
) -> "VectorTable":
    import numpy as np

    from seesay.inference.vector_files import VectorTable

    return VectorTable(
        model=model,
        kinds=(*["image"] * len(images), *["text"] * len(sentences)),
        sources=(*(files[i] for i in images.rows), *(texts[i] for i in sentences.rows)),
        windows=(*images.windows, *sentences.windows),
        vectors=np.concatenate([images.vectors, sentences.vectors]),
    )


def _show(
    table: "VectorTable", failures: list[tuple[str, str]], out: Path | None, *, as_json: bool
) -> None:
    from seesay.cli.output import print_json

    if as_json:
        items = [
            {"kind": kind, "source": source, "windows": windows}
            for kind, source, windows in zip(table.kinds, table.sources, table.windows, strict=True)
        ]
        if out is None:
            for item, vector in zip(items, table.vectors.tolist(), strict=True):
                item["vector"] = vector
        print_json(
            {
                "model": table.model,
                "dim": table.vectors.shape[1],
                "out": None if out is None else str(out),
                "items": items,
                "failures": [{"source": source, "error": error} for source, error in failures],
            },
            compact=out is None,
        )
    elif out is not None:
        rows, dim = table.vectors.shape
        print(
            say(
                f"{rows} {'vector' if rows == 1 else 'vectors'} of {dim} numbers by {table.model} "
                f"-> {out}",
                f"{table.model} 生成了 {rows} 个 {dim} 维向量 -> {out}",
            )
        )
    else:
        _draw(table)


def _draw(table: "VectorTable") -> None:
    """Without an output file: print how well each picture fits each text, or the first numbers
    of each vector."""
    from seesay.cli.output import print_table

    images = [i for i, kind in enumerate(table.kinds) if kind == "image"]
    texts = [i for i, kind in enumerate(table.kinds) if kind == "text"]
    if images and texts:
        cosines = table.vectors[images] @ table.vectors[texts].T
        rows = [
            [table.sources[i], *(f"{c:.3f}" for c in row)]
            for i, row in zip(images, cosines, strict=True)
        ]
        heads = [table.sources[i] for i in texts]
        print_table([say("cosine", "余弦相似度"), *heads], rows)
    else:
        dim = table.vectors.shape[1]
        rows = [
            [source, " ".join(f"{number:+.3f}" for number in vector[:SHOWN]) + " …"]
            for source, vector in zip(table.sources, table.vectors, strict=True)
        ]
        heading = say(f"first {SHOWN} of {dim} numbers", f"{dim} 维中的前 {SHOWN} 维")
        print_table([say("input", "输入"), heading], rows)
