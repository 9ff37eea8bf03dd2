"""A vector index finds what is nearest, whatever the filter, and whatever becomes of its index."""

import contextlib
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

import made_collections as made
from seesay.errors import CollectionBusyError, CollectionError
from seesay.search.catalog.filters import Compare, Not
from seesay.search.catalog.store import Store
from seesay.search.vectors import faiss, generations
from seesay.search.vectors.building import build_lock
from seesay.search.vectors.engines import use_engine
from seesay.search.vectors.vector_index import VectorIndex

pytestmark = pytest.mark.usefixtures("index_from_few_rows_on")

ROWS, DIM = 6000, 64
VECTORS = made.clustered(ROWS, DIM, centres=30)
QUERIES = made.clustered(40, DIM, seed=1, centres=30)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A collection whose photographs have the numbers from 0 on, without an index."""
    folder = tmp_path_factory.mktemp("stored")
    with Store(folder, create=True) as store:
        made.add_photos(store, made.add_space(store, dim=DIM), VECTORS)
    return folder


@pytest.fixture
def copied(stored, tmp_path):
    shutil.copytree(stored, tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture(scope="module")
def built(stored, tmp_path_factory):
    """The same with an index of FAISS."""
    folder = tmp_path_factory.mktemp("built") / "collection"
    shutil.copytree(stored, folder)
    with Store(folder) as store:
        index_of(store).build()
    return folder


@pytest.fixture
def indexed(built, tmp_path):
    shutil.copytree(built, tmp_path / "indexed")
    return tmp_path / "indexed"


def index_of(store, engine=None):
    """With the engine of the collection, or this one from now on."""
    if engine is not None:
        with store.writing("choose an engine"):
            use_engine(store.settings, engine.name)
    return VectorIndex(store, store.spaces.get(1), "image")


def truth(query, kept, count=10):
    """Numbers of the nearest photographs; their units are one more."""
    scores = VECTORS[kept].astype(np.float16).astype(np.float32) @ query
    return set(kept[np.argsort(-scores)[:count]])


def recall(searched, within=None, kept=None, queries=QUERIES):
    kept = np.arange(ROWS) if kept is None else kept
    shares = []
    for query in queries:
        nearest = truth(query, kept)
        ranking = searched.search(query, 10, filter=within)
        shares.append(len(nearest & set(ranking.units - 1)) / len(nearest))
    return float(np.mean(shares))


def test_no_filter_loses_recall_with_any_engine(engine, copied):
    with Store(copied) as store:
        searched = index_of(store, engine)
        assert searched.build().problem is None
        assert searched.search(QUERIES[0], 10).plan.path == "index"
        queries = QUERIES[:10] if "milvus" in engine.name else QUERIES  # its answers take longer
        assert recall(searched, queries=queries) >= 0.99
        for share in (0.5, 0.2, 0.05, 0.01, 0.001):
            least = int(share * ROWS)
            for within, kept in (
                (Compare("number", "<", least), np.arange(least)),
                (Not(Compare("number", "<", ROWS - least)), np.arange(ROWS - least, ROWS)),
            ):
                assert recall(searched, within, kept, queries) >= 0.99, share
        searched.discard()


def test_a_filter_that_keeps_only_what_lies_far_from_the_query_loses_nothing(indexed):
    centre = VECTORS[0]
    near = np.argsort(-(VECTORS @ centre))[: ROWS // 2]
    with Store(indexed) as store:
        with store.writing("mark"):
            for number in near:
                store.passages.describe(int(number) + 1, metadata={"number": -1})
        searched = index_of(store)
        kept = np.setdiff1d(np.arange(ROWS), near)
        found = []
        for query in made.clustered(30, DIM, seed=5, centres=30):
            query = query + 2 * centre
            query /= np.linalg.norm(query)
            ranking = searched.search(query, 10, filter=Compare("number", ">=", 0))
            found.append(len(truth(query, kept) & set(ranking.units - 1)) / 10)
        assert np.mean(found) >= 0.99


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("rows.npy", "cut"),
        ("units.npy", "zeroed"),
        ("codes.faiss", "cut"),
        ("codes.faiss", "another's"),
        ("lists.npy", "gone"),
    ],
)
def test_a_damaged_index_is_reported_and_everything_still_found(indexed, name, how):
    with Store(indexed) as store:
        file = next(index_of(store).folder.glob(f"0*/{name}"))
        whole = file.read_bytes()
        file.unlink()  # in place would change what others have mapped
        if how == "cut":
            file.write_bytes(whole[: len(whole) // 2])
        elif how == "zeroed":
            file.write_bytes(whole[:-4096] + bytes(4096))
        elif how == "another's":
            file.write_bytes(bytes(reversed(whole)))
        searched = index_of(store)
        ranking = searched.search(QUERIES[0], 10)
        assert set(ranking.units - 1) == truth(QUERIES[0], np.arange(ROWS))
        assert ranking.plan.path == "scan"
        status = searched.status()
        assert name in status.problem.en and status.needs_build
        assert any(name in str(problem) for problem in searched.verify())
        assert searched.build().problem is None
        assert searched.verify() == []
        assert searched.search(QUERIES[0], 10).plan.path == "index"


def test_one_wrong_bit_is_found_by_verify(indexed):
    with Store(indexed) as store:
        file = next(index_of(store).folder.glob("0*/rows.npy"))
        data = bytearray(file.read_bytes())
        data[len(data) // 3] ^= 1
        file.unlink()
        file.write_bytes(data)
        assert any("rows.npy" in str(problem) for problem in index_of(store).verify())


def test_a_manifest_that_names_an_older_change_than_is_remembered_is_not_used(indexed):
    with Store(indexed) as store:
        first = index_of(store)
        old = next(generations.folders(first.folder))
        shutil.copytree(old, indexed / "kept")
        with store.writing("remove"):
            store.files.remove([1])
        first.build()
        (folder,) = generations.folders(first.folder)
        (indexed / "kept").rename(first.folder / f"{int(folder.name) + 1:08d}")
        searched = index_of(store)
        assert 1 not in searched.search(VECTORS[0], 5).units
        assert "older" in searched.status().problem.en
        assert "太旧" in searched.status().problem.zh


def test_what_is_added_replaced_and_removed_after_the_build_counts_at_once(indexed):
    with Store(indexed) as store:
        searched = index_of(store)
        searched.search(QUERIES[0], 1)
        (unit,) = made.add_photos(store, store.spaces.get(1), QUERIES[:1], first=ROWS)
        assert searched.search(QUERIES[0], 1).units.tolist() == [unit]
        with store.writing("remove"):
            store.files.remove([store.passages.get([unit])[0].file])
        assert unit not in searched.search(QUERIES[0], 3).units
        with store.writing("again"):
            store.vectors.put(1, [7], QUERIES[:1])
        assert searched.search(QUERIES[0], 1).units.tolist() == [7]
        status = searched.status()
        assert (status.recent, status.gone, status.vectors) == (1, 1, ROWS)


def test_a_filter_that_was_asked_before_sees_what_is_known_since(indexed):
    with Store(indexed) as store:
        searched = index_of(store)
        within = Compare("number", "<", 3)
        assert set(searched.search(QUERIES[0], 9, filter=within).units) == {1, 2, 3}
        with store.writing("describe"):
            store.passages.describe(50, metadata={"number": 0})
            store.passages.describe(2, metadata={"number": 7})
        assert set(searched.search(QUERIES[0], 9, filter=within).units) == {1, 3, 50}


@pytest.mark.parametrize("least", [0, ROWS // 2], ids=["a broad filter", "a narrow filter"])
def test_a_filter_works_where_the_newest_units_are_gone(indexed, least):
    with Store(indexed) as store:
        with store.writing("remove"):
            store.files.remove(range(ROWS - 20, ROWS + 1))
        ranking = index_of(store).search(QUERIES[0], 10, filter=Compare("number", ">=", least))
        assert len(ranking.units) == 10
        assert ranking.plan.matching == ROWS - 21 - least


def test_building_anew_reads_stored_vectors_alone_and_leaves_one_generation(indexed, monkeypatch):
    with Store(indexed) as store:
        searched = index_of(store)
        before = searched.status().generation
        put = []
        monkeypatch.setattr(store.vectors, "put", lambda *args: put.append(args))
        assert searched.build().generation == before + 1
        assert [int(path.name) for path in generations.folders(searched.folder)] == [before + 1]
        assert not put
        assert not list(searched.folder.glob(".unfinished*"))


def test_what_a_killed_build_left_is_removed_by_the_next(indexed):
    with Store(indexed) as store:
        searched = index_of(store)
        left = searched.folder / ".unfinished-dead"
        left.mkdir()
        (left / "rows.npy").write_bytes(b"half")
        assert recall(searched) >= 0.99
        searched.build()
        assert not left.exists()


def test_a_generation_is_forced_to_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(generations, "sync", lambda path: events.append(path.name))
    rename = Path.rename

    def noted(path, target):
        events.append("renamed")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", noted)
    with generations.written(tmp_path / "index", 1) as folder:
        (folder / "rows.npy").write_bytes(b"x")
    assert events == ["rows.npy", folder.name, "renamed", "index"]


def test_what_a_manifest_calls_its_own_on_a_server_is_removed_only_if_it_can_be(
    chroma_server, copied, monkeypatch
):
    from seesay.search.vectors.chroma import ChromaServer, _close

    monkeypatch.setenv("SEESAY_CHROMA_TOKEN", f"{chroma_server}=")
    engine = ChromaServer(chroma_server)
    client = engine._client()
    client.create_collection("customers", embedding_function=None)
    with Store(copied) as store, contextlib.closing(index_of(store, engine)) as searched:
        searched.build()
        manifest = generations.manifest_of(searched.folder, 1)
        generations.write_manifest(
            generations.folder_of(searched.folder, 1),
            position=manifest.position,
            engine=engine.name,
            notes={**manifest.notes, "collection": "customers"},
        )
        kept = manifest.notes["collection"]
        assert searched.build().left == ()
        second = generations.manifest_of(searched.folder, 2).notes["collection"]
        searched.discard()
    names = {one.name for one in client.list_collections()}
    client.delete_collection("customers")
    client.delete_collection(kept)
    _close(client)
    assert {"customers", kept} <= names and second not in names


def test_a_copy_that_is_built_anew_leaves_the_first_ones_index_on_a_server_alone(
    chroma_server, copied, tmp_path, monkeypatch
):
    from seesay.search.vectors.chroma import ChromaServer

    monkeypatch.setenv("SEESAY_CHROMA_TOKEN", f"{chroma_server}=")
    engine = ChromaServer(chroma_server)
    with Store(copied) as store, contextlib.closing(index_of(store, engine)) as searched:
        searched.build()
    shutil.copytree(copied, tmp_path / "second")
    with (
        Store(copied) as first,
        Store(tmp_path / "second") as second,
        contextlib.closing(index_of(first, engine)) as of_first,
        contextlib.closing(index_of(second, engine)) as of_second,
    ):
        assert first.key == second.key
        with second.writing("remove"):
            second.files.remove([1])
        of_second.build()
        of_first.close()  # it is opened anew
        for searched in (of_first, of_second):
            assert searched.search(QUERIES[0], 10).plan.path == "index"
            assert searched.status().problem is None
        assert of_first.build().problem is None
        of_second.close()
        assert of_second.status().problem is None
        for searched in (of_first, of_second):
            searched.discard()


def build_elsewhere(folder, answers):
    faiss.SCANNED_ROWS = 1000
    with Store(Path(folder)) as store:
        answers.put(index_of(store).build(wait_s=60).generation)


def test_two_processes_that_build_at_once_build_one_after_the_other(copied):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    builders = [
        context.Process(target=build_elsewhere, args=(str(copied), answers)) for _ in range(2)
    ]
    for builder in builders:
        builder.start()
    numbers = sorted(answers.get(timeout=120) for _ in builders)
    for builder in builders:
        builder.join()
        assert builder.exitcode == 0
    assert len(set(numbers)) == 2
    with Store(copied) as store:
        searched = index_of(store)
        assert searched.verify() == []
        assert searched.status().generation == numbers[-1]
        assert recall(searched) >= 0.99


def test_a_builder_that_does_not_want_to_wait_is_told_who_builds(indexed):
    with Store(indexed) as store:
        searched = index_of(store)
        other = Store(indexed)
        with build_lock(searched.folder, 0.0), pytest.raises(CollectionBusyError, match="building"):
            index_of(other).build()
        other.close()


def test_a_question_that_is_no_direction_of_the_space_is_refused(indexed):
    with Store(indexed) as store:
        searched = index_of(store)
        for query in (np.ones(3), np.zeros(DIM), np.full(DIM, np.nan)):
            with pytest.raises(CollectionError, match="expected 64 numbers"):
                searched.search(query, 5)


def test_an_index_without_vectors_finds_nothing_and_builds_nothing(tmp_path):
    with Store(tmp_path, create=True) as store:
        made.add_space(store, dim=DIM)
        searched = index_of(store)
        assert searched.build().generation is None
        assert searched.search(QUERIES[0], 5).plan.path == "nothing"
