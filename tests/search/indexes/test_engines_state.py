"""Any sequence of changes, rebuilds and searches agrees with plain arithmetic, for every engine."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import made_collections as made
from seesay.search.indexes import faiss
from seesay.search.lane import Lane
from seesay.search.store.filters.conditions import Not, Where
from seesay.search.store.store import Store

DIM = 16
POOL = made.clustered(5000, DIM, centres=40)  # vectors to store
QUERIES = made.clustered(50, DIM, seed=1, centres=40)
FILTERS = (
    (None, lambda number: True),
    (Where("number", "<", 500), lambda number: number < 500),
    (Where("number", ">=", 40), lambda number: number >= 40),
    (Not(Where("number", "<", 990)), lambda number: number >= 990),
    (Where("number", "=", -1), lambda number: False),
)
EFFORT = {"faiss": (2500, 20, 15), "chroma": (600, 6, 15), "milvus": (600, 2, 10)}


class LaneMachine(RuleBasedStateMachine):
    """A lane, and beside it a dict that says what must be found."""

    engine = None
    template = None
    on_a_server = False
    asked = found = 0

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=self.template.parent))
        shutil.copytree(self.template, self.folder, dirs_exist_ok=True)
        self.rng = np.random.default_rng(0)
        self.next = EFFORT[self.engine.name][0]
        self.known = {n + 1: [n, n % 1000] for n in range(self.next)}  # unit: vector, number
        self.open()
        if self.on_a_server:  # the index is not in the folder that was copied
            self.lane.build()

    def open(self):
        self.store = Store(self.folder)
        self.space = self.store.spaces.get(1)
        self.lane = Lane(self.store, self.space, "image", engine=self.engine)

    def teardown(self):
        for query in range(3):  # no history goes unasked
            self.compare(query, 10, *FILTERS[query])
        self.lane.close()
        self.store.close()
        if self.on_a_server:
            for generation in self.lane.folder.glob("0*/manifest.json"):
                manifest = json.loads(generation.read_text().partition("\n")[2])
                self.engine.drop(manifest["notes"])
        shutil.rmtree(self.folder)

    def some(self, count):
        return [int(unit) for unit in self.rng.permutation(sorted(self.known))[:count]]

    @rule(count=st.integers(1, 40))
    def add(self, count):
        numbers = [(self.next + n) % len(POOL) for n in range(count)]
        units = made.add_photos(self.store, self.space, POOL[numbers], first=10_000 + self.next)
        for unit, number in zip(units, numbers, strict=True):
            self.known[unit] = [number, 10_000 + self.next]
            self.next += 1

    @rule(count=st.integers(1, 60))
    def remove(self, count):
        units = self.some(count)
        items = {unit.item for unit in self.store.units.get(units)}
        with self.store.writing("remove"):
            self.store.items.remove(items)
        for unit in units:
            del self.known[unit]

    @rule(count=st.integers(1, 20), shift=st.integers(1, 99))
    def replace_vectors(self, count, shift):
        units = self.some(count)
        numbers = [(self.known[unit][0] + shift) % len(POOL) for unit in units]
        with self.store.writing("embed again"):
            self.store.vectors.put(self.space.id, units, POOL[numbers])
        for unit, number in zip(units, numbers, strict=True):
            self.known[unit][0] = number

    @rule(number=st.integers(0, 1000))
    def change_metadata(self, number):
        (unit,) = self.some(1) or [None]
        if unit is not None:
            with self.store.writing("describe"):
                self.store.units.describe(unit, metadata={"number": number})
            self.known[unit][1] = number

    @rule()
    def rebuild(self):
        self.lane.build()

    @rule()
    def open_again(self):
        self.lane.close()
        self.store.close()
        self.open()

    @precondition(lambda self: self.engine.name == "faiss")
    @rule(name=st.sampled_from(["rows.npy", "codes.faiss", "manifest.json", "units.npy"]))
    def damage_the_index(self, name):
        for file in self.lane.folder.glob(f"0*/{name}"):
            copy = file.read_bytes()  # in place would change what the open lane has mapped
            file.unlink()
            file.write_bytes(copy[: len(copy) // 2])
        self.open_again()

    @rule(query=st.sampled_from(range(len(QUERIES))), count=st.integers(1, 30), of=st.data())
    def search(self, query, count, of):
        self.compare(query, count, *of.draw(st.sampled_from(FILTERS)))

    def compare(self, query, count, condition, takes):
        ranking = self.lane.search(QUERIES[query], count, within=condition)
        matching = np.array([u for u, (_, number) in self.known.items() if takes(number)], int)
        rows = [self.known[unit][0] for unit in matching]
        halves = POOL[rows].astype(np.float16).astype(np.float32)
        scores = dict(zip(matching.tolist(), halves @ QUERIES[query], strict=True))
        units = ranking.units.tolist()
        assert len(set(units)) == len(units) == min(count, len(matching)) <= ranking.plan.matching
        np.testing.assert_allclose(ranking.scores, [scores[unit] for unit in units], atol=1e-5)
        order = sorted(zip(-ranking.scores, units, strict=True))
        assert [unit for _, unit in order] == units
        best = sorted(scores.values(), reverse=True)[: len(units)]
        good = sum(scores[unit] >= best[-1] - 1e-5 for unit in units)
        assert ranking.plan.path == "index" or good == len(units)
        type(self).asked += len(units)
        type(self).found += good


def on_a_server(engine):
    return engine.name == "milvus" or getattr(engine, "_server", None) is not None


@pytest.fixture(scope="module")
def template(engine, tmp_path_factory):
    """A collection with an index, which every run begins with a copy of."""
    folder = tmp_path_factory.mktemp("state") / "template"
    rows = EFFORT[engine.name][0]
    with Store(folder, create=True) as store:
        space = made.add_space(store, dim=DIM)
        with store.writing("index"):
            drafts = [made.photo(n, metadata={"number": n % 1000}) for n in range(rows)]
            units = [stored.units[0] for stored in store.items.put(drafts)]
            store.vectors.put(space.id, units, POOL[:rows])
        if not on_a_server(engine):
            lane = Lane(store, space, "image", engine=engine)
            lane.build()
            lane.close()
    return folder


def test_any_history_is_answered_as_plain_arithmetic_would(engine, template, monkeypatch):
    monkeypatch.setattr(faiss, "SCANNED_ROWS", 1000)
    facts = {"engine": engine, "template": template, "on_a_server": on_a_server(engine)}
    machine = type("Machine", (LaneMachine,), facts)
    _, examples, steps = EFFORT[engine.name]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert machine.asked > 50
    assert machine.found / machine.asked > 0.97
