"""A file is whole or not there."""

import os
import stat

import pytest

from seesay.data.files import write_whole, write_whole_folder
from seesay.errors import DataError


def write(file):
    with write_whole(file) as unfinished:
        unfinished.write_text("x")


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    file = tmp_path / "result.txt"
    with write_whole(file) as unfinished:
        unfinished.write_text("whole")
        assert not file.exists()
        assert unfinished.parent == tmp_path  # a move within one disk is one step
    assert file.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "result.txt"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), write_whole(file) as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_file_may_be_read_by_whom_any_new_file_may_be_read(tmp_path):
    with write_whole(tmp_path / "result.txt"):
        pass
    (tmp_path / "plain.txt").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("result.txt", "plain.txt")}
    assert len(modes) == 1


def test_a_link_keeps_pointing_at_the_file_that_is_replaced(tmp_path):
    (tmp_path / "target.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("target.txt")
    with write_whole(tmp_path / "link.txt") as unfinished:
        unfinished.write_text("new")
    assert (tmp_path / "target.txt").read_text() == "new"
    assert (tmp_path / "link.txt").is_symlink()


@pytest.mark.parametrize("path", ["missing/result.txt", "."])
def test_an_impossible_place_is_refused_with_what_to_do(tmp_path, path):
    with pytest.raises(DataError, match=r"cannot be written: .*; choose another path"):
        write(tmp_path / path)


def test_a_device_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a folder or a device has this name"):
        write(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_full_disk_is_said_in_one_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        write(tmp_path / "result.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_is_no_obstacle(tmp_path):
    write(tmp_path / ("图" * 80 + ".txt"))
    assert len(list(tmp_path.iterdir())) == 1


def fill(folder, text, **options):
    with write_whole_folder(folder, **options) as unfinished:
        (unfinished / "file").write_text(text)


def test_a_folder_appears_whole_and_replaces_another_only_where_told(tmp_path):
    fill(tmp_path / "a" / "model", "one")
    with pytest.raises(DataError, match="nothing of this name there"):
        fill(tmp_path / "a" / "model", "two")
    assert (tmp_path / "a" / "model" / "file").read_text() == "one"
    fill(tmp_path / "a" / "model", "two", replace=True)
    assert (tmp_path / "a" / "model" / "file").read_text() == "two"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    fill(tmp_path / "model", "old")
    with pytest.raises(KeyboardInterrupt), write_whole_folder(tmp_path / "model", replace=True):
        raise KeyboardInterrupt
    assert (tmp_path / "model" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
