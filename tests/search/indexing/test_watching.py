import queue
import threading

import pytest

from made_files import write_photo
from seesay.errors import CollectionError
from seesay.search.catalog.store import Store
from seesay.search.indexing import watch as watching
from seesay.search.indexing.options import IndexOptions
from seesay.search.indexing.watch import watch


@pytest.fixture(params=["notified", "polling"])
def watched(request, tmp_path, embedder, photos, monkeypatch):
    """The reports of a watch over the photographs."""
    if request.param == "polling":
        monkeypatch.setitem(__import__("sys").modules, "watchfiles", None)
        monkeypatch.setattr(watching, "POLL_S", 0.3)
    reports, stop = queue.Queue(), threading.Event()
    with Store(photos / ".seesay", create=True) as store:  # its own files change all the time
        thread = threading.Thread(
            target=watch,
            args=(store, embedder, [photos], IndexOptions(workers=1)),
            kwargs={"on_report": reports.put, "stop": stop},
        )
        thread.start()
        yield reports
        stop.set()
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_what_changes_is_indexed_and_what_does_not_is_left_alone(watched, photos):
    assert watched.get(timeout=60).added == 6
    write_photo(photos / "new" / "late.jpg", 60)
    assert watched.get(timeout=60).added == 1
    (photos / "a" / "0.jpg").unlink()
    (photos / "a" / "3.jpg").unlink()
    report = watched.get(timeout=60)
    assert report.removed + (watched.get(timeout=60).removed if report.removed < 2 else 0) == 2
    with pytest.raises(queue.Empty):
        watched.get(timeout=1.5)


def test_a_folder_that_is_not_there_is_an_error(store, embedder, tmp_path):
    with pytest.raises(CollectionError, match="to watch"):
        watch(store, embedder, [tmp_path / "nothing"])
