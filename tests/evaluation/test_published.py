"""Published evaluation files, written here in exactly their format, give the samples they hold."""

import json
from base64 import b64encode
from io import BytesIO

import pytest
from PIL import Image

from seesay.data.chat import Media
from seesay.errors import ConfigError, DataError
from seesay.evaluation.published import DataConfig, load_samples
from seesay.evaluation.samples import LeftOut, find_prompt, question_for


def picture(side: int = 24) -> bytes:
    stream = BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(stream, "PNG")  # longer than an index
    return stream.getvalue()


def coded(content: bytes) -> str:
    return b64encode(content).decode()


def write_tsv(file, head, *rows):
    """As pandas writes it: cells with tabs, quotes or line breaks are quoted."""

    def cell(value):
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in '\t"\n') else text

    lines = ["\t".join(map(cell, row)) for row in (head, *rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


def read(**settings):
    loaded = load_samples(DataConfig(**settings))
    samples = list(loaded.samples)
    assert loaded.total == len(samples)
    left_out = {one.key: one.reason.en for one in samples if isinstance(one, LeftOut)}
    return {one.key: one for one in samples if one.key not in left_out}, left_out


MMBENCH = ("index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image")


def test_multiple_choice_of_vlmevalkit(tmp_path):
    cat = picture()
    file = write_tsv(
        tmp_path / "MMBench_DEV_EN.tsv",
        MMBENCH,
        (1000005, "What is it?", None, "a dog", "a cat", None, None, "B", "identity", 5),
        (5, 'Who said "hi"?\nLook.', "A hint.", "a cat", "a dog", "nan", "", "A", "x", coded(cat)),
    )
    samples, left_out = read(data=file)
    assert not left_out and list(samples) == ["1000005", "5"]
    rotated, first = samples.values()
    assert rotated.images == first.images == (cat,)
    assert first.truth.question == 'Who said "hi"?\nLook.' and first.hint == "A hint."
    assert first.truth.options == {"A": "a cat", "B": "a dog"}
    assert first.truth.answers == ("A",) and rotated.truth.answers == ("B",)
    assert {one.truth.groups["question"] for one in samples.values()} == {"5"}
    assert first.truth.groups["category"] == "x"


def test_prompts_are_those_of_the_toolkits(tmp_path):
    file = write_tsv(
        tmp_path / "a.tsv",
        MMBENCH,
        (1, "What is it? ", "It purrs.", "a cat", "a dog", None, None, "A", "x", coded(picture())),
    )
    [sample] = read(data=file)[0].values()
    assert find_prompt("choice/vlmevalkit@2026-08-18").of(sample) == (
        "Hint: It purrs.\nQuestion: What is it? \nOptions:\nA. a cat\nB. a dog\n"
        "Please select the correct answer from the options above. \n"
    )
    assert find_prompt("choice/lmms-mmbench@2026-08-06").of(sample) == (
        "It purrs. What is it?  There are several options:\nA. a cat\nB. a dog\n\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert find_prompt("Q: {question}\n{options}\nA:").of(sample).endswith("a dog\nA:")
    with pytest.raises(ConfigError, match="there is no prompt 'choice/vlmevalkit'"):
        find_prompt("choice/vlmevalkit")


def test_several_pictures_stand_where_the_question_names_them(tmp_path):
    one, two, three = picture(), picture(), picture()
    cell = str([coded(one), coded(two), coded(three)])
    file = write_tsv(
        tmp_path / "MMMU_DEV_VAL.tsv",
        MMBENCH,
        ("v_1", "Is <image 2> like <image 1>?", None, "no", "yes", None, None, "B", "x", cell),
    )
    [sample] = read(data=file)[0].values()
    assert sample.images == (one, two, three)
    images, [message] = question_for(sample, sample.truth.question)
    assert images == (three, two, one)
    place = Media("image", (1,))
    assert message.parts == (place, "Is ", place, " like ", place, "?")


def test_a_broken_row_costs_only_itself(tmp_path):
    good, rows = coded(picture()), []
    rows.append((1, "a?", None, "x", "y", None, None, "A", "c", good[:-40] + "*" * 3))
    rows.append((2, "b?", None, "x", "y", None, None, "A", "c", 77))
    rows.append((3, "c?", None, "x", "y", None, None, None, "c", good))
    rows.append((4, "d?", None, "x", "y", None, None, "A", "c", None))
    rows.append((5, "e?", None, "x", "y", None, None, "A", "c", good))
    file = write_tsv(tmp_path / "a.tsv", MMBENCH, *rows)
    with open(file, "a", encoding="utf-8") as stream:
        stream.write("6\ttoo few cells\n")
    samples, left_out = read(data=file)
    assert list(samples) == ["5"]
    assert "no base64" in left_out["1"] and "row '77', which has none" in left_out["2"]
    assert "no right answer" in left_out["3"] and "no picture" in left_out["4"]
    assert "2 cells instead of 10" in left_out["line 7"]
    assert len(read(data=file, limit=5)[1]) == 4


def test_a_missing_column_is_named(tmp_path):
    file = write_tsv(tmp_path / "a.tsv", ("index", "query", "image"), (1, "a?", coded(picture())))
    with pytest.raises(DataError, match=r"index, query, image, and none for the answer"):
        read(data=file)
    file = write_tsv(tmp_path / "a.tsv", ("index", "question", "answer"), (1, "a?", "b"))
    with pytest.raises(DataError, match="none with pictures; expected image or image_path"):
        read(data=file)
    file = write_tsv(tmp_path / "a.tsv", ("i", "q", "answer", "image"), (1, "a?", "b", "x" * 68))
    with pytest.raises(DataError, match=r"columns\.question"):
        read(data=file)
    assert list(read(data=file, columns={"key": "i", "question": "q"})[0]) == ["1"]


def test_pictures_by_path_and_lists_of_answers(tmp_path):
    head = ("index", "image_path", "question", "answer", "category")
    file = write_tsv(
        tmp_path / "TextVQA_VAL.tsv",
        head,
        (1, "one.jpg", "a?", "['nous les gosses', 'none']", "x"),
        (2, '["one.jpg", "two.jpg"]', "b?", "12", "Handwritten"),
    )
    one, two = read(data=file, images="somewhere")[0].values()
    assert [str(image) for image in two.images] == ["somewhere/one.jpg", "somewhere/two.jpg"]
    assert one.truth.answers == ("nous les gosses", "none") and two.truth.answers == ("12",)


def test_what_scorers_gather_by(tmp_path):
    image = coded(picture())
    head = ("index", "question", "answer", "image", "category", "l2-category")
    row = ("VD_figure_0_3_1_2", "a?", "Yes", image, "VD", "figure")
    [sample] = read(data=write_tsv(tmp_path / "HallusionBench.tsv", head, row))[0].values()
    groups = sample.truth.groups
    assert [groups[name] for name in ("category", "set", "figure", "question")] == [
        *("figure", "3", "1", "2")
    ]
    head = ("index", "question", "answer", "image", "answer_type", "precision", "choices", "skills")
    rows = (
        (1, "a?", "[0, 2.0]", image, "list", None, None, "['geometry', 'algebra']"),
        (2, "b?", "1.20", image, "float", "2.0", None, "['geometry']"),
        (3, "c?", "two", image, "text", None, "['one', 'two']", "['geometry']"),
    )
    several, number, choice = read(data=write_tsv(tmp_path / "MathVista.tsv", head, *rows))[
        0
    ].values()
    assert several.truth.answers == ("[0, 2.0]",) and number.truth.precision == 2
    assert choice.truth.options == {"A": "one", "B": "two"} and choice.truth.answers == ("two",)
    assert several.truth.groups["skills"] == "['geometry', 'algebra']"


def write_parquet(file, rows):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return str(file)


def test_sets_of_hugging_face(tmp_path):
    image = {"bytes": picture(), "path": "1.png"}
    file = write_parquet(
        tmp_path / "test-00000-of-00001.parquet",
        [
            {"question_id": "1", "question": "Is it?", "answer": "yes", "image": image}
            | {"category": category}
            for category in ("random", "popular")
        ]
        + [{"question_id": "2", "question": "?", "answer": "no", "image": None, "category": "x"}],
    )
    samples, left_out = read(data=file, loader="parquet")
    assert list(samples) == ["1", "1#2"] and list(left_out) == ["test-00000-of-00001/2"]
    assert samples["1"].images == (image["bytes"],)
    assert samples["1#2"].truth.groups["category"] == "popular"
    with pytest.raises(DataError, match="none with pictures"):
        read(data=write_parquet(tmp_path / "b.parquet", [{"question": "a", "answer": "b"}]),
             loader="parquet")  # fmt: skip
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="expected a whole Parquet file"):
        read(data=str(tmp_path / "c.parquet"), loader="parquet")


def test_options_answers_and_pictures_of_hugging_face(tmp_path):
    image = {"bytes": picture(), "path": None}
    ai2d = write_parquet(
        tmp_path / "ai2d.parquet",
        [{"question": "a?", "options": ["x", "y"], "answer": "1", "image": image}],
    )
    [sample] = read(data=ai2d, loader="parquet", numbered=True)[0].values()
    assert sample.truth.answers == ("B",) and sample.truth.options == {"A": "x", "B": "y"}
    vqa = write_parquet(
        tmp_path / "vqav2.parquet",
        [
            {"question_id": 7, "question": "a?", "image": image, "answer_type": "other"}
            | {"answers": [{"answer": "two", "answer_id": n} for n in (1, 2)]}
        ],
    )
    [sample] = read(data=vqa, loader="parquet")[0].values()
    assert sample.key == "7" and sample.truth.answers == ("two", "two")
    mmmu = write_parquet(
        tmp_path / "mmmu.parquet",
        [
            {"id": "v_1", "question": "<image 1>?", "options": "['p', 'q']", "answer": "A"}
            | {"image_1": image, "image_2": image, "image_3": None}
        ],
    )
    [sample] = read(data=mmmu, loader="parquet")[0].values()
    assert len(sample.images) == 2 and sample.truth.options == {"A": "p", "B": "q"}
    seed = write_parquet(
        tmp_path / "seed.parquet",
        [
            {"question_id": 1, "question": "?", "choice_a": "p", "choice_b": "q", "answer": "B"}
            | {"image": [image]}
        ],
    )
    [sample] = read(data=seed, loader="parquet")[0].values()
    assert sample.truth.options == {"A": "p", "B": "q"}


def test_pope_as_its_authors_publish_it(tmp_path):
    for category in ("random", "popular"):
        line = {"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "label": "yes"}
        line |= {"text": "Is there a snowboard in the image?"}
        (tmp_path / f"coco_pope_{category}.json").write_text(json.dumps(line) + "\n")
    samples, _ = read(data=str(tmp_path / "coco_pope_*.json"), loader="pope", images="val2014")
    assert list(samples) == ["popular/1", "random/1"]
    one = samples["random/1"]
    assert str(one.images[0]) == "val2014/COCO_val2014_000000310196.jpg"
    assert one.truth.question.endswith("in the image?") and one.truth.answers == ("yes",)
    assert one.truth.groups["category"] == "random"
    (tmp_path / "coco_pope_bad.json").write_text('{"question_id": 1}\n')
    with pytest.raises(DataError, match="no text in any line"):
        read(data=str(tmp_path / "coco_pope_bad.json"), loader="pope")


def test_json_of_the_authors(tmp_path):
    def write(name, value):
        (tmp_path / name).write_text(json.dumps(value))
        return str(tmp_path / name)

    asked = {"question_id": 262148000, "image_id": 262148, "question": "Where is he looking?"}
    told = {"question_id": 262148000, "answers": [{"answer": "down", "answer_id": 1}] * 10}
    questions = write("q.json", {"data_subtype": "val2014", "questions": [asked]})
    answers = write("a.json", {"annotations": [told | {"answer_type": "other"}]})
    [one] = read(data=questions, annotations=answers, loader="vqav2")[0].values()
    assert one.images[0].name == "COCO_val2014_000000262148.jpg" and one.key == "262148000"
    assert one.truth.answers == ("down",) * 10

    row = {"question_id": 3, "image_id": "0054c91", "question": "a?", "answers": ["b", "c"]}
    [one] = read(data=write("t.json", {"data": [row]}), loader="textvqa")[0].values()
    assert one.images[0] == tmp_path / "0054c91.jpg" and one.truth.answers == ("b", "c")

    row = {"questionId": 49153, "question": "a?", "image": "documents/p_1.png", "answers": ["8"]}
    docvqa = write("d.json", {"data": [row, {**row, "questionId": 2, "answers": []}]})
    samples, left_out = read(data=docvqa, loader="docvqa")
    assert samples["49153"].images[0] == tmp_path / "documents/p_1.png"
    assert "no right answer" in left_out["row 2"]

    row = {"imgname": "417.png", "query": "How many?", "label": "0.57"}
    write("test_augmented.json", [row])
    write("test_human.json", [row, {"query": "?", "label": "1"}])
    samples, left_out = read(data=str(tmp_path / "test_*.json"), loader="chartqa", images="png")
    assert [one.truth.groups["split"] for one in samples.values()] == ["augmented", "human"]
    assert "names no picture" in left_out["row 3"]
    with pytest.raises(DataError, match="no list of data"):
        read(data=questions, loader="textvqa")


def test_records_for_training_are_asked_about_too(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    row = {"image": "0.png", "question": "什么颜色？", "answer": "黑色", "zh": ["一张黑图"]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    data = str(tmp_path / "a.jsonl")
    [one] = read(data=data, loader="questions", language="zh")[0].values()
    assert one.truth.question == "什么颜色？" and one.truth.answers == ("黑色",)
    [one] = read(data=data, loader="captions", language="zh")[0].values()
    assert one.truth.answers == ("一张黑图",)
    assert find_prompt("caption/seesay@1").of(one) == "用一句话描述这张图片。"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_labelled_objects_are_asked_about_as_pope_does(tmp_path, language):
    things = (["dog", "cat", "car"], ["person", "bicycle", "bus"], ["train", "boat", "chair"])
    rows = []
    for number, names in enumerate(things):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "objects": [{"category": n} for n in names]})
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {"columns": {"image": "file_name"}, "language": language, "strategy": "popular"}
    loaded = load_samples(DataConfig(data=str(tmp_path / "a.jsonl"), loader="objects", **settings))
    samples = list(loaded.samples)
    assert len(samples) == 18 and len({one.key for one in samples}) == 18
    assert [one.truth.answers[0] for one in samples] == ["yes", "no"] * 9
    assert {one.truth.groups["category"] for one in samples} == {"popular"}
    assert all(("图" in one.truth.question) == (language == "zh") for one in samples)


def test_questions_of_gqa_bring_what_its_second_table_needs(tmp_path):
    asked = {
        "question": "Is it red?",
        "answer": "yes",
        "imageId": "n1",
        "isBalanced": False,
        "types": {"structural": "verify", "semantic": "attr", "detailed": "verifyAttr"},
        "groups": {"global": None, "local": "x"},
        "entailed": ["07", "08"],
    }
    common = asked | {"types": {"detailed": "compareCommon"}, "isBalanced": True}
    common["groups"] = {"global": "color"}
    write = json.dumps({"07": asked, "08": common, "09": asked | {"answer": None}})
    (tmp_path / "q.json").write_text(write)
    choices = {"valid": ["yes", "no"], "plausible": ["yes"]}
    (tmp_path / "c.json").write_text(json.dumps({"07": choices, "08": choices}))
    files = {"data": str(tmp_path / "q.json"), "annotations": str(tmp_path / "c.json")}
    samples, left_out = read(**files, loader="gqa")
    assert samples["07"].images == (tmp_path / "n1.jpg",) and "row 3" in left_out
    assert samples["07"].truth.groups == {
        "id": "07",
        "structural": "verify",
        "semantic": "attr",
        "entailed": "07,08",
        "unbalanced": "1",
        "valid": "yes,no",
        "plausible": "yes",
    }
    groups = samples["08"].truth.groups
    assert groups["valid"] == "color,material,shape" and groups["global"] == "color"
    (tmp_path / "q.json").write_text("[1]")
    with pytest.raises(DataError, match="no questions by number"):
        read(**files, loader="gqa")


def test_captions_of_coco_bring_the_labelled_objects(tmp_path):
    captions = {
        "images": [{"id": 7, "file_name": "7.jpg"}, {"id": 8, "file_name": "8.jpg"}],
        "annotations": [
            {"image_id": 7, "caption": "A dog. "},
            {"image_id": 7, "caption": "A dog runs"},
        ],
    }
    objects = {
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [{"image_id": 7, "category_id": at} for at in (18, 18, 1, 99)],
    }
    (tmp_path / "c.json").write_text(json.dumps(captions))
    (tmp_path / "o.json").write_text(json.dumps(objects))
    files = {"data": str(tmp_path / "c.json"), "annotations": str(tmp_path / "o.json")}
    samples, left_out = read(**files, loader="coco", images="val")
    assert samples["7"].truth.answers == ("A dog.", "A dog runs")
    assert samples["7"].truth.groups == {"objects": "dog,person"}
    assert samples["7"].images[0].name == "7.jpg" and "no right answer" in left_out["row 2"]


def test_the_first_rows_are_passed_over(tmp_path):
    for number in range(4):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
    rows = [{"image": f"{n}.png", "qa": [["a?", "b"], ["c?", "d"]], "zh": "图"} for n in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "a.tsv").write_text(
        "index\timage_path\tquestion\tanswer\n" + "".join(f"{n}\t{n}.png\tq\ta\n" for n in range(4))
    )
    rest = load_samples(DataConfig(data=str(tmp_path / "a.tsv"), start=1, limit=2))
    assert rest.total == 2 and [one.key for one in rest.samples] == ["1", "2"]
    records = DataConfig(data=str(tmp_path / "a.jsonl"), loader="captions", language="zh", start=3)
    assert [one.key for one in load_samples(records).samples] == ["3.png#1"]
    with pytest.raises(ConfigError, match="start"):
        DataConfig(data="a.tsv", start=-1)
