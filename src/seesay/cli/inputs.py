"""Shared handling of inputs: pictures, texts, models and collections."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from seesay.cli.output import progress, say, warn, working

if TYPE_CHECKING:
    from seesay.inference.answer import Assistant
    from seesay.inference.embedder import Embedder, Embeddings
    from seesay.search.collection import Collection
    from seesay.weights.catalog import EmbeddingEntry


STDIN = "-"


def collect_images(paths: Sequence[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Files to read, and (folder, reason) for folders without a picture."""
    from seesay.data.images import find_images

    found = find_images(paths)
    empty = say(
        "this folder has no picture in it; expected files that end in .jpg, .png or the like; "
        "name a folder with some",
        "这个文件夹里没有图片；应有 .jpg、.png 等结尾的文件；请换一个有图片的文件夹",
    )
    return list(found.files), [(str(folder), empty) for folder in found.empty]


def read_pictures(paths: Sequence[str]) -> list[str | bytes]:
    """Paths as they are, and for `-` the picture on stdin. Raises ConfigError for a second one, and
    where stdin is empty."""
    from seesay.errors import ConfigError
    from seesay.text import Text

    if paths.count(STDIN) > 1:
        raise ConfigError(
            Text(
                "- stands twice among the pictures; expected it once, since stdin holds one "
                "picture; give the others as files",
                "图片里有两个 -；应只有一个，因为标准输入只有一张图片；其余的请给出文件",
            )
        )
    if STDIN not in paths:
        return list(paths)
    piped = sys.stdin.buffer.read()
    if not piped:
        raise ConfigError(
            Text(
                "nothing came from stdin; expected a picture, since - stands among the pictures; "
                "pipe one in, as in seesay ask - QUESTION < cat.jpg, or name a file",
                "标准输入没有内容；图片里有 -，应从标准输入传入一张图片，如 seesay ask - 问题 < "
                "猫.jpg；请传入图片，或改为给出文件",
            )
        )
    return [piped if path == STDIN else path for path in paths]


def embedder_name(name: str | None, adapter: Path | None) -> str | None:
    """The name of the model that makes vectors, with its adapter."""
    if adapter is None:
        return name
    from seesay.weights.catalog import default_model
    from seesay.weights.hub import adapted_name

    return adapted_name(name or default_model(), adapter)


def assistant_name(name: str | None, adapter: Path | None, endpoint: str | None) -> str | None:
    """The name of the model that answers, with its adapter. Raises ConfigError for an adapter at an
    endpoint."""
    if adapter is None:
        return name
    from seesay.errors import ConfigError
    from seesay.text import Text
    from seesay.weights.catalog import default_assistant
    from seesay.weights.hub import adapted_name

    if endpoint:
        raise ConfigError(
            Text(
                "--adapter stands beside --endpoint; expected one of them, since an endpoint puts "
                "adapters on its models itself; leave --adapter out and name the model that the "
                "endpoint serves with it",
                "--adapter 与 --endpoint 同时给出；只应有一个，端点上的模型由端点自己加适配器；"
                "请去掉 --adapter，改用端点上已加适配器的模型名",
            )
        )
    return adapted_name(name or default_assistant(), adapter)


def load_assistant(
    name: str | None, endpoint: str | None, device: str | None, pictures: int | None = None
) -> "Assistant":
    """Open a vision-language model to see so many pictures, None for any number, with a notice on a
    terminal meanwhile."""
    with working(say("loading the model", "正在加载模型")):
        from seesay.inference.answering import open_assistant

        return open_assistant(name, endpoint=endpoint, device=device, pictures=pictures)


def load_embedder(name: str, device: str | None, adapter: Path | None = None) -> "Embedder":
    """Load a model, with a notice on a terminal meanwhile."""
    with working(say(f"loading {name}", f"正在加载 {name}")):
        from seesay.inference.embedder import load

        return load(name, adapter=adapter, device=device)


def embed_images(embedder: "Embedder", files: Sequence[Path]) -> "Embeddings":
    with progress(say("pictures", "图片")) as report:
        return embedder.embed_images(files, on_progress=report)


def embed_texts(embedder: "Embedder", texts: Sequence[str]) -> "Embeddings":
    """Embed texts, and report those longer than the model's context."""
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


ADVISED = "model_advised"  # the setting of collections whose user was told of a better model


@contextmanager
def opened(
    name: str | None,
    *,
    create: bool = False,
    model: "str | Embedder | None" = None,
    text_model: str | None = None,
    device: str | None = None,
) -> "Iterator[Collection]":
    """Open the collection of this name, and close it at the end."""
    with working(say("opening the collection", "正在打开资料库")):
        from seesay.search.collection import Collection

        collection = Collection.open(
            name, create=create, model=model, text_model=text_model, device=device
        )
    with collection:
        yield collection


@contextmanager
def started(
    name: str | None,
    paths: Sequence[str],
    *,
    model: str | None = None,
    text_model: str | None = None,
    device: str | None = None,
) -> "Iterator[Collection]":
    """The collection to take these paths into, with its model loaded; made where there is none,
    but only for a path that is there and with a model that can be loaded."""
    from seesay.search.model import model_id, text_model_id
    from seesay.search.places import check_paths, is_there
    from seesay.weights.catalog import default_model, default_text_model

    chosen: "str | Embedder | None" = model
    if paths and not is_there(name):
        check_paths(paths)
        text_model_id(text_model or default_text_model())  # refuse it before anything is made
        chosen = load_embedder(model_id(model or default_model()), device)
    create = bool(paths)
    with opened(
        name, create=create, model=chosen, text_model=text_model, device=device
    ) as collection:
        load_model(collection)
        yield collection


def load_model(collection: "Collection", *, for_words: bool = False) -> None:
    """Load the model now, saying so on a terminal, rather than in the middle of the work; what
    embeds words is enough `for_words`."""
    name = collection.model.name
    with working(say(f"loading {name}", f"正在加载 {name}")):
        if for_words:
            collection.model.for_queries()
        else:
            collection.model.get()


def advise_model(collection: "Collection", name: str | None) -> None:
    """Where the built-in model is used: which one would find far more, and how to get it. Said once
    of each collection."""
    from seesay.weights.catalog import find

    entry, used = better_model(), find(collection.model.name)
    if entry is None or used is None or used.built_in is None:
        return
    settings = collection.store.settings
    if settings.get(ADVISED):
        return
    with collection.store.writing("advise"):
        settings.set(ADVISED, True)
    of = f" --collection {shlex.quote(name)}" if name else ""
    command = f"seesay index --model {entry.alias}{of}"
    size = f"{entry.megabytes / 1000:.1f} GB"
    warn(
        say(
            f"{used.alias} is small and comes with seesay; {entry.alias} ({size}) would find far "
            f"more: {command}",
            f"{used.alias} 是随 seesay 安装的小模型；换成 {entry.alias}（{size}）能找到的多得多："
            f"{command}",
        )
    )


def better_model() -> "EmbeddingEntry | None":
    """The published model that the catalogue recommends first for both languages."""
    from seesay.weights.catalog import published_models

    both = {"en", "zh"}
    recommended = (e for e in published_models().values() if e.repo and e.recommended_en)
    return next((entry for entry in recommended if both <= set(entry.languages)), None)
