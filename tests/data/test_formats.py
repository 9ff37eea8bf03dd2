"""One contract for every layout of files, and what each does with damage."""

import base64
import csv
import io
import json
import pickle
import tarfile

import pytest

from seesay.data.batches import number_of
from seesay.data.formats.records import Damaged, Record, captions_from, label_from
from seesay.data.formats.webdataset import members
from seesay.data.sources import RecordsConfig, open_records, read_classes, used_records
from seesay.errors import ConfigError, DataError, MissingExtraError
from seesay.text import detect_language
from seesay.training.run_log import DamageLog
from tiny_runs import write_squares


def write_webdataset(folder, rows, name="squares-000.tar", mode=tarfile.PAX_FORMAT):
    with tarfile.open(folder / name, "w", format=mode) as tar:
        for row in rows:
            key = row["image"].removesuffix(".png")
            texts = json.dumps({"en": row["en"], "zh": row["zh"]}).encode()
            add(tar, f"{key}.png", (folder / row["image"]).read_bytes())
            add(tar, f"{key}.json", texts)
            add(tar, f"{key}.cls", str(row["label"]).encode())
    return folder / name


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(content), 1.5  # what is not whole makes a pax header
    tar.addfile(info, io.BytesIO(content))


def write_table(folder, rows, name="squares.csv"):
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t" if name.endswith("tsv") else ",")
        table.writerow(["image", "caption", "label"])
        for row in rows:  # one caption per line, as Flickr30k and COCO are often given
            for text in [*row["en"], *row["zh"]]:
                table.writerow([row["image"], text, row["label"]])
    return folder / name


def write_parquet(folder, rows):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = [
        {**row, "image": (folder / row["image"]).read_bytes(), "key": row["image"]} for row in rows
    ]
    parquet.write_table(pyarrow.Table.from_pylist(table), folder / "a.parquet", row_group_size=5)
    return folder / "a.parquet"


def write_chinese_clip(folder, rows):
    texts = [text for row in rows for text in [*row["en"], *row["zh"]]]
    owners = [i for i, row in enumerate(rows) for _ in [*row["en"], *row["zh"]]]
    with (folder / "train_texts.jsonl").open("w", encoding="utf-8") as file:
        for number, (text, owner) in enumerate(zip(texts, owners, strict=True)):
            line = {"text_id": number, "text": text, "image_ids": [owner]}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    with (folder / "train_imgs.tsv").open("w") as file:
        for number, row in enumerate(rows):
            image = base64.b64encode((folder / row["image"]).read_bytes()).decode()
            file.write(f"{number}\t{image}\n")
    return folder / "train_imgs.tsv"


WRITERS = {
    "webdataset": write_webdataset,
    "webdataset-gnu": lambda folder, rows: write_webdataset(folder, rows, mode=tarfile.GNU_FORMAT),
    "table-csv": write_table,
    "table-tsv": lambda folder, rows: write_table(folder, rows, "squares.tsv"),
    "table-jsonl": lambda folder, rows: folder / "squares.jsonl",
    "parquet": write_parquet,
    "chinese-clip": write_chinese_clip,
}


@pytest.fixture(params=WRITERS)
def layout(request, tmp_path):
    rows = write_squares(tmp_path, copies=1)
    path = WRITERS[request.param](tmp_path, rows)
    form = request.param if request.param in ("parquet", "chinese-clip") else ""
    config = RecordsConfig(path=str(path), format=form or request.param.split("-")[0])
    return config, rows, tmp_path


def test_every_layout_gives_the_same_records_in_the_same_order(layout):
    config, rows, folder = layout
    source = open_records(config)
    assert len(source) == len(rows) == 16
    assert not source.damaged
    keys = set()
    for index, row in enumerate(rows):
        record = source[index]
        image = record.image if isinstance(record.image, bytes) else record.image.read_bytes()
        assert image == (folder / row["image"]).read_bytes()
        assert record.captions == {"en": tuple(row["en"]), "zh": tuple(row["zh"])}
        assert record.label == (None if config.format == "chinese-clip" else row["label"])
        keys.add(record.key)
    assert len(keys) == 16


