"""What every engine of vector indexes must do: those that index rows on this machine, and those
that hold the vectors themselves. Each check gets an engine with what it has built."""

import contextlib
import secrets
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import made_collections as made
from seesay.errors import CollectionError
from seesay.search.catalog.filter_masks import FilterMasks
from seesay.search.catalog.filters import All, AnyOf, Compare, Not
from seesay.search.catalog.store import Store
from seesay.search.vectors import building
from seesay.search.vectors.engine import (
    HoldingEngine,
    IndexDamagedError,
    LocalEngine,
    Notes,
    Progress,
)
from seesay.search.vectors.engines import engine_of, use_engine
from seesay.search.vectors.pushdown import pushed_down
from seesay.search.vectors.rows import Allowed, Rows
from seesay.search.vectors.vector_index import VectorIndex
from seesay.text import Text

COUNT, DIM = 4000, 32


@dataclass
class Built:
    """An index of clustered rows."""

    engine: LocalEngine
    rows: Rows
    folder: Path
    notes: Notes

    @contextlib.contextmanager
    def opened(self):
        index = self.engine.open(self.rows, self.folder, self.notes)
        with contextlib.closing(index):
            yield index


def build(engine, folder, rows=None):
    rows = rows or Rows(made.clustered(COUNT, DIM).astype(np.float16))
    folder.mkdir(exist_ok=True)
    notes = engine.build(rows, folder, f"seesay_{secrets.token_hex(6)}")
    return Built(engine, rows, folder, notes)


def queries():
    return made.clustered(20, DIM, seed=1)


def recall(built, index, allowed=None):
    shares = []
    for query in queries():
        numbers, scores = index.search(query, 10, allowed)
        assert scores.tobytes() == built.rows.score(query, numbers).tobytes()
        assert allowed is None or allowed.mask[numbers].all()
        assert numbers.dtype == np.int64 and len(set(numbers)) == len(numbers)
        nearest, _ = built.rows.best(query, 10, allowed)
        shares.append(len(set(numbers) & set(nearest)) / len(nearest))
    return np.mean(shares)


def finds_what_is_nearest_whenever_it_is_opened(built):
    for _ in range(2):
        with built.opened() as index:
            assert recall(built, index) > 0.97


def finds_allowed_rows_among_others(built):
    mask = np.random.default_rng(3).random(COUNT) < 0.5
    with built.opened() as index:
        assert recall(built, index, Allowed(mask, int(mask.sum()))) > 0.97


def gives_the_same_answer_to_the_same_question(built):
    with built.opened() as index:
        first = [set(index.search(query, 10, None)[0]) for query in queries()]
        assert [set(index.search(query, 10, None)[0]) for query in queries()] == first


def declines_to_return_almost_everything_or_returns_it(built):
    with built.opened() as index:
        answer = index.search(queries()[0], COUNT - 1, None)
        assert answer is None or len(set(answer[0])) >= COUNT - 1


