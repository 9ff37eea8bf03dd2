"""Downloads from a hub on this machine. What must hold for every hub is tested for both."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from hub_server import COMMIT, HubState, hub_server
from seesay.errors import (
    ConfigError,
    DownloadError,
    MissingExtraError,
    UnknownModelError,
    WeightsError,
)
from seesay.weights.catalog import published_models
from seesay.weights.hub import locate, resolve

CLIP = {
    "README.md": b"a model card",
    "config.json": b'{"model_type": "clip"}',
    "preprocessor_config.json": b'{"size": 224}',
    "tokenizer.json": b'{"model": {}}',
    "vocab.json": b'{"a": 0}',
    "merges.txt": b"#version",
    "model.safetensors": bytes(range(256)) * 1000,
    "pytorch_model.bin": b"pickle",
    "tf_model.h5": b"tensorflow",
}
WANTED = {"config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubState]:
    """A hub, both libraries pointed at it, empty caches, and no waiting between attempts."""
    import huggingface_hub.constants
    import huggingface_hub.file_download

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda _: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("SEESAY_HUB", raising=False)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope-home"))
    with hub_server() as state:
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", state.url)
        state.repos["me/clip"] = dict(CLIP)
        yield state


@pytest.fixture(params=["huggingface", "modelscope"])
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "modelscope":
        pytest.importorskip("modelscope_hub", reason="needs the extra modelscope")
        from modelscope_hub import _download, _legacy_api

        monkeypatch.setattr(_legacy_api, "REPO_TREE_PAGE_MAX_ATTEMPTS", 1)
        monkeypatch.setattr(_download, "DOWNLOAD_RETRY_TIMES", 0)
        monkeypatch.setattr(_download, "DOWNLOAD_INTEGRITY_RETRY_BACKOFF", 0)
    return str(request.param)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestEveryHub:
    def test_only_the_files_that_are_needed_are_brought(self, server, hub):
        folder = resolve("me/clip", hub=hub)
        assert names(folder) == server.files_asked_for() == WANTED
        assert all((folder / name).read_bytes() == CLIP[name] for name in WANTED)

    def test_a_pickle_is_brought_where_there_are_no_safetensors(self, server, hub):
        del server.repos["me/clip"]["model.safetensors"]
        assert "pytorch_model.bin" in names(resolve("me/clip", hub=hub))

    def test_shards_come_with_their_index(self, server, hub):
        files = server.repos["me/clip"]
        del files["model.safetensors"]
        shards = {f"model-0000{n}-of-00002.safetensors": b"shard" for n in (1, 2)}
        files.update({"model.safetensors.index.json": b"{}", **shards})
        expected = (WANTED - {"model.safetensors"}) | shards.keys()
        assert names(resolve("me/clip", hub=hub)) == expected | {"model.safetensors.index.json"}

    def test_a_repository_without_weights_is_refused_and_says_what_it_has(self, server, hub):
        server.repos["me/clip"] = {"README.md": b"", "config.json": b"{}"}
        with pytest.raises(WeightsError, match=r"me/clip has no weights .*README.md, config.json"):
            resolve("me/clip", hub=hub)

    def test_a_second_time_no_file_is_asked_for(self, server, hub):
        first = resolve("me/clip", hub=hub)
        server.requests.clear()
        assert resolve("me/clip", hub=hub) == first
        assert server.files_asked_for() == set()

    def test_what_is_in_the_cache_serves_when_the_hub_is_down(self, server, hub):
        first = resolve("me/clip", hub=hub)
        server.status = 503
        assert resolve("me/clip", hub=hub) == first

    def test_offline_the_cache_is_used_and_nobody_is_asked(self, server, hub, monkeypatch):
        first = resolve("me/clip", hub=hub)
        server.requests.clear()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert resolve("me/clip", hub=hub) == first
        assert server.requests == []

    def test_offline_without_a_copy_says_so(self, server, hub, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "true")
        with pytest.raises(
            DownloadError, match=r"HF_HUB_OFFLINE forbids.*give the folder of a copy"
        ):
            resolve("me/clip", hub=hub)
        assert server.requests == []

    @pytest.mark.parametrize("fault", ["cut", "short", "other", "missing"])
    def test_a_download_that_goes_wrong_leaves_nothing_that_loads(
        self, server, hub, fault, monkeypatch
    ):
        server.faults["model.safetensors"] = fault
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1|damaged"):
            resolve("me/clip", hub=hub)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(DownloadError, match="not whole in the cache"):
            resolve("me/clip", hub=hub)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        server.faults.clear()
        folder = resolve("me/clip", hub=hub)
        assert (folder / "model.safetensors").read_bytes() == CLIP["model.safetensors"]

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
    def test_a_small_file_of_the_wrong_content_is_found_out_too(self, server, hub, name):
        server.faults[name] = "other"
        with pytest.raises(DownloadError, match="damaged"):
            resolve("me/clip", hub=hub)
        server.faults.clear()
        assert (resolve("me/clip", hub=hub) / name).read_bytes() == CLIP[name]

    def test_an_unknown_repository_is_told_with_the_nearest_names(self, server, hub):
        with pytest.raises(UnknownModelError, match=r"Did you mean openai/clip-vit-base-patch32"):
            resolve("opnai/clip-vit-base-patch32", hub=hub)

    def test_a_hub_that_does_not_answer_is_named_with_what_to_do(self, server, hub, monkeypatch):
        nobody = "http://127.0.0.1:9"  # the discard port, where nothing listens
        monkeypatch.setenv("HF_ENDPOINT", nobody)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", nobody)
        with pytest.raises(DownloadError) as told:
            resolve("me/clip", hub=hub)
        assert type(told.value) is DownloadError
        for part in (nobody, "SEESAY_HUB", "HF_ENDPOINT", "give the folder of a copy"):
            assert part in str(told.value)

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refusal_asks_for_a_token(self, server, hub, status):
        server.status = status
        with pytest.raises(DownloadError, match=r"refuses me/clip.*Set (HF_TOKEN|MODELSCOPE_API)"):
            resolve("me/clip", hub=hub)

    def test_a_disk_without_room_is_found_out_before_anything_is_brought(
        self, server, hub, monkeypatch
    ):
        monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1_000))
        with pytest.raises(DownloadError, match=r"disk of .* is full.*HF_HOME"):
            resolve("me/clip", hub=hub)
        assert server.files_asked_for() == set()

    def test_progress_grows_to_the_whole_size(self, server, hub):
        seen: list[tuple[int, int]] = []
        resolve("me/clip", hub=hub, on_progress=lambda done, total: seen.append((done, total)))
        whole = sum(len(CLIP[name]) for name in WANTED)
        assert seen[-1] == (whole, whole)
        assert seen == sorted(seen)

    def test_a_catalogue_name_brings_its_repository(self, server, hub):
        entry = published_models()["chinese-clip-b16"]
        files = {"config.json": b"{}", "pytorch_model.bin": b"w", "vocab.txt": b"[PAD]"}
        server.repos[entry.repo if hub == "huggingface" else entry.modelscope] = files
        assert names(resolve("Chinese-CLIP-B16", hub=hub)) == files.keys()

    def test_a_missing_tokenizer_comes_from_the_checkpoint_that_has_it(
        self, server, hub, monkeypatch
    ):
        rn50, b16 = published_models()["chinese-clip-rn50"], published_models()["chinese-clip-b16"]
        which = "repo" if hub == "huggingface" else "modelscope"
        server.repos[getattr(rn50, which)] = {"clip_cn_rn50.pt": b"weights"}
        server.repos[getattr(b16, which)] = {"pytorch_model.bin": b"x", "vocab.txt": b"[PAD]\n"}
        folder = resolve("chinese-clip-rn50", hub=hub)
        assert (folder / "vocab.txt").read_bytes() == b"[PAD]\n"
        assert names(folder) == {"clip_cn_rn50.pt", "vocab.txt"}
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert resolve("chinese-clip-rn50", hub=hub) == folder

    def test_a_model_in_two_halves_is_located_with_both(self, server, hub):
        taiyi, clip = published_models()["taiyi-clip-b32"], published_models()["clip-b32"]
        server.repos[taiyi.repo] = {"config.json": b"{}", "pytorch_model.bin": b"w"}
        server.repos[taiyi.repo]["vocab.txt"] = b"[PAD]"
        server.repos[clip.repo if hub == "huggingface" else clip.modelscope] = dict(CLIP)
        located = locate(taiyi.repo, hub=hub)
        assert "vocab.txt" in names(located.folder)
        assert names(located.image_folder) == WANTED


class TestHuggingFace:
    def test_a_pinned_commit_in_the_cache_needs_no_hub(self, server):
        first = resolve("me/clip", revision=COMMIT)
        server.requests.clear()
        assert resolve("me/clip", revision=COMMIT) == first
        assert server.requests == []

    def test_the_catalogues_commit_is_what_is_brought(self, server):
        entry = published_models()["clip-b32"]
        server.repos[entry.repo] = dict(CLIP)
        located = locate("clip-b32")
        assert located.revision == located.folder.name == entry.revision

    def test_a_named_revision_goes_before_the_catalogues(self, server):
        server.repos["openai/clip-vit-base-patch32"] = dict(CLIP)
        assert locate("clip-b32", revision="main").revision == COMMIT

    def test_an_unknown_revision_is_told(self, server):
        with pytest.raises(DownloadError, match="me/clip has no revision 'v9'; expected a branch"):
            resolve("me/clip", revision="v9")

    def test_a_gated_repository_says_where_to_accept_its_terms(self, server):
        server.status, server.error_code = 403, "GatedRepo"
        with pytest.raises(DownloadError, match=rf"accepted its terms at {server.url}/me/clip"):
            resolve("me/clip")

    def test_of_two_layouts_side_by_side_one_is_brought(self, server):
        server.repos["me/clip"] |= {
            "open_clip_config.json": b"{}",
            "open_clip_model.safetensors": b"w",
        }
        expected = {"open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"}
        assert names(resolve("me/clip")) == expected

    def test_timms_repositories_are_read_in_open_clips_layout(self, server):
        files = {"open_clip_config.json": b"{}", "open_clip_pytorch_model.bin": b"w"}
        server.repos["timm/eva"] = {**CLIP, **files}  # model.safetensors is an image tower alone
        assert names(resolve("timm/eva")) == {*files, "tokenizer.json"}

    def test_a_disk_that_fills_up_meanwhile_is_told(self, server, monkeypatch):
        def full(*args: object, **options: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("huggingface_hub.snapshot_download", full)
        with pytest.raises(DownloadError, match=r"disk of .* is full.*set HF_HOME"):
            resolve("me/clip")

    def test_killed_in_the_middle_it_leaves_nothing_that_loads(self, server, tmp_path, monkeypatch):
        server.faults["model.safetensors"] = "stall"
        code = "from seesay.weights.hub import resolve; print(resolve('me/clip'))"
        environment = {
            **os.environ,
            "HF_ENDPOINT": server.url,
            "HF_HUB_CACHE": str(tmp_path / "hf"),
        }
        command = [sys.executable, "-c", code]
        first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        assert server.stalled.wait(60)
        first.kill()
        first.wait()
        offline = {**environment, "HF_HUB_OFFLINE": "1"}
        told = subprocess.run(command, env=offline, capture_output=True, text=True)
        assert told.returncode != 0
        assert "DownloadError: me/clip is not whole in the cache" in told.stderr
        server.faults.clear()
        again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        folder = Path(again.stdout.strip())
        assert (folder / "model.safetensors").read_bytes() == CLIP["model.safetensors"]


class TestNames:
    def test_a_local_folder_is_taken_as_it_is(self, tmp_path):
        assert resolve(str(tmp_path)) == tmp_path

    def test_the_home_folder_may_be_abbreviated(self, tmp_path, monkeypatch):
        (tmp_path / "mine").mkdir()
        monkeypatch.setenv("HOME", str(tmp_path))
        assert resolve("~/mine") == tmp_path / "mine"

    def test_an_alias_is_not_taken_for_a_folder_of_its_name(self, server, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "clip-b32").mkdir()
        server.repos["openai/clip-vit-base-patch32"] = dict(CLIP)
        assert names(resolve("clip-b32")) >= WANTED
        assert names(resolve("./clip-b32")) == set()

    @pytest.mark.parametrize("name", ["./nowhere", "/no/where", "a/b/c", "~nobody/x", "C:\\models"])
    def test_a_path_that_does_not_exist_is_told(self, name):
        with pytest.raises(UnknownModelError, match="there is no folder"):
            resolve(name)

    def test_a_file_is_refused_with_its_folder(self, tmp_path):
        (tmp_path / "model.safetensors").write_bytes(b"")
        with pytest.raises(UnknownModelError, match=rf"is a file.*in it: {tmp_path}"):
            resolve(str(tmp_path / "model.safetensors"))

    @pytest.mark.parametrize("name", ["siglip2-b16-225", "clip b32", "", "中文模型"])
    def test_an_unknown_name_asks_no_hub(self, server, name):
        with pytest.raises(UnknownModelError, match="See: seesay models list"):
            resolve(name)
        assert server.requests == []

    def test_an_unknown_name_is_answered_with_the_nearest(self):
        with pytest.raises(UnknownModelError, match="Did you mean siglip2-b16-2"):
            resolve("siglip2-b16-225")

    def test_the_hub_can_be_chosen_by_the_environment(self, server, monkeypatch):
        pytest.importorskip("modelscope_hub", reason="needs the extra modelscope")
        monkeypatch.setenv("SEESAY_HUB", "ModelScope")
        resolve("me/clip")
        assert all("/api/v1/" in line for line in server.requests)

    def test_an_unknown_hub_is_refused(self):
        with pytest.raises(
            ConfigError, match="no hub 'gitlab'; expected huggingface or modelscope"
        ):
            resolve("me/clip", hub="gitlab")

    def test_modelscope_without_its_extra_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "modelscope_hub", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'seesay\[modelscope\]'"):
            resolve("me/clip", hub="modelscope")

    def test_looking_for_a_model_imports_neither_torch_nor_a_hub(self):
        code = "import sys, seesay.weights.hub as _; print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert not {"torch", "huggingface_hub", "modelscope_hub"} & set(loaded.stdout.split())
