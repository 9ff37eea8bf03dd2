"""Which space an embedder's vectors belong to, and how a second one is filled and switched to."""

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from threading import Event

from seesay.errors import CollectionError
from seesay.inference.embedder import Embedder
from seesay.inference.text_embedder import TextEmbedder
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space, SpaceDraft, key_of
from seesay.search.indexing.filling import Filling, FillReport
from seesay.search.indexing.interrupting import stopped_by_ctrl_c
from seesay.search.indexing.options import IngestProgress, ReadLimits, default_workers
from seesay.search.indexing.readers import Readers
from seesay.search.reading.messages import Setup

# Counted up when ordinary files would give other pixels, which makes every picture be read again.
# Corrections for rare kinds of files leave it: their vectors were wrong, and all others would have
# to be computed anew for them. `seesay index` reads such a file again when it changes.
# As version 0.1.0 cleaned texts in open_clip's layouts: only unclean ones get another vector now.
_CLEANED_BEFORE = {"open_clip_lower": "clip", "open_clip_canonicalize": "siglip"}
_DECODE_RULES = 1


def space_of(store: Store, embedder: Embedder) -> Space:
    """The space of this embedder, made where there is none. The first of a collection is used at
    once; a later one is filled first (`fill`)."""
    draft = draft_of(embedder)
    found = next((space for space in store.spaces.all() if space.key == key_of(draft)), None)
    if found is not None:
        return found
    with store.writing("space"):
        space = store.spaces.add(draft)
        if store.spaces.active() is None:
            store.spaces.set_ready(space.id)
            store.spaces.activate(space.id)
        return store.spaces.get(space.id)


def draft_of(embedder: Embedder | TextEmbedder) -> SpaceDraft:
    """What makes this embedder's vectors comparable."""
    # Settings that version 0.1.0 did not know are left out where they change nothing, so that its
    # collections go on with the same model.
    transform, texts = asdict(embedder.transform_config), asdict(embedder.tokenizer.config)
    if transform["resize"] != "patches":
        del transform["patch"], transform["patches"]
    if texts["end_mark"]:
        del texts["end_mark"]
    texts["clean"] = _CLEANED_BEFORE.get(texts["clean"], texts["clean"])
    facts = {
        "decode": [_DECODE_RULES, embedder.reduce_large],
        "transform": transform,
        "tokenizer": [texts, embedder.tokenizer.vocab_size],
    }
    text = json.dumps(facts, sort_keys=True)
    return SpaceDraft(
        model=embedder.name,
        revision=embedder.revision or embedder.fingerprint(),
        preprocessing=hashlib.sha256(text.encode()).hexdigest()[:16],
        dim=embedder.dim,
    )


def require_active(store: Store, space: Space) -> None:
    """Raises CollectionError where searches use another model's space."""
    active = store.spaces.active()
    if active is not None and active.id != space.id:
        raise CollectionError(
            f"the collection in {store.folder} is searched with {active.model} (revision "
            f"{active.revision or 'unknown'}), and {space.model} was given to index with; expected "
            "the same model; index with that one, or switch the collection to the other one first"
        )


def fill(
    store: Store,
    embedder: Embedder,
    *,
    on_progress: Callable[[IngestProgress], None] | None = None,
    stop: Event | None = None,
    limits: ReadLimits | None = None,
) -> FillReport:
    """Embed every unit that has no vector in this embedder's space, and then search with it.

    The space in use serves meanwhile, and may be added to: what comes is filled in too. Stopped by
    Ctrl-C, `stop` or a kill, the same call goes on where it was. Units whose file cannot be read do
    not keep the space from being used: indexing again adds or removes them.

    Raises CollectionError where the collection cannot be written.
    """
    store.require_writable()
    space = space_of(store, embedder)
    with ExitStack() as stack:
        stopping = stack.enter_context(stopped_by_ctrl_c(stop or Event()))
        setup = Setup(
            transform=embedder.transform_config,
            reduce_large=embedder.reduce_large,
            limits=limits or ReadLimits(),
        )
        readers = stack.enter_context(Readers(setup, default_workers()))
        filling = Filling(store, embedder, space, readers, on_progress)
        return filling(stopping)
