"""An assistant writes what transformers writes; alone, in a batch, in a stream and in a talk."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import seesay
from seesay.data.chat import Media, Message
from seesay.errors import ConfigError, DataError, ImageError, WeightsError
from seesay.inference.assistant import LocalAssistant, chat
from seesay.inference.decoding import DecodingConfig
from seesay.models.positions import VisionGrid
from tiny_assistants import (
    CONTEXT,
    TinyAssistant,
    picture,
    tiny_internvl,
    tiny_llava,
    tiny_qwen,
    tiny_tiles,
)

WRITTEN = 32
FAMILIES: dict[str, Callable[[Path], TinyAssistant]] = {
    "llava": tiny_llava,
    "llava_next": tiny_tiles,
    "llava_onevision": lambda folder: tiny_tiles(folder, "LlavaOnevision"),
    "internvl": tiny_internvl,
    "qwen2_vl": tiny_qwen,
    "qwen2_5_vl": lambda folder: tiny_qwen(folder, "Qwen2_5_VL"),
    "qwen3_vl": lambda folder: tiny_qwen(folder, "Qwen3VL"),
}
CPU = dict(device="cpu", dtype="float32")
QUESTIONS = ["What is it?", "图里有什么？", "Why?"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Callable[[str], TinyAssistant]:
    kept: dict[str, TinyAssistant] = {}

    def get(name: str) -> TinyAssistant:
        if name not in kept:
            torch.manual_seed(name == "qwen3_vl")  # with 0 it repeats itself
            kept[name] = FAMILIES[name](tmp_path_factory.mktemp(name))
        return kept[name]

    return get


@pytest.fixture
def load(tiny) -> Callable[..., LocalAssistant]:
    return lambda name, **settings: chat(tiny(name).folder, **CPU, **settings)


@pytest.fixture(params=FAMILIES)
def assistant(request, load) -> LocalAssistant:
    return load(request.param)


def theirs(reference: TinyAssistant, text: str, **given: torch.Tensor) -> str:
    """What transformers writes after a prompt, to the end of the answer."""
    ids = torch.tensor([reference.tokenizer.encode(text).ids])
    pad = reference.tokenizer.token_to_id("<|image_pad|>")
    if "image_grid_thw" in given:
        given["mm_token_type_ids"] = (ids == pad).int()
    ends = [reference.tokenizer.token_to_id(one) for one in ("</s>", "<|im_end|>")]
    written = reference.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=WRITTEN,
        do_sample=False,
        eos_token_id=[one for one in ends if one is not None],
        pad_token_id=0,
        **given,
    )[0, ids.shape[1] :]
    text = reference.tokenizer.decode(written.tolist()).strip()
    assert len(set(text)) > 3  # a model that repeats itself would show nothing
    return text


def test_llava_writes_what_transformers_writes(tiny, load):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    for seed, question in enumerate(QUESTIONS):
        pixels = processor(picture(seed), return_tensors="pt")
        expected = theirs(tiny("llava"), f"USER: {'<image>' * 16}\n{question} ASSISTANT:", **pixels)
        answer = load("llava", template="hf").ask(picture(seed), question, max_tokens=WRITTEN)
        assert answer.text == expected
        assert answer.answer_tokens == WRITTEN or answer.finish_reason == "stop"


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_qwen_writes_what_transformers_writes(name, tiny, load):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    settings = json.loads((tiny(name).folder / "preprocessor_config.json").read_text())
    three = name == "qwen3_vl"
    if three:
        settings |= dict(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    processor = Qwen2VLImageProcessorPil(**settings)
    system = "" if three else "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    for seed, question in enumerate(QUESTIONS):
        pictures = [picture(seed), picture(seed + 9, (30, 61))][: 1 + seed % 2]
        given = processor(pictures, return_tensors="pt")
        marks = "".join(
            f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>"
            for count in (given["image_grid_thw"].prod(1) // 4).tolist()
        )
        text = f"{system}<|im_start|>user\n{marks}{question}<|im_end|>\n<|im_start|>assistant\n"
        expected = theirs(tiny(name), text, **given)
        assert load(name).ask(pictures, question, max_tokens=WRITTEN).text == expected


@pytest.mark.parametrize("name", ["llava_next", "llava_onevision"])
def test_tiles_are_read_as_transformers_reads_them(name, tiny, load):
    from transformers.models.llava_next.image_processing_pil_llava_next import (
        LlavaNextImageProcessorPil,
    )
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    one = name == "llava_onevision"
    make = LlavaOnevisionImageProcessorPil if one else LlavaNextImageProcessorPil
    size = {"height": 32, "width": 32} if one else {"shortest_edge": 32}
    settings = json.loads((tiny(name).folder / "preprocessor_config.json").read_text())
    processor = make(size=size, crop_size={"height": 32, "width": 32}, **settings)
    assistant = load(name, template="hf")
    for seed, shape in enumerate([(50, 37), (20, 61), (90, 80)]):
        given = processor(picture(seed, shape), return_tensors="pt")
        given.pop("batch_num_images", None)
        given.pop("num_patches", None)
        count = assistant.files.inputs.picture(picture(seed, shape), alone=True).media.counts[0]
        turn = f"{'<image>' * count}\nWhy?"
        text = f"USER: {turn} ASSISTANT:"
        if one:
            text = f"<|im_start|>user\n{turn}<|im_end|>\n<|im_start|>assistant\n"
        answer = assistant.ask(picture(seed, shape), "Why?", max_tokens=WRITTEN)
        assert answer.text == theirs(tiny(name), text, **given)


def test_internvl_is_read_as_transformers_reads_it(tiny, load):
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    processor = GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32},
        crop_to_patches=True,
        max_patches=6,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    assistant, tiles = load("internvl", template="hf"), []
    for seed, shape in enumerate([(32, 32), (90, 40), (50, 150)]):
        pictures = [picture(seed, shape), picture(9)][: 1 + seed % 2]
        given = processor(pictures, return_tensors="pt")
        tiles.append(given.pop("num_patches").tolist())
        marks = "".join(f"<img>{'<IMG_CONTEXT>' * 4 * n}</img>\n" for n in tiles[-1])
        text = f"<|im_start|>user\n{marks}Why?<|im_end|>\n<|im_start|>assistant\n"
        answer = assistant.ask(pictures, "Why?", max_tokens=WRITTEN)
        assert answer.text == theirs(tiny("internvl"), text, **given)
    assert tiles[0] == [1] and tiles[1][0] > 2  # with the thumbnail


# One result, however it was computed


def test_questions_about_one_picture_are_answered_as_alone_and_it_is_seen_once(assistant):
    alone = [assistant.ask(picture(), q, max_tokens=12) for q in QUESTIONS]
    fresh = LocalAssistant(assistant.files)
    calls = count_calls(fresh)
    several = fresh.ask_several(picture(), QUESTIONS, max_tokens=12)
    assert [a.text for a in several] == [a.text for a in alone]
    assert len({a.text for a in several}) > 1
    assert fresh.ask(picture(), "Once more?", max_tokens=4).text
    assert calls == [1]
    fresh.ask(picture(1), QUESTIONS[0], max_tokens=1)
    assert calls == [1, 1]


def test_a_prompt_takes_one_pass_and_the_next_question_only_its_own_tokens(assistant):
    fresh, passes = LocalAssistant(assistant.files), []
    layer = assistant.files.model.decoder.blocks[0]
    hook = layer.register_forward_pre_hook(lambda _, given: passes.append(given[0].shape[1]))
    prompts = [fresh.ask(picture(), q, max_tokens=1).prompt_tokens for q in QUESTIONS[:2]]
    hook.remove()
    assert len(passes) == 2
    assert passes[0] == prompts[0]
    assert passes[1] < prompts[1]


def count_calls(assistant: LocalAssistant) -> list[int]:
    """The numbers of pictures that the model is shown from now on, call by call."""
    calls: list[int] = []
    inputs = assistant._reader.inputs

    class Counting:
        most_images, has_video = inputs.most_images, inputs.has_video

        def see(self, some):
            calls.append(len(some))
            return inputs.see(some)

    assistant._reader.inputs = Counting()
    return calls


def test_a_batch_answers_as_each_question_alone(assistant):
    asked = [
        (picture(0), "What is it?"),
        (picture(1, (20, 61)), "这是一个很长的问题，比其他的问题都要长得多？"),
        (picture(2, (64, 64)), "Why?"),
        (picture(2, (64, 64)), "When?"),
        (None, "Without a picture?"),
    ]
    together = LocalAssistant(assistant.files).ask_batch(asked, max_tokens=12)
    alone = [assistant.ask(*one, max_tokens=12) for one in asked]
    assert [a.text for a in together] == [a.text for a in alone]
    assert [a.prompt_tokens for a in together] == [a.prompt_tokens for a in alone]


def test_the_pieces_of_a_stream_are_the_answer(assistant):
    whole = assistant.ask(picture(), "图里有什么？", max_tokens=WRITTEN)
    stream, pieces = assistant.stream(picture(), "图里有什么？", max_tokens=WRITTEN), []
    try:
        while True:
            pieces.append(next(stream))
    except StopIteration as end:
        answer = end.value
    assert "".join(pieces) == answer.text == whole.text
    assert answer == whole and len(pieces) > 1


def test_a_talk_is_one_conversation_and_reads_only_what_is_new(assistant):
    talk = seesay.Conversation(assistant, picture())
    first = talk.ask("What is it?", max_tokens=6)
    second = talk.ask("Why?", max_tokens=6)
    messages = [
        Message("user", (Media("image", (1,)), "What is it?")),
        Message("assistant", first.text),
        Message("user", "Why?"),
    ]
    fresh = LocalAssistant(assistant.files)
    assert fresh.ask(picture(), messages, max_tokens=6).text == second.text
    assert [message.role for message in talk.messages] == ["user", "assistant"] * 2
    if assistant.files.inputs.most_images is None:
        third = talk.ask("And this?", picture(5), max_tokens=6)
        messages += [
            Message("assistant", second.text),
            Message("user", (Media("image", (1,)), "And this?")),
        ]
        pictures = [picture(), picture(5)]
        assert fresh.ask(pictures, messages, max_tokens=6).text == third.text


def test_what_is_kept_of_other_questions_changes_nothing(load):
    assistant = load("qwen2_vl")
    expected = LocalAssistant(assistant.files).ask(picture(1), "Why?", max_tokens=8)
    for seed in range(7):  # more pictures than are kept, some of equal size
        assistant.ask(picture(seed), "Why?", max_tokens=8)
    assert assistant.ask(picture(1), "Why?", max_tokens=8) == expected


def test_one_answer_is_written_by_beams_and_by_seed(load):
    beams = load("llava", decoding=DecodingConfig(beams=3))
    several = beams.ask_several(picture(), QUESTIONS, max_tokens=10)
    assert [a.text for a in several] == [
        beams.ask(picture(), q, max_tokens=10).text for q in QUESTIONS
    ]
    assert list(beams.stream(picture(), "Why?", max_tokens=10)) == [several[2].text]
    drawn = load("llava", decoding=DecodingConfig(seed=3))
    hot = dict(max_tokens=10, temperature=1.5)
    some = drawn.ask_several(picture(), QUESTIONS, **hot)
    assert [a.text for a in some] == [drawn.ask(picture(), q, **hot).text for q in QUESTIONS]
    other = load("llava", decoding=DecodingConfig(seed=4)).ask_several(picture(), QUESTIONS, **hot)
    assert [a.text for a in some] != [a.text for a in other]


def test_log_probabilities_belong_to_the_tokens(load):
    answer = load("llava").ask(picture(), "Why?", max_tokens=5, log_probabilities=True)
    assert answer.tokens is not None and len(answer.tokens) == answer.answer_tokens
    assert all(token.log_probability < 0 for token in answer.tokens)
    assert load("llava").ask(picture(), "Why?", max_tokens=5).tokens is None


# Videos


def write_video(file: Path) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for seed in range(30):
            frame = av.VideoFrame.from_image(picture(seed, (64, 48)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


@pytest.mark.parametrize(
    "name", ["llava_onevision", "internvl", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
)
def test_a_video_stands_among_pictures(name, load, tmp_path):
    file, assistant = write_video(tmp_path / "clip.mp4"), load(name)
    answer = assistant.ask([file, picture()], "What happens?", max_tokens=8)
    asked = [(picture(3), "Why?"), ([file, picture()], "What happens?")]
    assert assistant.ask_batch(asked, max_tokens=8)[1].text == answer.text
    assert assistant.ask(picture(), "What happens?", max_tokens=8).text != answer.text


def test_a_video_has_positions_in_time(load, tmp_path):
    file = write_video(tmp_path / "clip.mp4")  # 3 seconds, of which 6 frames are read
    (grid,) = load("qwen2_vl").files.inputs.video(file).grids
    assert grid.time == 3 and grid.interval == 1
    (grid,) = load("qwen2_5_vl").files.inputs.video(file).grids
    assert grid.time == 3 and grid.interval == pytest.approx(2 * 3 / 6 * 2)
    steps = load("qwen3_vl").files.inputs.video(file)
    assert len(steps.grids) == len(steps.media.counts) == len(steps.media.times) == 3
    assert set(steps.grids) == {VisionGrid(start=0, rows=grid.rows, columns=grid.columns)}


# What cannot be answered


def refused(error: type[Exception], words: str, zh: str, ask: Callable[[], object]) -> None:
    with pytest.raises(error, match=words) as raised:
        ask()
    text = raised.value.text
    assert zh in text.zh and "\n" not in text.en + text.zh


def test_what_no_model_answers_is_refused_in_one_line(load, tmp_path):
    llava, qwen = load("llava"), load("qwen2_vl")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 500)
    refused(DataError, "no picture was given", "没有给出图片", lambda: llava.ask([], "Why?"))
    refused(DataError, "question is a int", "类型是 int", lambda: llava._request(picture(), 3))
    two = [picture(), picture(1)]
    refused(DataError, "2 pictures .* at most 1", "最多应为 1 张", lambda: llava.ask(two, "Why?"))
    refused(DataError, "reads no videos", "不支持视频", lambda: llava.ask(broken, "Why?"))
    refused(DataError, "broken.mp4 cannot be", "broken.mp4 无法", lambda: qwen.ask(broken, "Why?"))
    refused(ImageError, "no.png", "no.png", lambda: qwen.ask(tmp_path / "no.png", "Why?"))
    refused(DataError, "one text 'Why", "一段文本", lambda: llava.ask_several(picture(), "Why?"))
    refused(DataError, r"contains <image>", "<image>", lambda: llava.ask(picture(), "<image>?"))
    refused(ConfigError, "max_tokens=0", "至少为 1", lambda: llava.ask(None, "Why?", max_tokens=0))
    refused(
        DataError,
        r"tokens, 288 of them for pictures; expected at most 1,023",
        "上限为 1,023",
        lambda: qwen.ask([picture(seed, (48, 48)) for seed in range(8)], "Why? " * 250),
    )


def test_an_answer_ends_with_the_context(load):
    assistant = load("llava")
    room = CONTEXT - assistant.ask(picture(), "x", max_tokens=1).prompt_tokens
    answer = assistant.ask(picture(), "x" * (room - 2), max_tokens=100)
    assert answer.prompt_tokens + answer.answer_tokens <= CONTEXT
    assert answer.answer_tokens <= 3


def test_incomplete_and_foreign_folders_are_refused(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    source = tiny("llava").folder
    tensors = load_file(source / "model.safetensors")
    names = sorted(tensors)
    half = {name: tensors[name] for name in names[: len(names) // 2]}
    shards = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    save_file(half, tmp_path / shards[0])
    index = {name: shards[name not in half] for name in names}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    for file in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        (tmp_path / file).write_bytes((source / file).read_bytes())
    refused(WeightsError, "names the shard model-00002", "缺", lambda: chat(tmp_path, **CPU))
    config = json.loads((source / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | dict(model_type="bert")))
    refused(WeightsError, "type 'bert'", "不能回答问题", lambda: chat(tmp_path, **CPU))
    (tmp_path / "config.json").write_text(json.dumps(config | dict(image_token_index=7)))
    save_file(tensors, tmp_path / "model.safetensors")
    refused(WeightsError, "<image> as 258", "编号是 258", lambda: chat(tmp_path, **CPU))
