"""`seesay rebuild --engine`: where the indexes of a collection are kept, from the terminal."""

import contextlib
import http.server
import json
import shutil
import sys
import threading

import pytest

import made_collections as made
from photographs import photographs
from seesay.cli.main import run
from seesay.errors import CollectionError, ConfigError, MissingExtraError
from seesay.search.catalog.store import Store
from seesay.search.collection import Collection
from seesay.search.indexing.fill import keep_up
from seesay.search.vectors import chroma, generations, vector_index
from seesay.search.vectors.engines import CHOSEN, choose, engine_of, reached, token_for, use_engine
from vector_servers import free_port, start_chroma

MORE = 3000  # so many that an index is asked at all
SERVERS = {"chroma": "chroma_server", "milvus": "milvus_server"}


@pytest.fixture(scope="module")
def made_home(tmp_path_factory):
    """Photographs in the collection called default, and many more vectors."""
    place = tmp_path_factory.mktemp("choosing")
    (place / "photos").mkdir()
    for file in photographs():
        shutil.copy(file, place / "photos")
    (place / "photos" / "note.md").write_text("The rocket stands on the launch pad.\n")
    with Collection.open(place / "home" / "collections" / "default", create=True) as collection:
        collection.index([place / "photos"])
        space = collection.store.spaces.active()
        made.add_photos(collection.store, space, made.clustered(MORE, space.dim))
    return place


@pytest.fixture
def home(made_home, tmp_path, monkeypatch):
    """The folder of that collection, to be changed at will."""
    shutil.copytree(made_home / "home", tmp_path / "home")
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home" / "collections" / "default"


@pytest.fixture(params=["chroma", "chroma server", "milvus server"])
def spec(request):
    kind, _, server = request.param.partition(" ")
    return f"{kind}={request.getfixturevalue(SERVERS[kind])}" if server else kind


@pytest.fixture
def ask(capsys):
    """What a command prints as JSON."""

    def asked(*arguments):
        capsys.readouterr()
        assert run([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return asked


def searched(ask, *more):
    """Paths of what is found, and how the pictures were searched."""
    results = ask("search", "a cat", "-n", "10", *more)
    (plan,) = [
        one["plan"] for one in results["explain"]["retrievers"] if one["retriever"] == "image"
    ]
    return [hit["path"] for hit in results["hits"]], plan, results["explain"]["notes"]


def indexes(ask):
    (space,) = ask("stats")["spaces"]
    return {one["modality"]: one for one in space["indexes"]}


def kept(spec, home):
    """Names of all that the server of an engine keeps of a collection: other tests use it too."""
    with Store(home, read_only=True) as store:
        return {name for name in names_on_server(spec) if store.key in name}


def names_on_server(spec):
    engine = engine_of(spec, chosen=True)
    if "milvus" in spec:
        with contextlib.closing(engine._connected()) as client:
            return set(client.list_collections())
    client = engine._client()
    try:
        return {collection.name for collection in client.list_collections()}
    finally:
        chroma._close(client)


def test_an_engine_is_chosen_used_from_then_on_and_left_again(home, ask, spec, capsys):
    assert run(["rebuild"]) == 0
    assert "none: an exact scan is as fast" in capsys.readouterr().out
    before, plan, _ = searched(ask)
    few, _, _ = searched(ask, "--where", "number<40")
    assert plan["path"] == "scan"
    earlier = kept(spec, home) if "=" in spec else set()

    assert run(["rebuild", "--engine", spec]) == 0
    out = capsys.readouterr().out
    assert f"{MORE + 6:,}" in out and spec in out and "HNSW" in out
    found, plan, notes = searched(ask)
    assert (plan["path"], plan["problem"], notes) == ("index", None, [])
    assert len(set(found) & set(before)) >= 9
    assert searched(ask, "--where", "number<40")[0] == few
    kind, _, address = spec.partition("=")
    assert ask("stats")["engine"] == spec and indexes(ask)["image"]["engine"] == kind
    assert indexes(ask)["image"]["place"].startswith(address or str(home))
    if address:
        assert len(kept(spec, home) - earlier) == 2

    built = ask("rebuild", "--engine", "faiss")["built"]
    how = [(one["status"]["engine"], one["status"]["kind"]) for one in built]
    assert how == [("faiss", "scan"), ("faiss", "scan")]
    assert searched(ask)[0] == before
    if address:
        assert kept(spec, home) == earlier


def test_what_is_indexed_later_goes_into_the_engine_that_was_chosen(
    home, ask, made_home, monkeypatch
):
    assert run(["rebuild", "--engine", "chroma"]) == 0
    monkeypatch.setattr(vector_index, "CHURN", 0.0)
    monkeypatch.setattr(vector_index, "CHURN_LEAST", 0)
    picture = made_home / "photos" / "again.png"
    shutil.copy(made_home / "photos" / "chelsea.png", picture)
    try:
        assert run(["index"]) == 0
    finally:
        picture.unlink()
    assert indexes(ask)["image"]["engine"] == "chroma"
    assert [int(folder.name) for folder in home.glob("indexes/*-image/0*")] == [2]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("faiss", "faiss"),
        ("chroma", "chroma"),
        ("chroma=Vectors.example:8000", "chroma=vectors.example:8000"),
        ("chroma=https://[::1]:8000/", "chroma=https://[::1]:8000"),
        ("milvus=vectors:19530", "milvus=http://vectors:19530"),
        ("milvus=https://vectors:443", "milvus=https://vectors:443"),
    ],
)
def test_an_engine_has_one_name_however_it_is_written(written, name):
    assert engine_of(written, chosen=True).name == engine_of(name, chosen=True).name == name


