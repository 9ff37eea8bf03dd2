"""Samples go to the toolkits and come back the same; what no toolkit could learn from is named."""

import json
from pathlib import Path

import pytest
from PIL import Image

from conversation_samples import BAD, LLAVA, talk, write_samples
from seesay.data.conversations.conversation import Turn
from seesay.data.conversations.converting import ConvertConfig, check, convert, records_config
from seesay.data.conversations.files import Row, read_rows
from seesay.data.conversations.layouts import TARGETS
from seesay.data.conversations.records import AskingStyle
from seesay.data.conversations.rows import conversation_from
from seesay.data.sources import open_records
from seesay.errors import ConfigError, DataError

CONFORMANCE = Path(__file__).parent / "conformance"
SAVED = sorted(CONFORMANCE.glob("*.json"))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("data") / "samples")


def converted(path, out, target, **settings):
    return convert(ConvertConfig(records=records_config(str(path)), target=target, **settings), out)


def conversations(folder):
    """What a folder holds, whatever the toolkit; pictures by their content."""
    found = []
    for file in sorted({*folder.glob("*.json*")} - {folder / "dataset_info.json"}, reverse=True):
        for row in read_rows(file):
            assert isinstance(row, Row)
            one = conversation_from(row.value, "", folder)
            media = [file.read_bytes() for file in (*one.images, *one.videos)]
            found.append((one.turns, media, len(one.images), one.system, one.rejected))
    return sorted(found, key=lambda one: one[0][0].text)


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("target", [name for name in TARGETS if name != "seesay"])
def test_samples_come_back_the_same(samples, tmp_path, target, copy):
    first = converted(samples, tmp_path / "first", "llava")
    assert (first.samples, first.good, first.bad) == (len(LLAVA), len(LLAVA) - BAD, BAD)
    there = converted(tmp_path / "first" / "train.json", tmp_path / "there", target, copy=copy)
    assert not there.bad and not there.placed and not there.unread
    path = {"ms-swift": "*.jsonl", "llava": "train.json"}.get(target, "dataset_info.json")
    back = converted(tmp_path / "there" / path, tmp_path / "back", "llava")
    assert back.good == first.good
    assert (back.placeholders, back.images, back.videos) == (7, 6, 1)
    assert conversations(tmp_path / "back") == conversations(tmp_path / "first")
    assert conversations(tmp_path / "there") == conversations(tmp_path / "first")


def test_each_bad_sample_has_one_line_with_its_place(samples):
    report = check(ConvertConfig(records=records_config(str(samples))))
    lines = samples.read_text("utf-8-sig").splitlines()
    reasons = {
        "none": "none.png is missing",
        "few": "1 <image> and 2 pictures, expected as many of each",
        "torn": "torn.png is not a picture that Pillow can read",
        "silent": "the roles of the turns are user, expected user and assistant in turn",
    }
    assert len(report.problems) == BAD
    for problem, (name, reason) in zip(report.problems, reasons.items(), strict=True):
        line = lines.index(f'  "id": "{name}",')  # the brace is on the line before, counted from 1
        assert f"llava.json line {line}: " in problem.en
        assert reason in problem.en
        assert f"llava.json line {line}: " in problem.zh
        assert "\n" not in problem.en


