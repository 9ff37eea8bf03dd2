"""The container file and the systemd unit name what there is: commands, options, extras, files."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest

from markdown_pages import ROOT
from seesay.search.places import home
from test_docs import check_seesay

CONTAINER = ROOT / "Containerfile"
UNIT = ROOT / "examples" / "seesay.service"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def steps() -> list[tuple[str, str]]:
    """Each instruction with what stands behind it, lines that go on joined."""
    text = re.sub(r"^#.*\n", "", CONTAINER.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def only(instruction: str) -> str:
    (rest,) = (rest for name, rest in steps() if name == instruction)
    return rest


def settings() -> dict[str, str]:
    words = " ".join(rest for name, rest in steps() if name == "ENV").split()
    return dict(word.split("=", 1) for word in words)


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_what_the_container_copies_is_there():
    copied = [word for name, rest in steps() if name == "COPY" for word in rest.split()[:-1]]
    assert {"pyproject.toml", "constraints.txt", "src"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    # Building the package reads these.
    assert {PROJECT["readme"], *PROJECT["license-files"]} <= set(copied)


def test_the_container_installs_extras_that_exist_in_the_pinned_versions():
    installs = re.findall(r"pip install ([^&]*)", only("RUN"))
    assert installs and all("-c constraints.txt" in one for one in installs)
    extras = re.search(r"\.\[([\w,]+)\]", only("RUN"))[1].split(",")
    assert sorted(extras) == ["search", "serve"]
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    base = re.fullmatch(r"python:(\d+)\.(\d+)-slim", only("FROM"))
    lowest = re.search(r"(\d+)\.(\d+)", PROJECT["requires-python"])
    assert (int(base[1]), int(base[2])) >= (int(lowest[1]), int(lowest[2]))


def test_the_command_of_the_container_is_one_of_ours():
    words = json.loads(only("ENTRYPOINT")) + json.loads(only("CMD"))
    assert words[:2] == ["seesay", "serve"] and "--token" not in words
    check_seesay(words[1:])
    assert words[words.index("--port") + 1] == only("EXPOSE")


def test_the_container_runs_as_nobody_special_and_keeps_its_data_in_a_volume(monkeypatch):
    assert only("USER") != "root" and f"useradd --create-home --uid 1000 {only('USER')}" in only(
        "RUN"
    )
    monkeypatch.setenv("SEESAY_HOME", settings()["SEESAY_HOME"])
    assert str(home()) == only("VOLUME")
    assert settings()["HF_HOME"].startswith(only("VOLUME") + "/")


def test_the_health_check_is_a_program_that_asks_for_health():
    options, _, command = only("HEALTHCHECK").partition("CMD ")
    assert "--start-period" in options
    program, _, code = json.loads(command)
    assert program == "python"
    ast.parse(code)
    assert f":{only('EXPOSE')}/health" in code


def test_examples_in_the_comments_are_commands_that_exist():
    for file in (CONTAINER, UNIT):
        for words in re.findall(r"(?:seesay|bin/seesay) ((?:index|serve) .*)", file.read_text()):
            check_seesay(shlex.split(words))


def test_the_unit_starts_a_command_that_exists():
    (command,) = unit()["ExecStart"]
    program, *words = shlex.split(command)
    assert program.endswith("/bin/seesay") and words[0] == "serve" and "--token" not in words
    check_seesay(words)
    (state,) = unit()["StateDirectory"]
    assert f"SEESAY_HOME=/var/lib/{state}" in unit()["Environment"][0].split()


def test_the_unit_is_closed_as_far_as_serving_allows():
    said = unit()
    assert said["NoNewPrivileges"] == ["yes"] and said["ProtectSystem"] == ["strict"]
    assert said["CapabilityBoundingSet"] == [""]
    assert "AF_INET" in said["RestrictAddressFamilies"][0].split()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path):
    # The program must exist for systemd, and need not be installed where this runs.
    text = UNIT.read_text().replace("/opt/seesay/bin/seesay", sys.executable)
    (tmp_path / "seesay.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "seesay.service"],
        capture_output=True,
        text=True,
    )
    assert "seesay.service" not in done.stderr, done.stderr
