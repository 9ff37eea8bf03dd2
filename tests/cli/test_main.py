"""The command itself: help, errors, exit codes, languages, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seesay import __version__
from seesay.cli.main import run
from seesay.cli.output import columns, wrap
from seesay.errors import WeightsError


@pytest.fixture(params=["en", "zh"])
def language(request, monkeypatch) -> str:
    monkeypatch.setenv("SEESAY_LANG", request.param)
    return request.param


def in_process(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Options are explained in the language that is set when the process starts."""
    code = "import sys; from seesay.cli.main import run; sys.exit(run(sys.argv[1:]))"
    environment = {**os.environ, "SEESAY_LANG": "en", "COLUMNS": "80", **variables}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("command", [[], ["classify"], ["models", "list"]])
def test_help_is_in_one_language_and_fits_80_columns(language, command):
    shown = in_process(*command, "--help", SEESAY_LANG=language)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert ("选项：" in shown.stdout) == (language == "zh")
    assert ("Show" in shown.stdout) == ("Options:" in shown.stdout) == (language == "en")
    assert max(columns(line) for line in shown.stdout.splitlines()) <= 80


def test_chinese_is_broken_between_any_two_characters_but_never_before_a_mark():
    assert wrap("一二三四五，六七", 10) == ["一二三四", "五，六七"]
    assert wrap("读取 images 里的图片", 10) == ["读取", "images 里", "的图片"]
    assert wrap("one two  three", 7) == ["one two", "three"]
    assert wrap("unbreakable word", 5) == ["unbreakable", "word"]
    assert wrap("", 10) == []


@given(st.text(alphabet="ab 中文，。（", max_size=60), st.integers(8, 30))
def test_wrapping_loses_nothing_but_spaces_at_the_breaks(text, width):
    lines = wrap(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(line == line.strip() for line in lines[1:])


def test_help_does_not_import_torch_nor_numpy():
    code = (
        "import sys; from seesay.cli.main import run; run(['--help']); run(['embed', '--help']);"
        "sys.exit(', '.join({'torch', 'numpy', 'PIL'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_command_the_help_is_shown(capsys):
    assert run([]) == 0
    assert "classify" in capsys.readouterr().out


def test_the_version_is_printed(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"seesay {__version__}\n"


def test_an_unknown_command_is_answered_with_the_nearest_name(capsys, language):
    assert run(["clasify", "x.jpg"]) == 2
    out, err = capsys.readouterr()
    asked = {"en": "did you mean 'classify'?", "zh": "是不是想用 'classify'？"}[language]
    assert asked in err
    assert (out, err.count("\n")) == ("", 1)


def test_a_command_like_no_other_is_answered_with_all_names(capsys, language):
    assert run(["xyz"]) == 2
    assert "embed, classify" in capsys.readouterr().err


def test_an_unknown_option_is_one_line_that_names_the_near_ones(capsys):
    assert run(["classify", "x.jpg", "--lables", "a"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--labels" in err and "seesay classify --help" in err
    assert err.startswith("seesay: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["classify", "x", "--top", "0"], "'--top' 的值不对：应不小于 1"),
        (["classify", "x", "--top", "two"], "'--top' 的值不对：应为整数"),
        (["models", "list", "-l", "fr"], "不是以下之一："),
        (["classify"], "缺少 'PATHS'，必须给出"),
        (["embed", "--txet", "a"], "没有选项 --txet；是不是想用 --text"),
        (["embed", "--text"], "选项 --text 后面要有一个值"),
        (["models", "show", "a", "b"], "多余的参数：b"),
        (["embed"], "没有要计算的内容"),
        (["classify", "x"], "没有给出类别"),
    ],
)
def test_wrong_use_is_told_in_chinese_without_english_words(arguments, said, capsys, monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", "zh")
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    for word in ("see ", "Invalid", "No such", "Missing", "Value", "requires", "unexpected"):
        assert word not in err


def test_what_the_library_raises_is_told_in_the_readers_language(capsys, language):
    assert run(["embed", "--text", "a", "--model", "no-such-model"]) == 1
    told = {"en": "there is no model 'no-such-model'", "zh": "没有模型 'no-such-model'"}
    assert told[language] in capsys.readouterr().err


def test_with_json_errors_are_json_too(capsys):
    assert run(["classify", "x.jpg", "--lables", "a", "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["type"] == "UsageError"
    assert run(["embed", "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["type"] == "ConfigError"
    assert "nothing to embed" in error["message"]


def test_an_error_of_many_lines_becomes_one(capsys, monkeypatch):
    def fail(*_, **__):
        raise WeightsError("it does not fit:\n  2 missing: a, b\n  \x1b[31m1 strange\n")

    monkeypatch.setattr("seesay.cli.inputs.load_embedder", fail)
    assert run(["embed", "--text", "a cat"]) == 2
    err = capsys.readouterr().err
    assert err == "seesay: it does not fit: 2 missing: a, b; \\x1b[31m1 strange\n"


def test_ctrl_c_is_said_and_leaves_with_130(capsys, monkeypatch, language):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("seesay.cli.inputs.load_embedder", stop)
    assert run(["embed", "--text", "a cat"]) == 130
    said = {"en": "seesay: stopped\n", "zh": "seesay: 已停止\n"}[language]
    assert capsys.readouterr().err == said


def test_a_real_ctrl_c_stops_the_process_without_a_traceback(tmp_path):
    pipe = tmp_path / "texts.txt"
    os.mkfifo(pipe)  # reading it waits for ever: the process is caught at work
    code = "from seesay.cli.main import main; main()"
    command = [sys.executable, "-c", code, "embed", "--texts-file", str(pipe)]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SEESAY_LANG": "en"},
        # What runs in the background has Ctrl-C switched off, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        with pipe.open("w"):  # returns when the other end is open
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "seesay: stopped\n"


@pytest.mark.parametrize(
    ("variables", "spoken"),
    [
        ({"SEESAY_LANG": "zh"}, "zh"),
        ({"SEESAY_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_ALL": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_is_the_one_asked_for_else_the_locale(monkeypatch, variables, spoken):
    from seesay.cli.output import language

    for name in ("SEESAY_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == spoken