@pytest.mark.parametrize("file", SAVED, ids=lambda file: file.stem)
def test_a_toolkit_read_what_is_written(samples, tmp_path, file):
    """The toolkit's own loader read these very files, and this is what arrived; see
    benchmarks/peers/finetuning_loaders.py."""
    saved = json.loads(file.read_text("utf-8"))
    converted(samples, tmp_path / "out", file.stem, copy=True)
    texts = {
        one.name: one.read_text("utf-8") for one in (tmp_path / "out").iterdir() if one.is_file()
    }
    clip = texts["train.jsonl"].split('"videos/')[1].split('"')[0]
    loaded = saved["files"]["train.jsonl"].split('"videos/')[1].split('"')[0]
    texts = {name: text.replace(clip, loaded) for name, text in texts.items()}
    assert texts == saved["files"]
    for name, data in (("sft.yaml", "train.jsonl"), ("dpo.yaml", "preferences.jsonl")):
        (tmp_path / data).write_text(saved["files"][data], "utf-8")
        rows = [row.value for row in read_rows(tmp_path / data)]
        assert len(saved["arrived"][name]) == len(rows)
        for row, arrived in zip(rows, saved["arrived"][name], strict=True):
            one = conversation_from(row, "", tmp_path)
            assert arrived["images"] == arrived["image_tokens"] == len(one.images)
            assert arrived["video_tokens"] == bool(one.videos)
            last = Turn("assistant", one.rejected or "")
            for turns, text in zip(
                (one.turns, (*one.turns[:-1], last)), arrived["texts"], strict=False
            ):
                assert in_order([one.system, *(turn.text for turn in turns)], text)
            assert len(arrived["texts"]) == 1 + (one.rejected is not None)


def in_order(texts, whole):
    """Whether a text holds others one after another; a placeholder of ours stands for theirs."""
    at = 0
    for text in texts:
        for part in text.replace("<video>", "<image>").split("<image>"):
            found = whole.find(part, at)
            if found < 0:
                return False
            at = found + len(part)
    return True


def test_all_toolkits_were_asked():
    assert {file.stem for file in SAVED} == {*TARGETS} - {"seesay", "llava"}


def picture(file, colour="red"):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(file)
    return file


@pytest.fixture
def table(tmp_path):
    """Two pictures of a table of ours, with questions in both languages and captions."""
    rows = [
        {"image": "a.png", "qa": [{"question": "What?", "answer": "Red."},
                                  {"question": "什么颜色？", "answer": "红色。"}]},
        {"image": "b.png", "en": ["A blue square."]},
    ]  # fmt: skip
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", "blue")
    file = tmp_path / "table.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return file


def questions(path):
    source = open_records(records_config(str(path)))
    records = [source[number] for number in range(len(source))]
    return {Path(one.image).read_bytes(): dict(one.questions) for one in records}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_questions_of_ours_come_back_as_training_reads_them(table, tmp_path, target, together):
    style = AskingStyle(together=together, requests={"en": ("Describe it.",)})
    report = converted(table, tmp_path / "there", target, style=style, copy=True)
    assert (report.good, report.bad) == (2 if together else 3, 0)
    path = {"llava": "train.json"}.get(target, "train.jsonl")
    converted(tmp_path / "there" / path, tmp_path / "back", "seesay")
    before, after = questions(table), questions(tmp_path / "back" / "train.jsonl")
    red, blue = ((table.parent / name).read_bytes() for name in ("a.png", "b.png"))
    assert after[red] == before[red]
    assert after[blue] == {"en": (("Describe it.", "A blue square.", ""),)}


def test_records_without_questions_are_counted(table, tmp_path):
    report = converted(table, tmp_path / "out", "ms-swift")
    assert (report.good, report.bad, report.unasked) == (2, 0, 1)
    table.write_text('{"image": "b.png", "en": "A blue square."}', "utf-8")
    with pytest.raises(DataError, match="no questions with answers"):
        converted(table, tmp_path / "none", "ms-swift")


def test_pictures_in_archives_are_written_once(tmp_path):
    import io
    import tarfile

    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for key in ("one", "two"):
            parts = {
                "png": picture(tmp_path / "a.png").read_bytes(),
                "json": json.dumps({"question": f"{key}?", "answer": "Yes."}).encode(),
            }
            for ending, content in parts.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    converted(tmp_path / "shard.tar", tmp_path / "out", "llama-factory")
    rows = [row.value for row in read_rows(tmp_path / "out" / "train.jsonl")]
    assert rows[0]["images"] == rows[1]["images"]
    assert len([*(tmp_path / "out" / "images").rglob("*.png")]) == 1
    assert (tmp_path / "out" / rows[0]["images"][0]).read_bytes() == parts["png"]


