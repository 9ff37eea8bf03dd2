"""What is said of a file that cannot be read."""

import os

import pytest

from seesay.search.reading.files import RefusedError, read_file


def test_a_file_that_is_gone_is_not_told_to_check_its_rights(tmp_path):
    with pytest.raises(RefusedError, match=r"it is not there .* Check its name") as caught:
        read_file(str(tmp_path / "gone.jpg"), 10)
    assert "rights" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs rights that bind")
def test_a_file_without_rights_is(tmp_path):
    (tmp_path / "mine.jpg").touch(0o000)
    with pytest.raises(RefusedError, match="Check its rights"):
        read_file(str(tmp_path / "mine.jpg"), 10)
