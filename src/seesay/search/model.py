"""The models of a collection: loaded when first needed, and checked to be those that indexed it.

Every collection has one model for pictures and for words about them. Its text passages have the
vectors of a text embedder, unless the collection was made without one.
"""

import hashlib
import json
import shlex
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from seesay.errors import CollectionError, ConfigError
from seesay.inference.embedder import Embedder, load, require_images
from seesay.inference.text_embedder import TextEmbedder, load_texts
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace, EmbeddingSpaceDraft, key_of
from seesay.text import Text
from seesay.weights.catalog import (
    default_model,
    default_text_model,
    find,
    require_embedding,
    unknown_model,
)
from seesay.weights.hub import adapted_name, is_repository, split_adapter

Loader = Callable[[str], Embedder]
"""Loads a model by name; collections that share a loader load each model once."""

NO_TEXT_MODEL = "none"
"""In place of a text embedder: the main model embeds text passages too."""
_TEXT_MODEL = "text_model"  # setting: the text embedder's name, for when there are text passages


# Increased when ordinary files would decode to different pixels, which makes every picture be read
# again. Fixes for rare kinds of files do not change it: only their vectors were wrong, and all
# others would have to be recomputed. `seesay index` reads such a file again when it changes.
_DECODE_RULES = 1
# How version 0.1.0 cleaned texts for open_clip layouts: only unclean texts get another vector now.
_CLEANED_BEFORE = {"open_clip_lower": "clip", "open_clip_canonicalize": "siglip"}


class CollectionModel:
    """The model that a collection embeds with. Safe to use from several threads."""

    def __init__(
        self,
        store: Store,
        given: str | Embedder | None = None,
        *,
        device: str | None = None,
        loader: Loader | None = None,
    ) -> None:
        """If `given` is None, use the collection's model, or the default one. Raises
        CollectionError if the collection has another model."""
        self._store = store
        self._device = device
        self._loader = loader
        self._mutex = threading.Lock()
        self._embedder = given if isinstance(given, Embedder) else None
        self._texts: TextEmbedder | None = None
        space = store.spaces.active()
        self.name = space.model if space else default_model()
        if given is not None:
            self.name = given.name if isinstance(given, Embedder) else model_id(given)
        entry = find(self.name)
        require_images(self.name, entry is None or entry.image_size > 0)
        if space is not None and space.model != self.name:
            raise _another(store, space.model, self.name)

    def get(self) -> Embedder:
        """Returns the model, loading it if needed. Raises CollectionError if the model of this name
        is no longer the one that made the collection's vectors."""
        with self._mutex:
            if self._embedder is None:
                loader = self._loader or partial(load, device=self._device)
                self._embedder = loader(self.name)
            self._check(self._embedder)
            return self._embedder

    def for_queries(self) -> Embedder | TextEmbedder:
        """Returns the model, or only its text half, without torch, where that is enough to start
        with: that answers a single search in a tenth of the time that loading the model takes."""
        with self._mutex:
            light = self._embedder is None and self._device is None
            if light and self._texts is None:
                self._texts = load_texts(self.name, self.get)
            if light and self._texts is not None:
                self._check(self._texts)
                return self._texts
        return self.get()

    def _check(self, embedder: Embedder | TextEmbedder) -> None:
        require_images(embedder.name, embedder.has_images)
        require_same(self._store, self._store.spaces.active(), embedder)


class CollectionTextModel:
    """The text embedder of a collection, if it has one. Safe to use from several threads, and
    follows what other processes change."""

    def __init__(
        self,
        store: Store,
        given: str | Embedder | None = None,
        *,
        device: str | None = None,
        loader: Loader | None = None,
    ) -> None:
        """`given` is for a new collection; None takes the default text embedder. Raises
        CollectionError if the collection has another one, ConfigError for a model with pictures."""
        self._store = store
        self._device = device
        self._loader = loader
        self._mutex = threading.Lock()
        self._embedders: dict[str, Embedder | TextEmbedder] = {}
        is_new = store.spaces.active() is None
        self._chosen: str | None = None
        if isinstance(given, Embedder):
            require_texts(given.name, given.has_images)
            self._embedders[given.name] = given
            self._chosen = given.name
        elif given is not None or is_new:
            self._chosen = text_model_id(given or default_text_model())
        if not is_new and given is not None and self._chosen != self.name:
            raise _other_texts(store, self.name, self._chosen or NO_TEXT_MODEL)

    @property
    def name(self) -> str | None:
        """The name of the text embedder; None if the main model embeds text passages too."""
        space = self._store.spaces.active("text")
        if space is not None:
            return space.model
        if self._store.spaces.active() is None:  # a new collection
            return self._chosen
        name = self._store.settings.get(_TEXT_MODEL)
        return None if name in (None, NO_TEXT_MODEL) else str(name)

    def get(self) -> Embedder:
        """Returns the text embedder. Raises CollectionError if the model of this name is no longer
        the one that made the vectors of the collection's texts."""
        name = self.name or NO_TEXT_MODEL
        with self._mutex:
            found = self._embedders.get(name)
            if not isinstance(found, Embedder):
                loader = self._loader or partial(load, device=self._device)
                found = self._embedders[name] = loader(name)
            self._check(found)
            return found

    def for_queries(self) -> Embedder | TextEmbedder:
        """Returns the text embedder without torch, where that is possible."""
        name = self.name or NO_TEXT_MODEL
        with self._mutex:
            found = self._embedders.get(name)
            if found is None and self._device is None:
                found = load_texts(name)
                if found is not None:
                    self._embedders[name] = found
            if found is not None:
                self._check(found)
                return found
        return self.get()

    def _check(self, embedder: Embedder | TextEmbedder) -> None:
        require_texts(embedder.name, embedder.has_images)
        require_same(self._store, self._store.spaces.active("text"), embedder)


