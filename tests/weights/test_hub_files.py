"""Which files of a repository make a checkpoint, and whether they are what the hub lists."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seesay.errors import DownloadError, WeightsError
from seesay.weights.hub import check, choose, is_whole
from seesay.weights.hub_clients import HubFile, Listing

HF = ["config.json", "model.safetensors", "tokenizer.json"]
OPEN_CLIP = ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
PICKLE = ["pytorch_model.bin"]
INDEX = "model.safetensors.index.json"
NAMES = [*HF, *OPEN_CLIP, *SHARDS, INDEX, "pytorch_model.bin", "seesay.json", "vocab.txt"]


def test_a_repository_of_sentence_transformers_says_how_to_load_it():
    names = ["modules.json", "0_CLIPModel/config.json", "0_CLIPModel/pytorch_model.bin"]
    with pytest.raises(WeightsError, match=r"hf download a/b --local-dir FOLDER, and name FOLDER"):
        choose(names, None, "a/b")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["seesay.json", *HF], ["seesay.json", "model.safetensors", "tokenizer.json"]),
        ([*HF, *OPEN_CLIP], OPEN_CLIP),
        (
            [*HF, OPEN_CLIP[0], "open_clip_pytorch_model.safetensors"],
            [OPEN_CLIP[0], "open_clip_pytorch_model.safetensors", "tokenizer.json"],
        ),
        ([*HF, "pytorch_model.bin", "open_clip_config.json", "open_clip_pytorch_model.bin"], HF),
        (["config.json", *PICKLE], ["config.json", *PICKLE]),
        (["clip_cn_rn50.pt", "README.md"], ["clip_cn_rn50.pt"]),
        (["config.json", INDEX, *SHARDS], ["config.json", INDEX, *SHARDS]),
        (
            ["config.json", INDEX, SHARDS[0], "pytorch_model.bin"],
            ["config.json", "pytorch_model.bin"],
        ),
        ([*HF, "vocab.json", "merges.txt", "vocab.txt"], HF),
        (["checkpoint.pt", "README.md"], ["checkpoint.pt"]),
        (
            [*HF[:2], "tokenizer.model", "added_tokens.json", "generation_config.json"],
            [HF[0], "generation_config.json", HF[1], "tokenizer.model", "added_tokens.json"],
        ),
        ([*HF[:2], "qwen.tiktoken"], [*HF[:2], "qwen.tiktoken"]),
        (
            [*HF[:2], "vocab.txt", "tokenizer_config.json"],
            [HF[0], "tokenizer_config.json", HF[1], "vocab.txt"],
        ),
        (
            [
                "config.json",
                "model.safetensors",
                "vocab.json",
                "merges.txt",
                "processor_config.json",
            ],
            [
                "config.json",
                "processor_config.json",
                "model.safetensors",
                "vocab.json",
                "merges.txt",
            ],
        ),
    ],
)
def test_one_layout_one_set_of_weights_and_one_tokenizer_are_chosen(names, expected):
    assert choose(names, None, "here") == expected


def test_the_catalogues_layout_goes_before_the_order():
    assert choose([*HF, *OPEN_CLIP], "hf", "here") == HF
    with pytest.raises(WeightsError, match="here has no weights"):
        choose(HF, "open_clip", "here")


@given(st.sets(st.sampled_from(NAMES)))
def test_what_is_chosen_is_there_and_is_whole(names):
    try:
        chosen = choose(names, None, "here")
    except WeightsError:
        return
    assert set(chosen) <= names
    assert len(set(chosen)) == len(chosen)
    assert choose(chosen, None, "here") == chosen


def test_a_folder_is_whole_with_all_shards_and_a_tokenizer(tmp_path):
    for name in ("config.json", INDEX, *SHARDS):
        (tmp_path / name).write_bytes(b"")
    assert not is_whole(tmp_path, None)
    (tmp_path / "tokenizer.json").write_bytes(b"")
    assert is_whole(tmp_path, None)
    (tmp_path / SHARDS[1]).unlink()
    assert not is_whole(tmp_path, None)
    assert not is_whole(tmp_path / "nowhere", None)


def listed(name: str, content: bytes, *, large: bool) -> Listing:
    sha256 = hashlib.sha256(content).hexdigest() if large else ""
    git_id = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    file = HubFile(name, len(content), sha256, git_id)
    return Listing(asked="main", revision="main", files=(file,))


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize(
    ("came", "problem"),
    [(b"contend", "has other content"), (b"cont", "has 4 bytes of 7"), (None, "is missing")],
)
def test_a_file_that_is_not_as_listed_is_told_and_deleted(tmp_path, large, came, problem):
    store = tmp_path / "blob"  # as in a cache: the content apart, a link in the folder
    if came is not None:
        store.write_bytes(came)
        (tmp_path / "file").symlink_to(store)
    with pytest.raises(DownloadError, match=rf"file {problem}.*run the same command again"):
        check(tmp_path, listed("file", b"content", large=large), ["file"])
    assert not store.exists()
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("large", [True, False])
def test_a_file_as_listed_stays(tmp_path: Path, large: bool):
    (tmp_path / "file").write_bytes(b"content")
    check(tmp_path, listed("file", b"content", large=large), ["file"])
    assert (tmp_path / "file").read_bytes() == b"content"


def test_no_name_leads_out_of_the_folder_of_a_repository():
    with pytest.raises(WeightsError, match="has no weights that seesay reads"):
        choose(["clip_cn_/../../../../notes.pt"], None, "somebody/model")