@pytest.mark.parametrize(
    "written",
    [
        *("", "lancedb", "faiss=here:1", "chroma=", "chroma=here", "chroma=a b:80", "chroma=:80"),
        *("milvus", "milvus=ftp://here:1", "milvus=http://here:1/path", "milvus=http://here:99999"),
    ],
)
def test_what_is_no_engine_is_refused_with_what_could_be_one(written):
    with pytest.raises(ConfigError, match="expected faiss, chroma"):
        engine_of(written)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="SEESAY_MILVUS_TOKEN") as refused:
        engine_of("milvus=http://root:hidden@here:19530")
    assert "hidden" not in str(refused.value)


@pytest.fixture
def listening():
    """The port of a server that knows nothing, and what tokens it was sent. It is reached at
    0.0.0.0 too, which is no address of this machine alone."""
    heard = []

    class Listening(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers.get("Authorization"))
            self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, heard
        server.shutdown()
        thread.join()


def test_a_server_that_only_the_collection_names_gets_no_token_and_is_not_asked(
    home, listening, monkeypatch
):
    port, heard = listening
    with Collection.open() as collection:
        with collection.store.writing("a stranger"):
            use_engine(collection.store.settings, f"chroma=0.0.0.0:{port}")
        for tokens in ("hidden", f"127.0.0.1:{port}=hidden", f"https://0.0.0.0:{port}=hidden"):
            monkeypatch.setenv("SEESAY_CHROMA_TOKEN", tokens)
            with pytest.raises(ConfigError, match=f"no token for http://0.0.0.0:{port}") as refused:
                collection.rebuild()
            assert "hidden" not in str(refused.value)
            assert "holds no token" in (
                str(keep_up(collection.store, collection.store.spaces.active()))
            )
            assert collection.search("a cat", count=10).hits
        assert heard == []
        monkeypatch.setenv("SEESAY_CHROMA_TOKEN", f"here:80=other 0.0.0.0:{port}=hidden")
        with pytest.raises(CollectionError, match="404"):
            reached(f"chroma=0.0.0.0:{port}")
        assert heard == ["Bearer hidden"]


@pytest.mark.parametrize("address", ["0.0.0.0:{}", "127.0.0.1:{}"])
def test_a_server_that_this_user_did_not_choose_is_never_asked_and_the_way_to_agree_is_told(
    home, listening, address, capsys
):
    port, heard = listening
    server = address.format(port)
    with Collection.open() as collection:
        collection.rebuild("chroma")
        space = collection.store.spaces.active()
        (folder,) = (home / "indexes").glob("*-image")
        number = generations.newest(folder)
        manifest = generations.manifest_of(folder, number)
        generations.write_manifest(
            generations.folder_of(folder, number),
            position=manifest.position,
            engine=f"chroma={server}",
            notes=manifest.notes,
        )
        with collection.store.writing("a stranger"):
            use_engine(collection.store.settings, f"chroma={server}")
        results = collection.search("a cat", count=10)
        assert len(results.hits) == 10
        (note,) = results.explain.notes
        assert f"seesay rebuild --engine chroma=http://{server}`" in note.en
        assert f"SEESAY_CHROMA_TOKEN to http://{server}=" in note.en
        assert "one that you chose" in str(keep_up(collection.store, space))
        assert any("one that you chose" in str(finding) for finding in collection.verify())
        with pytest.raises(ConfigError, match="expected one that you chose"):
            collection.rebuild()
    assert heard == []
    assert run(["rebuild", "--engine", f"chroma={server}"]) == 2  # asks: it is named here
    assert "404" in capsys.readouterr().err and heard == [None]
    assert not (home.parents[1] / CHOSEN).exists()  # it was no server of vectors


def test_a_server_that_was_chosen_is_asked_for_every_collection_of_this_user_alone(
    home, chroma_server, tmp_path, monkeypatch
):
    spec = f"chroma={chroma_server}"
    with Collection.open() as collection:
        for _ in range(2):
            collection.rebuild(spec)
        shutil.copytree(home, tmp_path / "copy")
    chosen = home.parents[1] / CHOSEN
    assert chosen.read_text() == f"chroma=http://{chroma_server}\n"

    def way():
        with Collection.open(tmp_path / "copy") as copy:
            results = copy.search("a cat", count=10)
        return next(one.plan.path for one in results.explain.retrievers if one.retriever == "image")

    assert way() == "index"
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "another user"))
    assert way() == "scan"
    monkeypatch.setenv("SEESAY_CHROMA_TOKEN", f"{chroma_server}=")
    assert way() == "index"
    monkeypatch.setenv("SEESAY_HOME", str(home.parents[1]))
    with Collection.open() as collection:
        collection.rebuild("faiss")