def test_every_layout_travels_to_a_worker_and_counts_its_blocks(layout):
    config, rows, _ = layout
    source = open_records(config)
    assert source[3] == pickle.loads(pickle.dumps(source))[3]
    assert sum(source.blocks) in (0, len(rows))


@pytest.mark.parametrize("form", ["webdataset", "table", "parquet", "chinese-clip"])
def test_a_path_without_files_is_refused(form, tmp_path):
    with pytest.raises(DataError, match=r"names nothing, expected files that end in .*: correct"):
        open_records(RecordsConfig(path=str(tmp_path / "*.nothing"), format=form))


def test_a_path_that_is_nearly_right_is_refused_with_the_right_one(tmp_path):
    (tmp_path / "captions.jsonl").write_text("")
    with pytest.raises(DataError, match=r"did you mean .*/captions.jsonl\?"):
        open_records(RecordsConfig(path=str(tmp_path / "caption.jsonl"), format="table"))


def test_a_tar_file_cut_off_gives_the_samples_before_and_says_so(tmp_path):
    shard = write_webdataset(tmp_path, write_squares(tmp_path, copies=1))
    whole = open_records(RecordsConfig(path=str(shard)))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    cut = open_records(RecordsConfig(path=str(shard)))
    assert 4 < len(cut) < 12
    assert "ends " in cut.damaged[0].reason
    assert [cut[i].key for i in range(len(cut) - 1)] == [whole[i].key for i in range(len(cut) - 1)]


def test_a_damaged_tar_header_is_found_by_its_checksum(tmp_path):
    shard = write_webdataset(tmp_path, write_squares(tmp_path, copies=1))
    content = bytearray(shard.read_bytes())
    found = list(members(shard))
    content[found[9].start + 1024 + 3] ^= 1  # the name in the header after the pax records
    shard.write_bytes(content)
    source = open_records(RecordsConfig(path=str(shard)))
    assert "checksum" in source.damaged[0].reason
    assert len(source) == 3


