"""Which pictures a person means who names files and folders."""

from pathlib import Path

import pytest

from seesay.data.images import find_images, list_images


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("b.JPG", "a.png", "sub/c.WebP", "sub/deep/d.HEIC", "notes.txt", ".hidden.jpg"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "pictures" / ".cache").mkdir()
    (tmp_path / "pictures" / ".cache" / "thumbnail.jpg").touch()
    return tmp_path / "pictures"


def test_folders_are_walked_to_the_bottom_whatever_the_case_of_the_ending(folder):
    found = [path.relative_to(folder).as_posix() for path in list_images(folder)]
    assert found == ["a.png", "b.JPG", "sub/c.WebP", "sub/deep/d.HEIC"]


def test_files_keep_the_order_in_which_they_were_named_and_come_once(folder):
    found = find_images([folder / "sub", folder / "b.JPG", folder])
    names = [path.name for path in found.files]
    assert names == ["c.WebP", "d.HEIC", "b.JPG", "a.png"]


def test_a_file_named_outright_is_tried_whatever_its_ending_and_even_if_missing(folder):
    named = (folder / "notes.txt", folder / "missing.jpg", folder / ".hidden.jpg")
    assert find_images(named).files == named


def test_a_folder_without_pictures_is_said(folder):
    (folder / "empty").mkdir()
    assert find_images([folder / "empty"]).empty == (folder / "empty",)
    assert find_images([folder]).empty == ()


def test_a_link_to_a_folder_above_does_not_walk_in_circles(folder):
    (folder / "sub" / "loop").symlink_to(folder)
    assert len(list_images(folder)) == 4
