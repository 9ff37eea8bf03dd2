"""`seesay models`: list, show, download."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_server import COMMIT, HubState, hub_server
from seesay.cli.main import run
from seesay.cli.models import read_memory
from seesay.cli.output import columns
from seesay.weights.catalog import published_assistants, published_models
from seesay.weights.hub import locate

FILES = {
    "config.json": b"{}",
    "tokenizer.json": b'{"model": {}}',
    "model.safetensors": bytes(range(256)) * 8000,
}


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubState]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("SEESAY_HUB", raising=False)
    with hub_server() as state:
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        state.repos["me/clip"] = dict(FILES)
        yield state


def test_the_list_names_every_model_with_whom_it_is_for(capsys):
    assert run(["models", "list"]) == 0
    shown = capsys.readouterr()
    assert all(alias in shown.out for alias in (*published_models(), *published_assistants()))
    assert "CC-BY-NC-4.0" in shown.out
    assert published_models()["siglip2-b16-224"].recommended_en in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("columns", ["60", "80"])
def test_on_a_narrow_terminal_names_and_figures_stay_whole(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert run(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for entry in published_models().values():
        (line,) = (line for line in lines if line.split()[:1] == [entry.alias])
        assert "–" in line if entry.top1 is None else f"{entry.top1:.1f}%" in line
    assert max(map(len, lines)) <= int(columns)


def test_the_list_speaks_chinese(capsys, monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", "zh")
    assert run(["models", "list"]) == 0
    shown = capsys.readouterr().out
    assert published_models()["chinese-clip-h14"].recommended_zh in shown
    assert published_models()["chinese-clip-h14"].recommended_en not in shown


def test_the_list_can_be_narrowed_to_a_language(capsys):
    run(["models", "list", "--language", "zh", "--json"])
    shown = {record["alias"] for record in json.loads(capsys.readouterr().out)}
    every = {**published_models(), **published_assistants()}
    assert shown == {alias for alias, entry in every.items() if "zh" in entry.languages}
    assert {"siglip2-b16-224", "chinese-clip-b16"} < shown
    assert "clip-b32" not in shown


@pytest.mark.parametrize(
    ("kind", "one"),
    [
        ("embedding", "siglip2-b16-224"),
        ("text", "seesay-text"),
        ("assistant", "qwen2-vl-2b"),
        ("captioner", "blip-caption-base"),
        ("matcher", "blip-itm-base"),
    ],
)
def test_the_list_can_be_narrowed_to_a_kind(capsys, kind, one):
    run(["models", "list", "--kind", kind, "--json"])
    records = json.loads(capsys.readouterr().out)
    assert {record["kind"] for record in records} == {kind}
    assert one in {record["alias"] for record in records}
    run(["models", "list", "--kind", kind])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.split()[:1] == [one]] == [kind]


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["answers questions", "int4 7.5 GB", "OCRBench 84.5 (Qwen2-VL, README)", "2,774"]),
        ("zh", ["回答问题", "int4 7.5 GB", "82.91 亿", "A4 页"]),
    ],
)
def test_an_assistant_is_shown_with_its_needs_and_figures(capsys, monkeypatch, language, words):
    monkeypatch.setenv("SEESAY_LANG", language)
    assert run(["models", "show", "qwen2-vl-7b"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in words)


class TestRecommend:
    ASKED = ("models", "recommend", "--task", "ocr", "--language", "zh", "--memory", "8GB")

    def test_the_best_that_fits_comes_first_with_its_reason(self, capsys):
        assert run([*self.ASKED, "--licence", "commercial", "--count", "2"]) == 0
        out = capsys.readouterr().out
        assert out.startswith("1. qwen3-vl-4b\n") and "6.8 GB in int8" in out
        assert "3. " not in out and "more fit: --count" in out
        assert "its licence forbids commercial use: seesay-assistant, qwen2.5-vl-3b" in out
        assert "needs more memory: qwen-vl\n" in re.sub(" +\n", "\n", out)

    def test_it_answers_in_chinese(self, capsys, monkeypatch):
        monkeypatch.setenv("SEESAY_LANG", "zh")
        assert run([*self.ASKED, "--licence", "commercial"]) == 0
        out = capsys.readouterr().out
        assert "int8 占 6.8 GB" in out and "许可证禁止商用：seesay-assistant、qwen2.5-vl-3b" in out

    def test_json_holds_the_need_and_every_model(self, capsys):
        assert run([*self.ASKED, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["need"]["memory"] == 8_000_000_000
        names = [one["alias"] for one in (*found["ranked"], *found["excluded"])]
        assert sorted(names) == sorted(published_assistants())
        best = found["ranked"][0]
        assert best["number_type"] == "int8"
        assert best["figures"] == [
            {
                "benchmark": "OCRBench",
                "task": "ocr",
                "score": 88.1,
                "source": published_assistants()["qwen3-vl-4b"].figures[0].source,
            }
        ]
        assert {"en", "zh"} == best["reason"].keys()

    def test_where_nothing_fits_it_says_so(self, capsys):
        assert run(["models", "recommend", "--task", "video", "--memory", "10 MB"]) == 0
        assert capsys.readouterr().out.startswith("No model of the catalogue fits.\nLeft out: ")

    @pytest.mark.parametrize(
        ("written", "size"),
        [("8GB", 8e9), ("8", 8e9), ("1.5 GiB", 1.5 * 2**30), ("900mb", 9e8), ("16 MiB", 2**24)],
    )
    def test_memory_is_read_with_its_unit(self, written, size):
        assert read_memory(written) == size

    @pytest.mark.parametrize("written", ["", "much", "-1", "0GB", "8 TB"])
    def test_what_is_no_size_is_refused(self, capsys, written):
        assert run(["models", "recommend", "--task", "ocr", "--memory", written]) == 2
        assert "is no size; expected a number above 0 with GB" in capsys.readouterr().err


def test_without_a_command_models_lists(capsys):
    assert run(["models"]) == 0
    alone = capsys.readouterr().out
    run(["models", "list"])
    assert capsys.readouterr().out == alone


def test_json_holds_every_fact_of_the_catalogue(capsys):
    assert run(["models", "show", "OpenAI/clip-vit-base-patch32", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    entry = published_models()["clip-b32"]
    assert shown["name"] == entry.repo
    assert {key: shown[key] for key in ("revision", "licence", "top1", "source", "megabytes")} == {
        "revision": entry.revision,
        "licence": entry.licence,
        "top1": 63.3,
        "source": entry.source,
        "megabytes": 605,
    }


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["licence of the weights", "48.3% (zh)", "188 million"]),
        ("zh", ["权重许可", "1.88 亿"]),
    ],
)
def test_one_model_is_shown_in_the_users_language(capsys, monkeypatch, language, words):
    monkeypatch.setenv("SEESAY_LANG", language)
    assert run(["models", "show", "chinese-clip-b16"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in [*words, "OFA-Sys/chinese-clip-vit-base-patch16"])


def test_a_model_that_is_here_is_shown_with_its_folder(server, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    server.repos["openai/clip-vit-base-patch32"] = dict(FILES)
    run(["models", "show", "clip-b32", "--json"])
    assert json.loads(capsys.readouterr().out)["folder"] is None
    folder = locate("clip-b32").folder
    run(["models", "show", "clip-b32"])
    assert str(folder) in capsys.readouterr().out


def test_an_unknown_model_is_one_line_with_the_nearest_name(capsys):
    assert run(["models", "show", "clip-b33"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Did you mean clip-b32" in shown.err
    assert shown.err.count("\n") == 1


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    assert run(["models", "downlaod", "clip-b32"]) == 2
    assert "did you mean 'download'" in capsys.readouterr().err


def test_a_download_says_where_the_model_is(server, capsys):
    assert run(["models", "download", "me/clip"]) == 0
    shown = capsys.readouterr()
    folder = locate("me/clip").folder
    assert shown.out == f"me/clip is in {folder}\n"
    assert shown.err == ""  # no bar where nobody looks


def test_a_download_as_json(server, capsys):
    assert run(["models", "download", "me/clip", "--revision", COMMIT, "--json"]) == 0
    folder = str(locate("me/clip").folder)
    expected = {"name": "me/clip", "folder": folder, "revision": COMMIT}
    assert json.loads(capsys.readouterr().out) == expected


def test_from_modelscope_no_foreign_bar_is_drawn(server, capsys, monkeypatch, tmp_path):
    pytest.importorskip("modelscope_hub", reason="needs the extra modelscope")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "home"))
    assert run(["models", "download", "me/clip", "--hub", "modelscope"]) == 0
    shown = capsys.readouterr()
    assert (tmp_path / "modelscope").as_posix() in shown.out
    assert shown.err == ""


def test_a_copy_holds_files_of_its_own(server, capsys, tmp_path):
    assert run(["models", "download", "me/clip", "--to", str(tmp_path / "deep" / "copy")]) == 0
    copy = tmp_path / "deep" / "copy"
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == FILES
    assert not any(path.is_symlink() for path in copy.iterdir())
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]
    assert capsys.readouterr().out == f"me/clip is in {copy}\n"


def test_a_copy_of_a_model_in_two_halves_is_found_as_one(server, capsys, tmp_path):
    taiyi = published_models()["taiyi-clip-b32"]
    server.repos[taiyi.repo] = {"config.json": b"{}", "pytorch_model.bin": b"w", "vocab.txt": b"a"}
    server.repos[published_models()["clip-b32"].repo] = dict(FILES)
    copy = tmp_path / "taiyi"
    assert run(["models", "download", "taiyi-clip-b32", "--to", str(copy)]) == 0
    found = locate(str(copy))
    assert (found.folder / "vocab.txt").read_bytes() == b"a"
    assert (found.image_folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_folder_that_is_there_is_not_written_into(server, capsys, tmp_path):
    assert run(["models", "download", "me/clip", "--to", str(tmp_path)]) == 2
    assert f"--to {tmp_path} is there already" in capsys.readouterr().err
    assert server.requests == []


def test_a_copy_that_cannot_be_written_says_where_the_model_is(server, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert run(["models", "download", "me/clip", "--to", str(tmp_path / "file" / "copy")]) == 2
    assert f"The model itself is in {locate('me/clip').folder}" in capsys.readouterr().err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_failed_download_is_one_line_and_code_2(server, capsys, as_json):
    server.faults["model.safetensors"] = "short"
    arguments = ["models", "download", "me/clip", *(["--json"] if as_json else [])]
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    if as_json:
        assert json.loads(shown.err)["error"]["type"] == "DownloadError"
    else:
        assert shown.err.startswith("seesay: ")


def test_on_a_terminal_a_bar_grows(server, monkeypatch):
    from rich.console import Console

    screen = io.StringIO()
    drawn = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr("seesay.cli.output.console", lambda **options: drawn)
    run(["models", "download", "me/clip"])
    assert "2.0/2.0 MB" in screen.getvalue()


def test_listing_models_imports_neither_torch_nor_a_hub():
    code = (
        "import sys; from seesay.cli.main import run; run(['models', 'list']);"
        "sys.exit(', '.join({'torch', 'huggingface_hub', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("language", "words"), [("en", "No model of the"), ("zh", "没有这样的模型")]
)
def test_filters_that_no_model_meets_are_told(capsys, monkeypatch, language, words):
    monkeypatch.setenv("SEESAY_LANG", language)
    assert run(["models", "--language", "zh", "--kind", "captioner"]) == 0  # as of `models list`
    (line,) = capsys.readouterr().out.splitlines()
    assert words in line and "--kind" in line


def test_names_are_not_cut_where_chinese_lists_of_them_are_folded(capsys, monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", "zh")
    monkeypatch.setenv("COLUMNS", "60")
    assert run(["models", "recommend", "-t", "ocr", "--memory", "1GB"]) == 0
    folded = capsys.readouterr().out
    assert all(entry.alias in folded for entry in published_assistants().values())
    assert max(map(columns, folded.splitlines())) <= 60


@pytest.mark.parametrize("option", ["--count", "--tokens"])
def test_numbers_that_leave_nothing_are_refused(capsys, option):
    assert run(["models", "recommend", "-t", "ocr", option, "0"]) == 2
    assert option in capsys.readouterr().err
