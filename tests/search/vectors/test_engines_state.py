"""Any sequence of changes, rebuilds and searches agrees with plain arithmetic, for every engine."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import made_collections as made
from seesay.search.catalog.filters import Compare, Not
from seesay.search.catalog.store import Store
from seesay.search.vectors.engines import use_engine
from seesay.search.vectors.vector_index import VectorIndex

pytestmark = pytest.mark.usefixtures("index_from_few_rows_on")

DIM = 16
POOL = made.clustered(5000, DIM, centres=40)  # vectors to store
QUERIES = made.clustered(50, DIM, seed=1, centres=40)
FILTERS = (
    (None, lambda number: True),
    (Compare("number", "<", 500), lambda number: number < 500),
    (Compare("number", ">=", 40), lambda number: number >= 40),
    (Not(Compare("number", "<", 990)), lambda number: number >= 990),
    (Compare("number", "=", -1), lambda number: False),
)
EFFORT = {"faiss": (2500, 8, 15), "chroma": (600, 6, 15), "server": (600, 1, 10)}


class IndexMachine(RuleBasedStateMachine):
    """A vector index, and beside it a dict that says what must be found."""

    engine = None
    template = None
    on_a_server = False
    searches = asked = found = 0  # by the index, and what these asked for and found

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=self.template.parent))
        shutil.copytree(self.template, self.folder, dirs_exist_ok=True)
        self.rng = np.random.default_rng(0)
        self.steps = 0
        self.next = effort(self.engine)[0]
        self.known = {n + 1: [n, n % 1000] for n in range(self.next)}  # unit: vector, number
        self.open()
        if self.on_a_server:  # the index is not in the folder that was copied
            self.index.build()

    def open(self):
        self.store = Store(self.folder)
        self.space = self.store.spaces.get(1)
        self.index = VectorIndex(self.store, self.space, "image")

    def teardown(self):
        self.index.discard()
        self.store.close()
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
        items = {unit.file for unit in self.store.passages.get(units)}
        with self.store.writing("remove"):
            self.store.files.remove(items)
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
                self.store.passages.describe(unit, metadata={"number": number})
            self.known[unit][1] = number

    @rule()
    def rebuild(self):
        self.index.build()

    @rule()
    def update(self):
        self.index.update()

    @rule()
    def open_again(self):
        self.index.close()
        self.store.close()
        self.open()

    @precondition(lambda self: self.engine.name == "faiss")
    @rule(name=st.sampled_from(["rows.npy", "codes.faiss", "manifest.json", "units.npy"]))
    def damage_the_index(self, name):
        for file in self.index.folder.glob(f"0*/{name}"):
            copy = file.read_bytes()  # in place would change what the open index has mapped
            file.unlink()
            file.write_bytes(copy[: len(copy) // 2])
        self.open_again()

    @rule(query=st.sampled_from(range(len(QUERIES))), count=st.integers(1, 30), of=st.data())
    def search(self, query, count, of):
        self.compare(query, count, *of.draw(st.sampled_from(FILTERS)))

    @invariant()
    def every_state_is_asked(self):
        self.steps += 1
        number = self.steps // 2 % len(FILTERS) if self.steps % 2 else 0
        self.compare(self.steps % len(QUERIES), 10, *FILTERS[number])

    def compare(self, query, count, condition, takes):
        ranking = self.index.search(QUERIES[query], count, filter=condition)
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
        if ranking.plan.path == "index":
            type(self).searches += 1
            type(self).asked += len(units)
            type(self).found += good
        else:
            assert good == len(units)


def effort(engine):
    """Rows, examples and steps."""
    return EFFORT["server" if "=" in engine.name else engine.name]


@pytest.fixture(scope="module")
def template(engine, tmp_path_factory):
    """A collection with an index, which every run begins with a copy of."""
    folder = tmp_path_factory.mktemp("state") / "template"
    rows = effort(engine)[0]
    with Store(folder, create=True) as store:
        space = made.add_space(store, dim=DIM)
        with store.writing("index"):
            drafts = [made.photo(n, metadata={"number": n % 1000}) for n in range(rows)]
            units = [stored.passages[0] for stored in store.files.put(drafts)]
            store.vectors.put(space.id, units, POOL[:rows])
            use_engine(store.settings, engine.name)
        if "=" not in engine.name:
            index = VectorIndex(store, space, "image")
            index.build()
            index.close()
    return folder


def test_any_history_is_answered_as_plain_arithmetic_would(engine, template):
    facts = {"engine": engine, "template": template, "on_a_server": "=" in engine.name}
    machine = type("Machine", (IndexMachine,), facts)
    _, examples, steps = effort(engine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert machine.searches > 2 * examples  # else all of this was about scanning
    assert machine.found / machine.asked > 0.97