def does_not_open_an_index_of_other_rows(built):
    fewer = Rows(np.ascontiguousarray(built.rows.vectors[: COUNT // 2]))
    with contextlib.suppress(IndexDamagedError):
        built.engine.open(fewer, built.folder, built.notes)
        raise AssertionError("an index of other rows was opened")


def does_not_open_what_was_dropped(built):
    few = Rows(np.ascontiguousarray(built.rows.vectors[:1200]))
    other = build(built.engine, built.folder / "dropped", few)
    built.engine.drop(other.notes)
    with contextlib.suppress(IndexDamagedError):
        built.engine.open(few, built.folder / "elsewhere", other.notes)
        raise AssertionError("a dropped index was opened")


def answers_after_it_was_closed_or_says_why_not(built):
    index = built.engine.open(built.rows, built.folder, built.notes)
    index.close()
    with contextlib.suppress(IndexDamagedError):
        assert index.search(queries()[0], 10, None) is not None


CONTRACT = (
    finds_what_is_nearest_whenever_it_is_opened,
    finds_allowed_rows_among_others,
    gives_the_same_answer_to_the_same_question,
    declines_to_return_almost_everything_or_returns_it,
    does_not_open_an_index_of_other_rows,
    does_not_open_what_was_dropped,
    answers_after_it_was_closed_or_says_why_not,
)


@dataclass
class Held:
    """A collection whose index an engine holds. Each check leaves the index up to date."""

    engine: HoldingEngine
    store: Store
    sent: list[int] = field(default_factory=list)
    """How many passages each `send` stored."""
    fail_after: int | None = None
    """Batches after which the next `send` breaks off."""
    next: int = 9000
    """The number of the next photograph."""

    def __post_init__(self):
        self.space = self.store.spaces.get(1)
        self.index = self.open()

    def open(self, store=None):
        return VectorIndex(store or self.store, self.space, "image", engines=self._watched)

    def _watched(self, name):
        engine = engine_of(name)
        if not isinstance(engine, HoldingEngine):
            return engine
        send = engine.send

        def watched(notes, progress, batches, gone):
            send(notes, progress, self._counted(batches), gone)

        engine.send = watched
        return engine

    def _counted(self, batches):
        self.sent.append(0)
        for number, batch in enumerate(batches):
            if number == self.fail_after:
                self.fail_after = None
                raise IndexDamagedError(Text("broken off", "中断"))
            self.sent[-1] += len(batch.units)
            yield batch

    def change(self):
        """Passages come, go, move and are described anew; one batch is not enough for all."""
        known = self.living()
        removed, moved, described = known[:40], known[40:80], known[80:1200:9]
        made.add_photos(self.store, self.space, made.clustered(60, DIM, seed=3), self.next)
        self.next += 60
        with self.store.writing("change"):
            items = {unit.file for unit in self.store.passages.get(removed)}
            self.store.files.remove(items)
            self.store.vectors.put(self.space.id, moved, made.clustered(40, DIM, seed=4))
            for unit in described:
                self.store.passages.describe(unit, metadata={"number": -1, "tag": "described"})
        return moved, described

    def living(self):
        units, _ = self.store.vectors.get(self.space.id, range(self.store.passages.newest + 1))
        return units.tolist()

    def assert_right(self, index=None, path="index"):
        """Whatever the filter, the index returns what a scan does."""
        index = index or self.index
        removed = set(range(self.store.passages.newest + 1)) - set(self.living())
        rare = Compare("number", "=", -1)
        for filter in (None, Compare("number", "<", 1500), rare):
            shares = []
            for query in queries()[:6]:
                found = index.search(query, 10, filter=filter)
                exact = index.search(query, 10, filter=filter, exact=True)
                assert found.plan.path == path or filter == rare
                assert not removed & set(found.units.tolist())
                scores = dict(zip(exact.units.tolist(), exact.scores.tolist(), strict=True))
                for unit, score in zip(found.units.tolist(), found.scores.tolist(), strict=True):
                    assert scores.get(unit, score) == score
                assert len(found.units) == len(exact.units)
                shares += [unit in found.units for unit in exact.units]
            assert not shares or np.mean(shares) >= 0.97, filter


HARD_TEXT = ("it's", 'say "yes"', "back\\slash", "山\u0301 水", "%_*", "new\nline", "e\u0301")


def held(engine, folder):
    """Photographs with all types of metadata, indexed by a holding engine."""
    store = Store(folder, create=True)
    space = made.add_space(store, dim=DIM)
    with store.writing("index"):
        drafts = [made.photo(n, metadata=_metadata(n)) for n in range(COUNT // 2)]
        units = [stored.passages[0] for stored in store.files.put(drafts)]
        store.vectors.put(space.id, units, made.clustered(len(units), DIM))
        use_engine(store.settings, engine.name)
    held = Held(engine, store)
    assert held.index.build().problem is None
    return held


def _metadata(number):
    metadata = {"number": number, "text": HARD_TEXT[number % len(HARD_TEXT)]}
    metadata["tag"] = ("beach", "sea") if number % 3 else "sea"
    metadata["several"] = (number % 7, 100.5 + number % 11)
    if number % 4:
        metadata["date"] = datetime(2024, 1 + number % 12, 5)
    if number == 7:  # more than an engine takes
        metadata["many"] = tuple(f"value {n}" for n in range(1000))
    return metadata


FEW = Compare("number", "<", 90)  # so few that an engine can return all of them
FILTERS = (
    Compare("text", "=", HARD_TEXT[0]),
    *(Compare("text", "in", (text, "no such text")) for text in HARD_TEXT[1:]),
    Compare("text", "=", "\u00e9"),
    Compare("tag", "=", "beach"),
    Compare("several", "<", 3),
    Compare("several", "<=", 3.0),
    Compare("several", ">", 105.5),
    Compare("several", ">=", 105.5),
    Compare("several", "=", 100.5),
    Compare("several", "in", (1, 2, 110.5)),
    Compare("date", ">=", datetime(2024, 6, 5)),
    Compare("date", "<", datetime(2024, 6, 5)),
    Compare("date"),
    Compare("many"),
    Compare("many", "=", "value 3"),
    Compare("no such key"),
    Compare("file.folder", "under", "/photos/1"),
    Compare("file.folder", "under", "/"),
    Compare("file.folder", "=", "/photos/2"),
    Compare("file.path", "=", "/photos/1/7.jpg"),
    Compare("file.size", ">", 1040),
    Compare("file.modified", "<", datetime(1970, 1, 1, 0, 0, 30, tzinfo=UTC)),
    Compare("unit.kind", "=", "image"),
    All((Compare("tag", "=", "sea"), Compare("several", "<", 2))),
    AnyOf((Compare("number", "=", 3), All((Not(Compare("date")), Compare("several", ">", 108))))),
    All(()),
    AnyOf(()),
)


def applies_filters_as_the_mask_does(held):
    operators = held.engine.operators
    view = held.index._current()
    for filter in (*FILTERS, *(Not(filter) for filter in FILTERS)):
        expression = pushed_down(All((FEW, filter)), operators)
        assert expression is not None, filter
        named = view.base.index.ask(queries()[0], 200, expression)
        numbers = view.base.rows.numbers_of(np.array(list(named), np.int64))
        mask = FilterMasks(held.store.database).mask(All((FEW, filter)))
        matching = set(np.flatnonzero(mask)) & set(view.base.units)
        overfull = set(view.base.units[7:8])  # which the mask then leaves out
        assert set(view.base.units[numbers]) | overfull == matching | overfull, filter


def leaves_filters_that_it_cannot_express_to_the_mask(held):
    for filter in (Compare("text", "contains", "a"), Not(Compare("text", "<", "n"))):
        assert pushed_down(filter, held.engine.operators) is None
        found = held.index.search(queries()[0], 10, filter=filter)
        exact = held.index.search(queries()[0], 10, filter=filter, exact=True)
        assert found.units.tolist() == exact.units.tolist()


def finds_what_a_scan_finds_without_vectors_on_this_machine(held):
    held.assert_right()
    assert not list(held.index.folder.rglob("rows.npy"))
    assert held.index.verify(deep=True) == []


def is_sent_what_changed_and_nothing_else(held):
    moved, described = held.change()
    held.assert_right()
    status = held.index.status()
    assert status.needs_build and status.recent == 60 + len(moved) + len(described)
    held.sent.clear()
    status = held.index.update()
    assert held.sent == [60 + len(moved) + len(described)]
    assert (status.recent, status.gone, status.needs_build) == (0, 0, False)
    held.assert_right()
    assert held.index.verify(deep=True) == []
    assert held.index.search(
        queries()[0], 300, filter=Compare("tag", "=", "described")
    ).plan.matching


def is_right_after_a_transfer_that_broke_off(held, monkeypatch):
    monkeypatch.setattr(building, "_SENT_AT_ONCE", 50)
    held.change()
    held.fail_after = 1
    with contextlib.suppress(CollectionError):
        held.index.update()
        raise AssertionError("the transfer did not break off")
    held.index.close()
    held.assert_right()
    held.index.update()
    held.assert_right()
    assert held.index.verify(deep=True) == []


def does_not_answer_a_copy_after_the_original_went_on(held, tmp_path):
    shutil.copytree(held.store.folder, tmp_path / "copy")
    with Store(tmp_path / "copy") as store, contextlib.closing(held.open(store)) as copy:
        query = queries()[0]
        assert copy.search(query, 10).plan.path == "index"
        held.change()
        held.index.update()
        ranking = copy.search(query, 10)
        assert ranking.plan.path == "scan"
        assert "another state of the collection" in ranking.plan.problem.en
        assert ranking.units.tolist() == copy.search(query, 10, exact=True).units.tolist()
        held.sent.clear()
        assert copy.update().problem is None  # an index of its own
        assert held.sent == [len(held.living()) - 60 + 40]
        assert copy.search(query, 10).plan.path == "index"
        held.assert_right()
        copy.discard()
    held.assert_right()


def notices_that_the_server_lost_something(held):
    view = held.index._current()
    position, notes = view.position, view.generation.manifest.notes
    held.engine.send(notes, Progress(position, position), (), view.base.units[::5].tolist())
    held.index.close()
    held.assert_right(path="scan")
    assert "expected" in held.index.status().problem.en
    assert [finding.kind for finding in held.index.verify()] == ["index files"]
    assert held.index.update().problem is None
    held.assert_right()


def scans_where_the_index_was_dropped(held):
    held.engine.drop(held.index._current().generation.manifest.notes)
    held.index.close()
    held.assert_right(path="scan")
    assert held.index.update().problem is None
    held.assert_right()


def follows_when_all_vectors_are_replaced_and_then_removed(held):
    living = held.living()
    with held.store.writing("replace"):
        vectors = made.clustered(len(living), DIM, seed=7)
        held.store.vectors.put(held.space.id, living, vectors)
    held.index.close()
    held.assert_right(path="scan")
    held.index.update()
    held.assert_right()
    with held.store.writing("remove"):
        held.store.files.remove({one.file for one in held.store.passages.get(living)})
    for step in (held.index.close, held.index.update, held.index.close):
        step()
        assert not len(held.index.search(queries()[0], 10).units)
        assert held.index.status().problem is None


HOLDING_CONTRACT = (
    applies_filters_as_the_mask_does,
    leaves_filters_that_it_cannot_express_to_the_mask,
    finds_what_a_scan_finds_without_vectors_on_this_machine,
    is_sent_what_changed_and_nothing_else,
    is_right_after_a_transfer_that_broke_off,
    does_not_answer_a_copy_after_the_original_went_on,
    notices_that_the_server_lost_something,
    scans_where_the_index_was_dropped,
    follows_when_all_vectors_are_replaced_and_then_removed,  # the last: nothing is left
)
