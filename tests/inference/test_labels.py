"""Labels and templates as people give them."""

import pytest

from seesay.errors import ConfigError
from seesay.inference.labels import folder_labels, read_labels, read_lines


@pytest.mark.parametrize(
    "given", ["cat,dog", "cat, dog,", " cat ,dog ", "cat，dog", "cat、dog", "cat;dog", "cat；dog"]
)
def test_labels_on_one_line_may_be_separated_as_in_either_language(given):
    assert read_labels(given) == {"cat": "cat", "dog": "dog"}


def test_a_label_may_show_one_name_and_ask_for_another():
    assert read_labels("狸花 = 带条纹的猫,狗") == {"狸花": "带条纹的猫", "狗": "狗"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_come_from_a_file_line_by_line(tmp_path, encoding):
    file = tmp_path / "labels"
    file.write_bytes("# 动物\n猫\r\n\nn02=a dog, brown\n".encode(encoding))
    assert read_labels(str(file)) == {"猫": "猫", "n02": "a dog, brown"}


def test_a_label_given_twice_is_refused():
    with pytest.raises(ConfigError, match="'cat' is given more than once"):
        read_labels("cat,dog,cat=tiger")


def test_a_file_of_labels_that_is_not_there_is_no_label():
    with pytest.raises(ConfigError, match=r"labels\.txt cannot be read: No such file"):
        read_labels("labels.txt")


def test_a_file_in_another_encoding_is_refused(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_bytes("熊猫和狗\n".encode("gb18030"))
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_lines(file)


def test_a_long_line_of_labels_is_no_file_name():
    names = [f"label number {i}" for i in range(500)]
    assert list(read_labels(",".join(names))) == names


def test_folder_names_become_words():
    names = ["golden_retriever", "T-shirt", "猫", "__"]
    assert folder_labels(names) == {
        "golden_retriever": "golden retriever",
        "T-shirt": "T shirt",
        "猫": "猫",
        "__": "__",
    }
