"""What commands do with the pictures and the model they are given: find, load, embed, count."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seesay.cli.messages import say
from seesay.cli.output import progress, warn, working

if TYPE_CHECKING:
    from seesay.inference.embedder import Embedder, Embeddings


def collect_images(paths: Sequence[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Files to read, and (folder, reason) for folders without a picture."""
    from seesay.data.folders import find_images

    found = find_images(paths)
    empty = say(
        "this folder has no picture in it; expected files that end in .jpg, .png or the like; "
        "name a folder with some",
        "这个文件夹里没有图片；应有 .jpg、.png 等结尾的文件；请换一个有图片的文件夹",
    )
    return list(found.files), [(str(folder), empty) for folder in found.empty]


def load_embedder(name: str, device: str | None) -> "Embedder":
    """Load a model, saying so on a terminal while it takes."""
    with working(say(f"loading {name}", f"正在加载 {name}")):
        from seesay.inference.embedder import load

        return load(name, device=device)


def embed_images(embedder: "Embedder", files: Sequence[Path]) -> "Embeddings":
    with progress(say("pictures", "图片")) as report:
        return embedder.embed_images(files, on_progress=report)


def embed_texts(embedder: "Embedder", texts: Sequence[str]) -> "Embeddings":
    """Vectors of texts, saying which are longer than the model reads at once."""
    with progress(say("texts", "文字")) as report:
        found = embedder.embed_texts(texts, on_progress=report)
    for row, windows in zip(found.rows, found.windows, strict=True):
        if windows > 1:
            context = embedder.tokenizer.config.context
            warn(
                say(
                    f"text {row + 1} is longer than {context} tokens: its vector is the average "
                    f"of {windows} windows",
                    f"第 {row + 1} 段文字超过 {context} 个词元：它的向量是 {windows} 段的平均",
                )
            )
    return found


def warn_about_language(model: str, texts: Iterable[str]) -> None:
    """Say so where a catalogued model never saw a language that it is asked in: it answers all the
    same, and the answers are close to noise."""
    from seesay.text import detect_language
    from seesay.weights.catalog import find

    entry = find(model)
    if entry is None or "multilingual" in entry.languages:
        return
    strange = {detect_language(text) for text in texts} - set(entry.languages)
    for language in sorted(strange):
        name_en, name_zh = {"en": ("English", "英文"), "zh": ("Chinese", "中文")}[language]
        warn(
            say(
                f"{model} was not trained on {name_en}: what it makes of such words means little; "
                f"for a model that was, see: seesay models list --language {language}",
                f"{model} 没有用{name_zh}训练过，对{name_zh}词语的判断没有多少意义；"
                f"可用的模型见 seesay models list --language {language}",
            )
        )
