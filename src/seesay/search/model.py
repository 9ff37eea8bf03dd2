"""The model of a collection: loaded when first needed, and checked to be the one that indexed
it."""

import hashlib
import json
import shlex
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from seesay.errors import CollectionError
from seesay.inference.embedder import Embedder, load, require_images
from seesay.inference.text_embedder import TextEmbedder, load_texts
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace, EmbeddingSpaceDraft, key_of
from seesay.text import Text
from seesay.weights.catalog import default_model, find, require_embedding, unknown_model
from seesay.weights.hub import is_repository

Loader = Callable[[str], Embedder]
"""Loads a model by name; collections that share a loader load each model once."""


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
        space = self._store.spaces.active()
        if space is not None and key_of(draft_of(embedder)) != space.key:
            raise _changed(self._store, space, embedder)


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
    """Returns the one name of a model: its alias in the catalogue, or the full path of its folder.

    Raises UnknownModelError, suggesting similar names, if it is neither of these and cannot be a
    hub repository, and ConfigError if it answers and does not embed."""
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


def _changed(
    store: Store, space: EmbeddingSpace, embedder: Embedder | TextEmbedder
) -> CollectionError:
    again = f"seesay index --model {shlex.quote(space.model)}"
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
