"""A path leads to a regular file or to an error at once, whatever lies there by now."""

import errno
import os
import threading

import pytest

from odd_places import REPLACED
from seesay.data import files as opening
from seesay.data.files import NoFileError, open_file
from seesay.data.images import open_image
from seesay.errors import ImageError

pytestmark = pytest.mark.timeout(60)  # a pipe without a writer would be waited for


def open_handles() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.fixture
def file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content")
    return tmp_path / "folder" / "file"


def test_a_file_and_a_link_to_one_are_read(file, tmp_path):
    (tmp_path / "link").symlink_to(file)
    for path in (file, str(file), tmp_path / "link"):
        with open_file(path) as stream:
            assert stream.read() == b"content"


@pytest.mark.parametrize("what", REPLACED)
def test_anything_else_is_an_error_that_says_what_it_is(file, what):
    before = open_handles()
    REPLACED[what](file)
    with pytest.raises(OSError) as caught:
        open_file(file)
    assert caught.value.strerror
    no_file = what in ("a folder", "a pipe", "a device", "a terminal", "a socket")
    assert isinstance(caught.value, NoFileError) == (no_file or what == "a link to a folder")
    assert open_handles() == before


def test_a_name_that_no_file_can_have_is_not_there():
    with pytest.raises(FileNotFoundError, match="cannot hold a null character"):
        open_file("zero\0byte")


@pytest.mark.parametrize("what", ["a folder", "a pipe", "a device"])
def test_what_is_replaced_between_a_look_and_the_opening_is_caught(file, what, monkeypatch):
    usual, before = os.open, open_handles()

    def replace_and_open(path, flags):
        REPLACED[what](file)
        return usual(path, flags)

    monkeypatch.setattr(opening.os, "open", replace_and_open)
    with pytest.raises(NoFileError):
        open_file(file)
    assert open_handles() == before


def test_a_writer_of_a_pipe_is_not_let_go_by_a_look(file):
    """Opening a pipe for a moment would wake its writer, who would write to nobody."""
    REPLACED["a pipe"](file)
    woken = threading.Event()

    def write():
        os.close(os.open(file, os.O_WRONLY))
        woken.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with pytest.raises(NoFileError) as caught:
        open_file(file)
    assert caught.value.errno == errno.EINVAL
    assert not woken.wait(0.2)
    os.close(os.open(file, os.O_RDONLY))
    writer.join(30)


@pytest.mark.parametrize("what", REPLACED)
def test_a_picture_that_became_something_else_is_an_image_error(file, what):
    REPLACED[what](file)
    with pytest.raises(ImageError, match=r"file: .* Expected a picture file\. "):
        open_image(file)