def require_same(
    store: Store, space: EmbeddingSpace | None, embedder: Embedder | TextEmbedder
) -> None:
    """Raises CollectionError unless the model made the vectors of this space, if there is one."""
    if space is not None and key_of(draft_of(embedder)) != space.key:
        raise _changed(store, space, embedder)


def require_texts(name: str, has_images: bool) -> None:
    """Raises ConfigError for a model with pictures."""
    if has_images:
        raise ConfigError(
            Text(
                f"{name} embeds pictures too, expected a text embedder beside the model that the "
                "collection has for pictures. Choose one, such as seesay-text: seesay models list",
                f"{name} 也处理图片；应为纯文字的向量模型，与资料库处理图片的模型并用。"
                "请另选一个，例如 seesay-text：seesay models list",
            )
        )


def set_text_model(store: Store, name: str | None) -> None:
    """Remember the text embedder of a collection; None: it has none. Works only inside
    `store.writing`."""
    store.settings.set(_TEXT_MODEL, name or NO_TEXT_MODEL)


def text_model_id(name: str) -> str | None:
    """Returns the one name of a text embedder, or None for "none". Raises UnknownModelError or
    ConfigError."""
    if name == NO_TEXT_MODEL:
        return None
    known = model_id(name)
    entry = find(known)
    require_texts(known, entry is not None and entry.image_size > 0)
    return known


def draft_of(embedder: Embedder | TextEmbedder) -> EmbeddingSpaceDraft:
    """Returns the settings that must agree for vectors to be comparable."""
    # Leave out settings that version 0.1.0 did not have where they change nothing, so its
    # collections keep working with the same model.
    transform, texts = asdict(embedder.transform_config), asdict(embedder.tokenizer.config)
    if transform["resize"] != "patches":
        del transform["patch"], transform["patches"]
    if texts["end_mark"]:
        del texts["end_mark"]
    for name in ("query_prefix", "passage_prefix"):
        if not texts[name]:
            del texts[name]
    texts["clean"] = _CLEANED_BEFORE.get(texts["clean"], texts["clean"])
    facts = {
        "decode": [_DECODE_RULES, embedder.reduce_large],
        "transform": transform,
        "tokenizer": [texts, embedder.tokenizer.vocab_size],
    }
    text = json.dumps(facts, sort_keys=True)
    return EmbeddingSpaceDraft(
        model=embedder.name,
        revision=embedder.revision or embedder.fingerprint(),
        preprocessing=hashlib.sha256(text.encode()).hexdigest()[:16],
        dim=embedder.dim,
    )


def model_id(name: str) -> str:
    """Returns the one name of a model: its alias in the catalogue, or the full path of its folder,
    and with an adapter the full path of that too.

    Raises UnknownModelError, suggesting similar names, if it is neither of these and cannot be a
    hub repository, and ConfigError if it answers and does not embed."""
    name, adapter = split_adapter(name)
    if adapter is not None:
        return adapted_name(model_id(name), adapter)
    require_embedding(name)
    entry = find(name)
    if entry is not None:
        return entry.alias
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder.absolute())
    if not is_repository(name):
        raise unknown_model(name)
    return name


def _another(store: Store, known: str, given: str) -> CollectionError:
    return CollectionError(
        Text(
            f"{store.folder} was indexed with {known}, and {given} was asked for: vectors of two "
            "models cannot be compared, expected the same one. Leave --model out to go on with it; "
            "to bring everything over to the other one: "
            f"seesay index --model {shlex.quote(given)} (without paths)",
            f"{store.folder} 是用 {known} 收录的，现在却指定了 {given}：两个模型的向量无法比较，"
            "应为同一个。不写 --model 就沿用原来的；要全部换过去，请运行 "
            f"seesay index --model {shlex.quote(given)}（不写路径）",
        )
    )


def _other_texts(store: Store, known: str | None, given: str) -> CollectionError:
    switch = f"seesay index --text-model {shlex.quote(given)}"
    known = known or NO_TEXT_MODEL
    return CollectionError(
        Text(
            f"the texts of {store.folder} are embedded with {known}, and {given} was asked for: "
            "vectors of two models cannot be compared, expected the same one. Leave --text-model "
            f"out to go on with it; to bring all texts over: {switch} (without paths)",
            f"{store.folder} 的文字用 {known} 计算向量，现在却指定了 {given}："
            "两个模型的向量无法比较，应为同一个。不写 --text-model 就沿用原来的；"
            f"要全部换过去，请运行 {switch}（不写路径）",
        )
    )


def _changed(
    store: Store, space: EmbeddingSpace, embedder: Embedder | TextEmbedder
) -> CollectionError:
    option = "--text-model" if space.role == "text" else "--model"
    again = f"seesay index {option} {shlex.quote(space.model)}"
    return CollectionError(
        Text(
            f"{store.folder} was indexed with {space.model}, revision "
            f"{space.revision or 'unknown'}, and what has this name here is another (revision "
            f"{embedder.revision or 'unknown'}, {embedder.dim} numbers instead of {space.dim}, or "
            "other preprocessing): their vectors cannot be compared. Bring the former one back, or "
            f"embed everything again: {again} (without paths)",
            f"{store.folder} 是用 {space.model} 的版本 {space.revision or '（未知）'} 收录的，"
            f"现在同名的却是另一个模型（版本 {embedder.revision or '（未知）'}，{embedder.dim} 维，"
            f"原为 {space.dim} 维，或预处理不同）：两者的向量无法比较。"
            f"请换回原来的模型，或全部重新计算：{again}（不写路径）",
        )
    )