def test_a_compressed_tar_file_is_refused_with_advice(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        add(tar, "a.jpg", b"x")
    source = open_records(RecordsConfig(path=str(tmp_path / "a.tar")))
    assert len(source) == 0
    assert "unpack" in source.damaged[0].reason


@pytest.mark.parametrize("mode", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_the_survey_agrees_with_tarfile(mode, tmp_path):
    names = ["a.jpg", "f/" * 40 + "b.jpg", "x" * 90 + ".jpg", "c.c.json"]
    names += [] if mode == tarfile.USTAR_FORMAT else ["长" * 60 + ".jpg", "y" * 300 + ".jpg"]
    with tarfile.open(tmp_path / "a.tar", "w", format=mode) as tar:
        for number, name in enumerate(names):
            add(tar, name, b"z" * (700 * number))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    found = list(members(tmp_path / "a.tar"))
    with tarfile.open(tmp_path / "a.tar") as tar:
        expected = [(m.name, m.offset) for m in tar if m.isfile()]
    assert [(m.name, m.start) for m in found] == expected


def test_a_sample_without_an_image_is_damaged_and_named(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "lost.txt", b"a dog")
    with pytest.raises(DataError, match=r"lost holds txt and no image"):
        open_records(RecordsConfig(path=str(tmp_path / "a.tar")))[0]


def test_webdataset_reads_plain_captions_and_those_of_a_language(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "README", b"hello")
        add(tar, "one.jpg", b"jpg")
        add(tar, "one.txt", "一只狗".encode())
        add(tar, "one.en.txt", b"a dog\nthe dog\n")
    record = open_records(RecordsConfig(path=str(tmp_path / "a.tar")))[0]
    assert record.captions == {"zh": ("一只狗",), "en": ("a dog", "the dog")}


def test_bad_lines_of_a_table_are_named_and_left_out(tmp_path):
    lines = [
        '{"image": "a.png", "en": "a"}',
        "{broken",
        '["list"]',
        '{"en": "no image"}',
        '{"image": "b.png", "label": "seven"}',
        '{"image": "c.png", "zh": "丙"}',
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = open_records(RecordsConfig(path=str(tmp_path / "t.jsonl"), format="table"))
    assert [source[i].key for i in range(len(source))] == ["a.png", "c.png"]
    assert [d.key for d in source.damaged] == [f"t.jsonl line {n}" for n in (2, 3, 4, 5)]


def test_columns_of_other_names_are_renamed_and_a_wrong_name_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("filepath,title\na.png,a dog\n", encoding="utf-8")
    columns = {"image": "filepath", "caption": "title"}
    config = RecordsConfig(path=str(tmp_path / "t.csv"), format="table", columns=columns)
    assert open_records(config)[0].captions == {"en": ("a dog",)}
    wrong = RecordsConfig(path=config.path, format="table", columns={"image": "filepth"})
    with pytest.raises(DataError, match="did you mean 'filepath'"):
        open_records(wrong)


def test_parquet_reads_what_hugging_face_writes(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"image": {"bytes": b"x", "path": None}}, {"image": {"bytes": None, "path": "b.png"}}]
    rows += [{"image": {"bytes": None, "path": None}}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    source = open_records(RecordsConfig(path=str(tmp_path / "a.parquet"), format="parquet"))
    assert source[0].image == b"x"
    assert source[1].image == tmp_path / "b.png"
    with pytest.raises(DataError, match="a/0/2: the image is"):
        source[2]


def test_parquet_without_pyarrow_names_the_command_to_install_it(tmp_path, monkeypatch):
    import sys

    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'seesay\[train\]'"):
        open_records(RecordsConfig(path=str(tmp_path / "a.parquet"), format="parquet"))


def test_chinese_clip_counts_what_has_no_partner_and_reads_both_alphabets(tmp_path):
    content = bytes(range(250, 256)) * 3  # encodes to + and /
    texts = [{"text_id": 1, "text": "狗", "image_ids": [7, 8, 99]}, {"text_id": 2}]
    lines = "\n".join(json.dumps(text) for text in texts)
    (tmp_path / "a_texts.jsonl").write_text(lines)
    safe, plain = base64.urlsafe_b64encode(content), base64.b64encode(content)
    assert safe != plain
    rows = [b"7\t" + safe, b"8\t" + plain, b"5\t" + plain, b""]
    (tmp_path / "a_imgs.tsv").write_bytes(b"\n".join(rows))
    source = open_records(RecordsConfig(path=str(tmp_path / "a_imgs.tsv"), format="chinese-clip"))
    assert [source[i].image for i in range(len(source))] == [content, content]
    assert [d.key for d in source.damaged] == ["a_texts.jsonl line 2", "a_imgs.tsv image 99"]


def test_chinese_clip_without_its_texts_is_refused(tmp_path):
    (tmp_path / "a_imgs.tsv").write_bytes(b"")
    with pytest.raises(DataError, match=r"a_texts\.jsonl"):
        open_records(RecordsConfig(path=str(tmp_path / "a_imgs.tsv"), format="chinese-clip"))


def test_a_caption_without_a_language_is_told_by_its_characters():
    assert detect_language("雪地里的狗 dog") == "zh"
    assert captions_from({"caption": ["a dog", "狗", " "], "en": "one", "text": None}) == {
        "en": ("a dog", "one"),
        "zh": ("狗",),
    }


class Records:
    """A source of so many records."""

    blocks = damaged = ()

    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        return Record(key=str(index), image=b"")


def test_start_and_stop_choose_records_and_none_is_refused():
    config = RecordsConfig(path="x", start=2, stop=4)
    assert list(used_records(config, Records(10))) == [2, 3]
    assert list(used_records(config, Records(3))) == [2]
    with pytest.raises(DataError, match="holds 2 records, none from start=2"):
        used_records(config, Records(2))
    with pytest.raises(ConfigError, match="start=4 and stop=4"):
        RecordsConfig(path="x", start=4, stop=4)


def test_templates_must_fit_the_languages_and_hold_a_place():
    with pytest.raises(ConfigError, match=r"templates names 'zh'"):
        RecordsConfig(path="x", languages=("en",), templates={"zh": ("{}",)})
    with pytest.raises(ConfigError, match="texts that hold"):
        RecordsConfig(path="x", templates={"en": ("a photo",)})


def test_class_names_must_be_a_list_with_both_languages(tmp_path):
    file = tmp_path / "classes.json"
    file.write_text('[{"en": "cat", "zh": "猫"}]', encoding="utf-8")
    assert read_classes(str(file)) == [{"en": "cat", "zh": "猫"}]
    file.write_text('[{"en": "cat"}]', encoding="utf-8")
    with pytest.raises(DataError, match="holds no class names"):
        read_classes(str(file))


@pytest.mark.shared
def test_the_real_shards_are_whole(shared):
    source = open_records(RecordsConfig(path=str(shared / "flickr8k-bilingual" / "dev-*.tar")))
    assert len(source) == 1000 and not source.damaged
    assert all(
        len(source[i].captions[language]) == 5 for i in (0, 999) for language in ("en", "zh")
    )


@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-16-le", "utf-8-sig", "big5"])
def test_a_table_in_any_encoding_that_index_reads_is_read(tmp_path, encoding):
    text = "image,caption\r\na.png,一隻狗在草地上\r\nb.png,A dog\r\n"
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    source = open_records(RecordsConfig(path=str(tmp_path / "t.csv"), format="table"))
    assert source[0].captions == {"zh": ("一隻狗在草地上",)}
    assert (len(source), source.damaged) == (2, [])


def test_a_table_in_no_such_encoding_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(
        "image,caption\na.png,über Öl, schöne Mädchen\n".encode("cp1252")
    )
    with pytest.raises(
        DataError, match=r"t\.csv: its bytes are no text in UTF-8.* Save it as UTF-8"
    ):
        open_records(RecordsConfig(path=str(tmp_path / "t.csv"), format="table"))


def test_what_one_line_of_a_table_holds_costs_no_other(tmp_path):
    long = "x" * 200_000
    text = (
        f'image,caption,label\na.png,"{long}",1\nb.png\nc.png,"open,2\nd.png,狗\0,3\ne.png,e,inf\n'
    )
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    source = open_records(RecordsConfig(path=str(tmp_path / "t.csv"), format="table"))
    found = {record.key: record.captions for record in map(source.__getitem__, range(len(source)))}
    assert found == {
        "a.png": {"en": (long,)},
        "c.png": {"en": ('"open',)},
        "d.png": {"zh": ("狗",)},
    }
    assert [d.key for d in source.damaged] == ["t.csv line 3", "t.csv line 6"]


@pytest.mark.parametrize(
    ("label", "read"),
    [(3, 3), ("3", 3), (3.0, 3), (True, 1), (float("nan"), None), ("", None), (None, None)],
)
def test_labels_are_read_as_tables_have_them(label, read):
    assert label_from({"label": label}) == read


@pytest.mark.parametrize("label", [3.5, "three", 1e400, 10**30, "9" * 5000, [1], {"a": 1}])
def test_labels_that_are_no_number_of_a_class_are_refused(label):
    with pytest.raises(DataError, match="is no number of a class, expected"):
        label_from({"label": label})


def test_captions_of_wrong_types_are_left_out():
    fields = {"caption": 5, "en": {"a": "b"}, "text": ["x", 1, None, ["y"]], "zh": "\ud83d狗\0"}
    assert captions_from(fields) == {"en": ("x",), "zh": ("\ufffd狗",)}


def test_files_that_macos_puts_beside_others_are_no_samples(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("one.jpg", "one.txt", "two.jpg", "two.txt"):
            add(tar, f"._{name}", b"\0\5\x16\7")
            add(tar, name, f"{name} 一只狗".encode("gbk"))
            add(tar, f"__MACOSX/._{name}", b"\0\5\x16\7")
    source = open_records(RecordsConfig(path=str(tmp_path / "a.tar")))
    assert [source[i].key for i in range(len(source))] == ["one", "two"]
    assert source[1].captions == {"zh": ("two.txt 一只狗",)}


def test_a_name_in_a_tar_that_is_no_text_can_be_drawn(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "\udcff\udcfe.jpg", b"jpg")
    source = open_records(RecordsConfig(path=str(tmp_path / "a.tar")))
    assert number_of(source[0].key) != number_of("other")
    DamageLog(tmp_path / "damaged.jsonl").add([Damaged(source[0].key, "no caption")])
    assert len(DamageLog(tmp_path / "damaged.jsonl")) == 1


@pytest.mark.parametrize("record", [b"0 path=a", b"-5 path=a", b"x", b"\xff" * 9])
def test_damaged_headers_of_a_tar_end_its_survey_and_nothing_else(tmp_path, record):
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = b"x", len(record)
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(pax.tobuf() + record.ljust(512, b"\0"))
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        add(tar, "one.jpg", b"jpg")
    with (tmp_path / "a.tar").open("ab") as file:
        file.write((tmp_path / "b.tar").read_bytes())
    assert len(open_records(RecordsConfig(path=str(tmp_path / "a.tar")))) == 1


def test_a_name_of_a_picture_is_the_same_in_either_spelling(tmp_path):
    composed, apart = "caf\u00e9.png", "cafe\u0301.png"
    write_squares(tmp_path, copies=1)
    (tmp_path / apart).write_bytes(next(tmp_path.glob("*.png")).read_bytes())
    (tmp_path / "t.csv").write_text(f"image,caption\n{composed},one\n{apart},two\n")
    source = open_records(RecordsConfig(path=str(tmp_path / "t.csv"), format="table"))
    assert len(source) == 1 and source[0].captions == {"en": ("one", "two")}
    assert source[0].image.is_file()


def test_parquet_reads_the_columns_it_uses_and_texts_that_are_damaged(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    damaged = pyarrow.array([b"a dog", b"\xff dog"]).cast(pyarrow.string(), safe=False)
    beyond = pyarrow.array([2**62, 1], pyarrow.timestamp("ns"))
    columns = {"image": [b"x", b"y"], "caption": damaged, "when": beyond}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    source = open_records(RecordsConfig(path=str(tmp_path / "a.parquet"), format="parquet"))
    assert [source[i].captions["en"] for i in (0, 1)] == [("a dog",), ("\ufffd dog",)]


def test_chinese_clip_reads_other_encodings_and_counts_wrong_types(tmp_path):
    texts = [
        {"text": "一只狗在草地上", "image_ids": [7]},
        {"text": 5, "image_ids": [7]},
        {"text": "x", "image_ids": "7"},
        {"text": "x", "image_ids": 7},
    ]
    lines = "\n".join(json.dumps(text, ensure_ascii=False) for text in texts)
    (tmp_path / "a_texts.jsonl").write_bytes(lines.encode("gbk"))
    (tmp_path / "a_imgs.tsv").write_bytes(b"7\t" + base64.b64encode(b"jpg") + b"\n\xff\tx\n")
    source = open_records(RecordsConfig(path=str(tmp_path / "a_imgs.tsv"), format="chinese-clip"))
    assert source[0].captions == {"zh": ("一只狗在草地上",)}
    assert [d.key for d in source.damaged] == [f"a_texts.jsonl line {n}" for n in (2, 3, 4)]