def test_where_a_choice_cannot_be_written_down_what_to_do_is_told(home, monkeypatch):
    (home / "a file").touch()
    monkeypatch.setenv("SEESAY_HOME", str(home / "a file"))
    with pytest.raises(ConfigError, match="set SEESAY_HOME to a folder of yours"):
        choose("milvus", "http://vectors:19530")


@pytest.mark.parametrize(
    ("tokens", "place", "expected"),
    [
        ("", "http://vectors:19530", ""),
        ("root:a=b=", "http://127.0.0.1:19530", "root:a=b="),
        ("two words", "https://[::1]:19530", "two words"),
        ("vectors:19530=root:word", "http://localhost:19530", ""),
        ("vectors:19530=root:word", "http://vectors:19530", "root:word"),
        ("vectors:19530=", "http://vectors:19530", ""),
        ("https://Vectors:443=a= 10.0.0.5:1=b", "https://vectors:443", "a="),
        ("https://Vectors:443=a= 10.0.0.5:1=b", "http://10.0.0.5:1", "b"),
    ],
)
def test_each_server_gets_the_token_that_stands_with_it(tokens, place, expected, monkeypatch):
    monkeypatch.setenv("SEESAY_MILVUS_TOKEN", tokens)
    assert token_for("milvus", place, chosen=True) == expected


@pytest.mark.parametrize("tokens", ["root:word", "vectors:19530=word", "https://other:443=word"])
@pytest.mark.parametrize("place", ["http://other:443", "http://127.0.0.1.example:19530"])
def test_no_other_server_gets_a_token(tokens, place, monkeypatch):
    monkeypatch.setenv("SEESAY_MILVUS_TOKEN", tokens)
    with pytest.raises(ConfigError, match="SEESAY_MILVUS_TOKEN holds no token for"):
        token_for("milvus", place, chosen=True)


@pytest.mark.parametrize("spec", ["chroma=127.0.0.1:{}", "milvus=http://127.0.0.1:{}"])
def test_a_server_that_is_not_there_is_one_clear_error_and_changes_nothing(home, ask, spec, capsys):
    assert run(["rebuild"]) == 0
    before = sorted(home.rglob("*"))
    capsys.readouterr()
    assert run(["rebuild", "--engine", spec.format(free_port())]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "expected a server that answers there" in err
    assert "nothing was changed" in err
    assert ask("stats")["engine"] == "faiss" and sorted(home.rglob("*")) == before


@pytest.mark.parametrize("spec", ["chroma", "chroma=127.0.0.1:1", "milvus=http://127.0.0.1:1"])
def test_a_package_that_is_missing_is_named_before_anything_else(home, spec, monkeypatch):
    for package in ("chromadb", "pymilvus"):
        monkeypatch.setitem(sys.modules, package, None)
    with Collection.open() as collection, pytest.raises(MissingExtraError, match="pip install"):
        collection.rebuild(spec)


def stop(servers):
    for server in servers:
        server.kill()
        server.wait()


def test_a_server_that_goes_away_and_comes_back_changes_no_answer(
    home, tmp_path, monkeypatch, request
):
    monkeypatch.setenv("SEESAY_CHROMA_TOKEN", "a hidden word")
    port = free_port()
    servers = [start_chroma(tmp_path / "server", port)]
    request.addfinalizer(lambda: stop(servers))
    spec = f"chroma=127.0.0.1:{port}"
    with Collection.open() as collection:

        def search():
            results = collection.search("a cat", count=10)
            return [hit.unit for hit in results.hits], results.explain

        def plan(explain):
            return next(one.plan for one in explain.retrievers if one.retriever == "image")

        exact, _ = search()
        collection.rebuild(spec)
        found, explain = search()
        assert plan(explain).path == "index" and found == exact
        stop(servers)
        monkeypatch.setattr(vector_index, "AGAIN_S", -1.0)  # every search tries it again
        for _ in range(2):
            found, explain = search()
            assert found == exact and plan(explain).path == "scan"
            assert "cannot be used" in str(explain.notes[0]) and "Chroma" in str(explain.notes[0])
        with pytest.raises(CollectionError, match="Chroma cannot be reached"):
            collection.rebuild()
        with Collection.open() as other:
            assert other.search("a cat", count=10).hits[0].unit == exact[0]

        servers.append(start_chroma(tmp_path / "server", port))
        found, explain = search()
        assert plan(explain).path == "index" and found == exact and not explain.notes
        stop(servers)
        built = collection.rebuild("faiss")
        assert [one.status.left for one in built] == [(spec,), (spec,)]
    assert all(b"hidden word" not in file.read_bytes() for file in home.rglob("*.*"))