def test_the_first_rows_fill_the_columns_that_all_rows_have(tmp_path):
    picture(tmp_path / "a.png")
    rows = [swift("Hi", "Ho") for _ in range(9)] + [swift("<image>?", "!", images=["a.png"])]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    converted(tmp_path / "t.jsonl", tmp_path / "out", "ms-swift")
    rows = [row.value for row in read_rows(tmp_path / "out" / "train.jsonl")]
    assert {tuple(row) for row in rows} == {("messages", "images")}
    assert [len(row["images"]) for row in rows] == [0, 1] + [0] * 8


def read(row, folder=Path(".")):
    return conversation_from(row, "key", folder)


def swift(*texts, **more):
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return {"messages": messages, **more}


@pytest.mark.parametrize(
    "row, reason",
    [
        (swift("Hi", "Ho", tools=["t"]), "`tools`"),
        (swift("Hi", "Ho", label=False), "`label`"),
        (swift("Hi", "Ho", audios=["a.wav"]), "`audios`"),
        (swift("Hi", "Ho", images=["https://example.org/a.png"]), "expected a file"),
        (swift("Hi", "Ho", images=["data:image/png;base64,?"]), "base64"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role 'tool'"),
        ({"messages": "Hi"}, "expected a list"),
        ({"messages": [{"role": "user"}]}, "`role` and `content`"),
        ({"messages": [{"role": "user", "content": "Hi", "loss": False}]}, "`loss`"),
        (swift("Hi", "Ho", rejected_messages=swift("Hello", "Ho")["messages"]), "last answer"),
        (swift("Hi", "Ho", videos=[["a.png", "b.png"]]), "a video is list"),
    ],
)
def test_what_would_change_the_meaning_is_refused(row, reason):
    with pytest.raises(DataError, match=reason):
        read(row)


def test_every_spelling_of_a_sample_is_the_same_conversation(tmp_path):
    file = picture(tmp_path / "a.png")
    pair = {"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "No."}
    openai = [
        {"type": "image_url", "image_url": {"url": str(file)}},
        {"type": "text", "text": "What?"},
    ]
    rows = [
        {"messages": [*pair], "images": [str(file)], "rejected_response": "Yes."},
        {"messages": [*pair], "images": [{"path": str(file), "bytes": None}],
         "rejected_messages": [pair[0], {"role": "assistant", "content": "Yes."}]},
        {"messages": [{"role": "user", "content": openai}, pair[1]], "rejected_response": "Yes."},
        {"image": "a.png", "conversations": talk("<image>What?", "No."), "rejected": "Yes."},
        {"images": ["a.png"], "conversations": talk("<image>What?"),
         "chosen": {"from": "gpt", "value": "No."}, "rejected": {"from": "gpt", "value": "Yes."}},
        {"instruction": "<image>What?", "input": "", "chosen": "No.", "rejected": "Yes.",
         "images": ["a.png"]},
        {"query": "<image>What?", "response": "No.", "image": "a.png",
         "rejected_response": "Yes."},
    ]  # fmt: skip
    read_all = {read(row, tmp_path) for row in rows}
    assert len(read_all) == 1
    one = read_all.pop()
    assert [turn.text for turn in one.turns] == ["<image>What?", "No."]
    assert (one.images, one.rejected) == ((file,), "Yes.")


def test_dataset_info_names_columns_and_roles(tmp_path):
    picture(tmp_path / "a.png")
    rows = [{"talk": [{"who": "me", "says": "<image>What?"}, {"who": "it", "says": "Red."}],
             "pics": ["a.png"], "other": 1}]  # fmt: skip
    (tmp_path / "data.json").write_text(json.dumps(rows), "utf-8")
    entry = {
        "file_name": "data.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk", "images": "pics"},
        "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "me", "assistant_tag": "it"},
    }
    info = tmp_path / "dataset_info.json"
    info.write_text(json.dumps({"ours": entry, "far": {"hf_hub_url": "x/y"}}), "utf-8")
    report = converted(info, tmp_path / "out", "seesay")
    assert (report.good, report.bad) == (1, 1)
    assert "'far' names no file" in report.problems[0].en
    (found,) = questions(tmp_path / "out" / "train.jsonl").values()
    assert found == {"en": (("What?", "Red.", ""),)}


def test_missing_placeholders_stand_before_the_first_question(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "t.jsonl").write_text(json.dumps(swift("What?", "Red.", images=["a.png"])), "utf-8")
    report = converted(tmp_path / "t.jsonl", tmp_path / "out", "llama-factory")
    assert (report.placed, report.placeholders) == (1, 1)
    row = next(read_rows(tmp_path / "out" / "train.jsonl")).value
    assert row["conversations"][0]["value"] == "<image>What?"


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_a_list_is_read_in_pieces_up_to_where_it_breaks(tmp_path, monkeypatch, block):
    monkeypatch.setattr("seesay.data.conversations.files._BLOCK", block)
    file = tmp_path / "torn.json"
    file.write_bytes('[{"a": "一"},\r\n 7,\r\n{"b": [1,\r\n2]},\r\n{"c": '.encode("utf-16"))
    first, second, third, torn = read_rows(file)
    assert (first.value, third.value) == ({"a": "一"}, {"b": [1, 2]})
    assert (first.place, third.place) == (f"{file} line 1", f"{file} line 3")
    assert "line 2 is not a sample (it is int" in str(second)
    assert "line 5 is not a sample" in str(torn)


def test_json_lines_end_with_their_lines_alone(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_bytes('{"a": "one\u2028two\x85"}\r\n\r\n{"b"\r\n{"c": 1}'.encode())
    first, damaged, last = read_rows(file)
    assert (first.value, last.value) == ({"a": "one\u2028two\x85"}, {"c": 1})
    assert "line 3 is not a sample" in str(damaged) and last.place.endswith("line 4")


def test_an_unfinished_list_is_named(tmp_path):
    (tmp_path / "torn.json").write_text('[{"a": 1},\n', "utf-8")
    first, torn = read_rows(tmp_path / "torn.json")
    assert first.value == {"a": 1} and "line 2 is not a sample (the list is not closed)" in str(
        torn
    )


def test_nothing_is_left_where_nothing_can_be_converted(tmp_path):
    (tmp_path / "t.jsonl").write_text(json.dumps(swift("What?", "?", images=["a.png"])), "utf-8")
    with pytest.raises(DataError, match=r"no sample that can be converted.*a\.png is missing"):
        converted(tmp_path / "t.jsonl", tmp_path / "out", "llava")
    assert [file.name for file in tmp_path.iterdir()] == ["t.jsonl"]
    with pytest.raises(ConfigError, match="exists"):
        converted(tmp_path / "t.jsonl", tmp_path, "llava")
    with pytest.raises(ConfigError, match="template"):
        converted(tmp_path / "t.jsonl", tmp_path / "out", "llama-factory", model="acme/eye-7b")


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_rejected_answers_come_back(table, tmp_path, target, together):
    rows = [json.loads(line) for line in table.read_text("utf-8").splitlines()]
    rows[0]["qa"][0]["rejected"] = "Blue."
    table.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    style = AskingStyle(together=together)
    converted(table, tmp_path / "there", target, style=style, copy=True)
    files = [one for one in (tmp_path / "there").iterdir() if one.suffix.startswith(".json")]
    files = [one for one in files if one.name != "dataset_info.json"]
    for number, file in enumerate(files):
        converted(file, tmp_path / str(number), "seesay")
    back = [questions(tmp_path / str(number) / "train.jsonl") for number in range(len(files))]
    red = (table.parent / "a.png").read_bytes()
    asked = [pair for one in back for pairs in one[red].values() for pair in pairs]
    assert sorted(asked) == [("What?", "Red.", "Blue."), ("什么颜色？", "红色。", "")]
