"""Pictures and documents in archives: found by a path below the archive, and only when asked."""

import os

import pytest

from made_archives import TAR_MODES, add_gbk_name, add_tar_links, add_zip_link, encrypt, pack
from made_files import write_photo
from seesay.data import archives
from seesay.search.checking.verify import check_files
from seesay.search.collection import Collection
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions

ASKED = IndexOptions(workers=1, archives=True)
PLAIN = IndexOptions(workers=1)
NOTE = b"The lighthouse keeper counts the ships that pass at night."


@pytest.fixture
def pictures(tmp_path):
    """The bytes of three pictures."""
    return [write_photo(tmp_path / "made" / f"{n}.png", n).read_bytes() for n in range(3)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def paths(store, folder):
    return sorted(
        os.path.relpath(one.path, folder)
        for one in store.files.all()
        if one.media_type != "archive"
    )


def reasons(store):
    return {os.path.basename(one.path): one.error for one in store.quarantine.all()}


@pytest.mark.parametrize("ending", [".zip", *TAR_MODES])
def test_files_in_an_archive_are_found_by_their_path_in_it(
    store, embedder, folder, pictures, ending
):
    members = {"2019/cat.png": pictures[0], "说明.txt": NOTE, ".hidden.png": pictures[1]}
    pack(folder / f"photos{ending}", {**members, "./b/dog.png": pictures[2], "song.mp3": b"-"})
    report = index(store, embedder, [folder], ASKED)
    assert (report.added, report.images, report.failed, report.partial) == (3, 2, 0, 0)
    inside = ("2019/cat.png", "b/dog.png", "说明.txt")
    assert paths(store, folder) == [f"photos{ending}/{name}" for name in inside]
    assert report.left_out == {".mp3": 1}
    again = index(store, embedder, [folder], PLAIN)  # an archive that was read is kept up to date
    assert (again.unchanged, again.added, again.removed, again.failed) == (3, 0, 0, 0)
    assert check_files(store) == []


def test_archives_are_read_only_when_asked(store, embedder, folder, pictures):
    pack(folder / "photos.zip", {"cat.png": pictures[0]})
    report = index(store, embedder, [folder], PLAIN)
    assert (report.added, report.left_out) == (0, {".zip": 1})


def test_a_changed_archive_is_read_again_and_a_deleted_one_forgotten(
    store, embedder, folder, pictures
):
    archive = pack(
        folder / "a.zip", {"one.png": pictures[0], "two.png": pictures[1], "bad.png": b"x"}
    )
    assert index(store, embedder, [folder], ASKED).failed == 1
    assert set(reasons(store)) == {"bad.png"}
    pack(archive, {"one.png": pictures[0], "three.png": pictures[2]})
    os.utime(archive, ns=(1, 1))
    report = index(store, embedder, [folder], PLAIN)
    assert (report.added, report.unchanged, report.removed, report.reused) == (1, 1, 1, 0)
    assert paths(store, folder) == ["a.zip/one.png", "a.zip/three.png"] and not reasons(store)
    moved = archive.rename(folder / "b.zip")
    report = index(store, embedder, [folder], ASKED)
    assert (report.moved, report.added, report.images) == (2, 0, 0)
    assert paths(store, folder) == ["b.zip/one.png", "b.zip/three.png"]
    moved.unlink()
    (folder / "note.txt").write_bytes(NOTE)  # an empty folder looks like an unmounted disk
    assert index(store, embedder, [folder], PLAIN).removed == 3  # with the archive itself
    assert paths(store, folder) == ["note.txt"]


def test_what_is_not_read_is_named(store, embedder, folder, pictures):
    mixed = pack(
        folder / "mixed.zip",
        {
            "inner.zip": b"PK",
            "film.mp4": b"-",
            "rows.csv": b"place,visits\nharbour,3\nmuseum,5\n",
            "pictures.csv": b"path,caption\ngood.png,A cat\n",
            "../../out.png": pictures[0],
            "locked.png": pictures[1],
            "good.png": pictures[2],
        },
    )
    encrypt(mixed, "locked.png")
    (folder / "cut.zip").write_bytes(mixed.read_bytes()[:-30])
    (folder / "cut.tar.gz").write_bytes(
        pack(folder / "whole.tar.gz", {"a.png": pictures[0] * 40}).read_bytes()[:-2000]
    )
    (folder / "whole.tar.gz").unlink()
    report = index(store, embedder, [folder], ASKED)
    assert paths(store, folder) == ["mixed.zip/good.png", "mixed.zip/rows.csv"]
    assert (report.failed, report.partial) == (4, 1)
    told = reasons(store)
    assert set(told) == {"mixed.zip", "locked.png", "pictures.csv", "cut.zip", "cut.tar.gz"}
    assert "describes pictures" in told["pictures.csv"].en
    assert "encrypted" in told["locked.png"].en and "加密" in told["locked.png"].zh
    assert "damaged" in told["cut.zip"].en and "损坏" in told["cut.tar.gz"].zh
    for name in (
        "archives (1)",
        "videos (1)",
        "names that lead out of it or are too long (1)",
    ):
        assert name in told["mixed.zip"].en
    again = index(store, embedder, [folder], ASKED)
    assert (again.failed, again.unchanged, again.skipped) == (0, 2, 2)


def test_links_and_names_that_lead_out_are_harmless(store, embedder, folder, pictures, tmp_path):
    (tmp_path / "secret.png").write_bytes(pictures[0])
    tar = pack(folder / "a.tar", {"../secret.png": pictures[1], "/etc/b.png": pictures[2]})
    add_tar_links(tar)
    zipped = pack(folder / "b.zip", {"..\\c.png": pictures[1]})
    add_zip_link(zipped, "link.png", "../secret.png")
    add_gbk_name(zipped, "照片/猫.png", pictures[0])
    index(store, embedder, [folder], ASKED)
    assert paths(store, folder) == ["a.tar/etc/b.png", "b.zip/照片/猫.png"]


def test_bombs_are_refused(store, embedder, folder, pictures, monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 10_000)
    pack(folder / "zeros.zip", {"a.txt": b" " * 8_000_000, "b.png": pictures[0]})
    pack(folder / "zeros.tar.gz", {"a.txt": b" " * 8_000_000, "b.png": pictures[0]})
    pack(folder / "many.zip", {f"{n}.png": b"" for n in range(30)})
    with pytest.raises(archives.DataError, match="takes more than"):
        archives.list_members(str(folder / "zeros.zip"))
    with pytest.raises(archives.DataError, match="takes more than"):
        archives.list_members(str(folder / "zeros.tar.gz"))
    monkeypatch.setattr(archives, "MOST_FILES", 20)
    with pytest.raises(archives.DataError, match="more than 20 files"):
        archives.list_members(str(folder / "many.zip"))


def test_files_in_archives_survive_removal_retry_and_doors(
    folder, pictures, tmp_path, model_folder
):
    (folder / "same.png").write_bytes(pictures[0])
    archive = pack(folder / "a.tgz", {"cat.png": pictures[0], "dog.png": pictures[1]})
    inside = str(archive / "cat.png")
    with Collection.open(tmp_path / "c", create=True, model=str(model_folder)) as collection:
        collection.index([folder], ASKED)
        (unit,) = collection.passages_of(inside)
        assert collection.thumbnail(unit)[8:12] == b"WEBP"
        found = collection.duplicates(exact=True)
        assert (found.total, found.changed) == (0, 0)  # what is in an archive is not deleted alone
        assert collection.remove(inside) == 1
        collection.retry_errors()
        assert collection.index([folder]).added == 0
        assert collection.index([inside]).added == 1
        assert collection.remove(str(archive)) == 3
        assert collection.index([folder], ASKED).added == 0
        assert collection.index([archive], ASKED).added == 2
        data = bytearray(archive.read_bytes())
        os.utime(archive, ns=(1, 1))
        with pytest.raises(Exception, match="changed since it was indexed"):
            collection.thumbnail(collection.passages_of(inside)[0], 512)
        archive.write_bytes(data[:-40])
        collection.index([folder])
        assert set(reasons(collection.store)) == {"a.tgz"}
        assert paths(collection.store, folder) == ["same.png"]
