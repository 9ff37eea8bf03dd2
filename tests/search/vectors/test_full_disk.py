"""A disk that fills while an index is written: the collection goes on, and nothing half stays."""

import os
import subprocess

import pytest

import made_collections as made
from seesay.errors import CollectionError
from seesay.search.catalog.store import Store
from seesay.search.vectors import building
from seesay.search.vectors.vector_index import VectorIndex


def test_a_disk_that_fills_while_an_index_is_written_leaves_the_former_one(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    monkeypatch.setattr(building, "_SPARE_BYTES", -(1 << 30))  # else it is refused beforehand
    vectors = made.unit_vectors(3000, dim=512)
    try:
        with Store(disk / "c", create=True) as store:
            space = made.add_space(store, dim=512)
            made.add_photos(store, space, vectors[:100])
            index = VectorIndex(store, space, "image")
            first = index.build()
            made.add_photos(store, space, vectors[100:], first=100)
            for full in (True, False):
                stuffing = disk / "stuffing"
                if full:
                    free = os.statvfs(disk)
                    stuffing.write_bytes(bytes(free.f_bavail * free.f_frsize - (1 << 20)))
                    with pytest.raises(CollectionError, match=r"could not be written.*No space"):
                        index.build()
                else:
                    stuffing.unlink()
                    assert index.build().generation > first.generation
                assert [path.name for path in index.folder.iterdir() if path.is_dir()] == [
                    f"{first.generation + (not full):08d}"
                ]
                assert index.verify(deep=True) == []
                assert index.search(vectors[2500], 1).units.tolist() == [2501]
            index.close()
    finally:
        subprocess.run(["umount", disk], check=True)
