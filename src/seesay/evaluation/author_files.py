"""The JSON of the authors of an evaluation set -> samples."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from seesay.data.formats.records import find_files
from seesay.data.tables import JSON_LINES, Table
from seesay.errors import DataError
from seesay.evaluation.samples import LeftOut, Picture, Row, Sample
from seesay.evaluation.sets import DataConfig, Loaded, read_row
from seesay.text import Text


def pope(config: DataConfig) -> Loaded:
    """Lines of question_id, image, text and label; the name of the file ends in the category. Each
    of the three files numbers its questions from 1."""
    rows = []
    for file in find_files(config.data, [JSON_LINES, ".json"]):
        table = Table(file, f"{file.stem}{JSON_LINES}")
        category = {"category": file.stem.rpartition("_")[2]}
        found = [category | row for _, row in table]
        for key in ("text", "label", "image"):
            _require_key(file, found, key)
        rows += [row | {"key": f"{row['category']}/{row.get('question_id')}"} for row in found]
        rows += [{"unusable": why} for _, why in table.unusable]
    return _from_rows(config, rows, lambda row: row["image"])


def vqav2(config: DataConfig) -> Loaded:
    """A file of questions, and one of answers; pictures are named after the split of COCO."""
    [file] = find_files(config.data, [".json"])[:1]
    [answers] = find_files(config.annotations or config.data, [".json"])[:1]
    questions, told = _read(file), _read(answers)
    asked = _entries(file, questions, "questions")
    by_id = {one.get("question_id"): one for one in _entries(answers, told, "annotations")}
    rows = [{**by_id.get(one.get("question_id"), {}), **one} for one in asked]
    split = str(questions.get("data_subtype", "val2014"))
    return _from_rows(config, rows, lambda row: f"COCO_{split}_{int(row['image_id']):012}.jpg")


def textvqa(config: DataConfig) -> Loaded:
    [file] = find_files(config.data, [".json"])[:1]
    rows = _entries(file, _read(file), "data")
    return _from_rows(config, rows, lambda row: f"{row['image_id']}.jpg")


def docvqa(config: DataConfig) -> Loaded:
    """DocVQA and InfographicVQA."""
    [file] = find_files(config.data, [".json"])[:1]
    rows = _entries(file, _read(file), "data")
    return _from_rows(config, rows, lambda row: row.get("image") or row["image_local_name"])


def chartqa(config: DataConfig) -> Loaded:
    """A list of imgname, query and label in each file, whose name ends in human or augmented."""
    rows = []
    for file in find_files(config.data, [".json"]):
        found = _entries(file, {"rows": _read(file)}, "rows")
        rows += [{"split": file.stem.rpartition("_")[2]} | row for row in found]
    return _from_rows(config, rows, lambda row: row["imgname"])


def gqa(config: DataConfig) -> Loaded:
    """Questions by their number, and by the same numbers the answers that would be valid and
    plausible. Consistency needs the file with all questions, not the balanced ones alone."""
    [file] = find_files(config.data, [".json"])[:1]
    questions = _by_number(file)
    choices = _by_number(Path(config.annotations).expanduser()) if config.annotations else {}
    rows = [{**one, "key": number} for number, one in questions.items()]
    loaded = _from_rows(config, rows, lambda row: f"{row['imageId']}.jpg")

    def samples() -> Iterator[Sample | LeftOut]:
        for number, one in zip(questions, loaded.samples, strict=True):
            if isinstance(one, LeftOut):
                yield one
                continue
            groups = _gqa_groups(number, questions[number], choices.get(number))
            yield replace(one, truth=replace(one.truth, groups=groups))

    return Loaded(loaded.total, samples())


def _by_number(file: Path) -> dict[str, dict[str, Any]]:
    found = _read(file)
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise _not_published(file, Text("no questions by number", "没有按编号存放的问题"))
    return found


def _gqa_groups(number: str, question: Row, choices: Row | None) -> dict[str, str]:
    """What the scorer of GQA gathers by; several values with commas."""
    types, groups = question.get("types") or {}, question.get("groups") or {}
    found = {
        "id": number,
        "structural": types.get("structural"),
        "semantic": types.get("semantic"),
        "global": groups.get("global"),
        "entailed": ",".join(map(str, question.get("entailed") or ())),
        "unbalanced": "" if question.get("isBalanced", True) else "1",
    }
    if choices is not None:
        # The authors' code takes these for every question about what two things have in common.
        common = "Common" in str(types.get("detailed", ""))
        for name in ("valid", "plausible"):
            words = ("color", "material", "shape") if common else choices.get(name) or ()
            found[name] = ",".join(map(str, words))
    return {name: str(one) for name, one in found.items() if one}


def coco(config: DataConfig) -> Loaded:
    """The captions of each picture, and the names of the objects that are labelled in it."""
    [file] = find_files(config.data, [".json"])[:1]
    content = _read(file)
    captions: dict[Any, list[str]] = {}
    for one in _entries(file, content, "annotations"):
        captions.setdefault(one.get("image_id"), []).append(str(one.get("caption", "")).strip())
    objects = _coco_objects(config.annotations)
    rows = [
        {
            "key": str(one.get("id")),
            "image": one.get("file_name"),
            "captions": captions.get(one.get("id")),
            "objects": objects.get(one.get("id"), ()),
        }
        for one in _entries(file, content, "images")
    ]
    loaded = _from_rows(config, rows, lambda row: row["image"])

    def samples() -> Iterator[Sample | LeftOut]:
        for row, one in zip(rows, loaded.samples, strict=True):
            if isinstance(one, Sample) and row["objects"]:
                groups = {"objects": ",".join(dict.fromkeys(row["objects"]))}
                one = replace(one, truth=replace(one.truth, groups=groups))
            yield one

    return Loaded(loaded.total, samples())


def _coco_objects(annotations: str | None) -> dict[Any, list[str]]:
    if annotations is None:
        return {}
    file = Path(annotations).expanduser()
    content = _read(file)
    names = {one.get("id"): str(one.get("name")) for one in _entries(file, content, "categories")}
    objects: dict[Any, list[str]] = {}
    for one in _entries(file, content, "annotations"):
        if one.get("category_id") in names:
            objects.setdefault(one.get("image_id"), []).append(names[one["category_id"]])
    return objects


def _from_rows(config: DataConfig, rows: list[Any], name: Callable[[Row], str]) -> Loaded:
    def pictures(row: Row) -> tuple[Picture, ...]:
        if "unusable" in row:
            raise DataError(Text.of(row["unusable"]))
        try:
            return (config.picture(name(row)),)
        except (KeyError, TypeError) as error:
            raise DataError(
                Text(
                    f"it names no picture ({error}), expected one: add it, or remove the row",
                    f"没有写明图片（{error}）；应有一张；请补上，或删除这一行",
                )
            ) from None

    samples = (read_row(row, config, f"row {at}", pictures) for at, row in enumerate(rows, 1))
    return Loaded(len(rows), samples)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise _not_published(file, Text.of(error)) from None


def _entries(file: Path, value: Any, name: str) -> list[dict[str, Any]]:
    """The list of objects of this name. Raises DataError if there is none."""
    rows = value.get(name) if isinstance(value, dict) else None
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise _not_published(file, Text(f"no list of {name}", f"没有列表 {name}"))
    return rows


def _require_key(file: Path, rows: list[dict[str, Any]], name: str) -> None:
    if not any(name in row for row in rows):
        raise _not_published(file, Text(f"no {name} in any line", f"所有行都没有 {name}"))


def _not_published(file: Path, reason: Text) -> DataError:
    return DataError(
        Text(
            f"{file} is not in its authors' format: {reason.en}; expected their JSON: choose the "
            "right loader, or download the file again",
            f"{file} 与作者发布的格式不同：{reason.zh}；应为其 JSON；请换 loader，或重新下载",
        )
    )
