"""Further families in an assistant: BLIP's write what transformers writes, and those that
transformers does not have follow their formulas or what they were converted from."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from internvl_form import as_opengvlab_publishes
from seesay.data.chat import Media, Message
from seesay.errors import DataError, WeightsError
from seesay.inference.assistant import LocalAssistant, chat
from seesay.inference.decoding import DecodingConfig, text_of
from seesay.weights import llava
from tiny_assistants import (
    FLAN,
    MARKS,
    QUERIES,
    TinyAssistant,
    picture,
    tiny_blip,
    tiny_blip2,
    tiny_internvl,
    tiny_llava,
    write_byte_tokenizer,
)
from tiny_first_qwen_vl import CONFIG, logits_of, published, rows_of
from tiny_flamingo import PIXELS, TinyFlamingo, tiny_flamingo

WRITTEN = 16
CPU = dict(device="cpu", dtype="float32")
QUESTIONS = ["What is it?", "图里有什么？", "Why?"]
VICUNA = dict(model_type="llama", pad_token_id=0)
BLIPS: dict[str, Callable[[Path], TinyAssistant]] = {
    "blip": tiny_blip,
    "blip-2 on opt": tiny_blip2,
    "blip-2 on flan": lambda folder: tiny_blip2(folder, FLAN),
    "instructblip": lambda folder: tiny_blip2(folder, VICUNA, "InstructBlip"),
    "instructblip on flan": lambda folder: tiny_blip2(folder, FLAN, "InstructBlip"),
}


@pytest.fixture(scope="module", params=BLIPS)
def blip(request, tmp_path_factory) -> tuple[str, TinyAssistant]:
    torch.manual_seed(0)
    return request.param, BLIPS[request.param](tmp_path_factory.mktemp("blip"))


@pytest.fixture
def assistant(blip) -> LocalAssistant:
    return chat(blip[1].folder, **CPU)


def theirs(name: str, reference: TinyAssistant, text: str, seed: int) -> list[int]:
    """What transformers writes about a picture."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    processor = BlipImageProcessorPil(size={"height": 32, "width": 32})
    given = dict(processor(picture(seed), return_tensors="pt"))
    words = reference.tokenizer.encode(text).ids
    if name == "blip":
        end = reference.tokenizer.token_to_id("[SEP]")
        ids = torch.tensor([[0, *words, end]])
        written = reference.model.generate(
            **given, input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=WRITTEN
        )[0]
        return written[ids.shape[1] - 1 :].tolist()
    mark = reference.tokenizer.token_to_id("<image>")
    ids = torch.tensor([[mark] * QUERIES + words])
    if name.startswith("instructblip"):
        given["qformer_input_ids"] = torch.tensor([words])
        given["qformer_attention_mask"] = torch.ones(1, len(words), dtype=torch.long)
    written = reference.model.generate(
        **given,
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=WRITTEN,
        do_sample=False,
        num_beams=1,
        eos_token_id=reference.tokenizer.token_to_id("</s>"),
    )[0]
    return written[1:].tolist() if "flan" in name else written[-WRITTEN:].tolist()


PROMPT = {"blip": "{}", "instructblip": "{}", "instructblip on flan": "{}"}


def test_blip_writes_what_transformers_writes(blip, assistant):
    name, reference = blip
    form, texts = PROMPT.get(name, "Question: {} Answer:"), set()
    for seed, question in enumerate(QUESTIONS):
        expected = theirs(name, reference, form.format(question), seed)
        answer = assistant.ask(picture(seed), question, max_tokens=WRITTEN)
        assert answer.text == text_of(expected, assistant.tokenizer)
        texts.add(answer.text)
    assert len(texts) == 3 and max(len(set(text)) for text in texts) > 3


def test_a_caption_is_asked_for_as_the_authors_do(blip, assistant):
    name, reference = blip
    form = {"blip": "a picture of", "blip-2 on opt": "a photo of", "blip-2 on flan": "a photo of"}
    text = form.get(name, "Write a short description for the image.")
    expected = theirs(name, reference, text, 3)
    answer = assistant.caption(picture(3), max_tokens=WRITTEN)
    assert answer.text == text_of(expected, assistant.tokenizer)


def test_blip_answers_alone_as_beside_others(blip, assistant):
    alone = [assistant.ask(picture(n % 2), q, max_tokens=8) for n, q in enumerate(QUESTIONS)]
    asked = [(picture(n % 2), q) for n, q in enumerate(QUESTIONS)]
    assert [a.text for a in assistant.ask_batch(asked, max_tokens=8)] == [a.text for a in alone]
    several = assistant.ask_several(picture(), QUESTIONS, max_tokens=8)
    single = [assistant.ask(picture(), q, max_tokens=8).text for q in QUESTIONS]
    assert [a.text for a in several] == single and len(set(single)) == 3
    assert "".join(assistant.stream(picture(), "Why?", max_tokens=8)) == single[2]
    beams = LocalAssistant(assistant.files, DecodingConfig(beams=2))
    both = beams.ask_several(picture(), QUESTIONS[:2], max_tokens=5)
    assert [a.text for a in both] == [
        beams.ask(picture(), q, max_tokens=5).text for q in QUESTIONS[:2]
    ]


def test_a_model_that_only_compares_is_refused(tmp_path):
    torch.manual_seed(0)
    tiny_blip(tmp_path, "ImageTextRetrieval")
    with pytest.raises(WeightsError, match="holds a BlipMatcher, which compares") as raised:
        chat(tmp_path, **CPU)
    assert "不生成文字" in raised.value.text.zh


def test_what_needs_a_picture_and_reads_no_video_says_so(blip, assistant):
    if blip[0] == "blip":
        with pytest.raises(DataError, match="no picture was given; expected one") as raised:
            assistant.ask(None, "Why?")
        assert "没有给出图片" in raised.value.text.zh
    else:
        assert assistant.ask(None, "Why?", max_tokens=3).text
    with pytest.raises(DataError, match="reads no videos"):
        assistant.ask("clip.mp4", "Why?")


# Files of the authors


def test_opengvlabs_folder_answers_as_transformers_form_does(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "hf").mkdir()
    (tmp_path / "own").mkdir()
    tiny = tiny_internvl(tmp_path / "hf")
    as_opengvlab_publishes(tiny.folder, tmp_path / "own", max_dynamic_patch=6)
    (tmp_path / "own" / "tokenizer.json").write_bytes((tiny.folder / "tokenizer.json").read_bytes())
    own, other = chat(tmp_path / "own", **CPU), chat(tiny.folder, **CPU)
    for seed, size in enumerate([(90, 40), (32, 32)]):
        asked = picture(seed, size), "图里有什么？"
        answer = own.ask(*asked, max_tokens=WRITTEN)
        assert answer == replace(other.ask(*asked, max_tokens=WRITTEN), model=answer.model)
    assert own.template.system.startswith("你是书生·万象")
    assert own.caption(picture(), max_tokens=4).text
    path = tmp_path / "own" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(template="new")))
    with pytest.raises(WeightsError, match="names the chat template 'new'"):
        chat(tmp_path / "own", **CPU)


def test_the_authors_llava_finds_its_tower_and_answers_alike(tmp_path, monkeypatch):
    torch.manual_seed(0)
    for name in ("hf", "own", "tower"):
        (tmp_path / name).mkdir()
    tiny = tiny_llava(tmp_path / "hf")
    config = json.loads((tiny.folder / "config.json").read_text())
    own, tower = {}, {}
    for name, tensor in load_file(tiny.folder / "model.safetensors").items():
        part, _, rest = name.partition(".")
        if part == "vision_tower":
            tower[f"vision_model.{rest.removeprefix('vision_model.')}"] = tensor
        elif part == "language_model":
            own[rest] = tensor
        else:
            number = {"linear_1": 0, "linear_2": 2}[rest.partition(".")[0]]
            own[f"model.mm_projector.{number}.{rest.partition('.')[2]}"] = tensor
    save_file(own, tmp_path / "own" / "model.safetensors")
    save_file(tower, tmp_path / "tower" / "model.safetensors")
    place = str(tmp_path / "tower")
    vision = {k: v for k, v in config["vision_config"].items() if v is not None}
    monkeypatch.setitem(llava.ORIGINAL_TOWERS, place, vision)
    settings = config["text_config"] | dict(
        model_type="llava",
        architectures=["LlavaLlamaForCausalLM"],
        mm_vision_tower=place,
        mm_vision_select_layer=-2,
        mm_projector_type="mlp2x_gelu",
        mm_hidden_size=32,
        image_aspect_ratio="pad",
    )
    (tmp_path / "own" / "config.json").write_text(json.dumps(settings))
    # The authors' tokenizers have no token for a picture.
    write_byte_tokenizer(
        tmp_path / "own", tuple(m for m in MARKS if m not in ("<image>", "<video>"))
    )
    mine, other = chat(tmp_path / "own", **CPU), chat(tiny.folder, **CPU)
    assert mine.template == other.template
    for seed, question in enumerate(QUESTIONS):
        answer = mine.ask(picture(seed), question, max_tokens=WRITTEN)
        expected = other.ask(picture(seed), question, max_tokens=WRITTEN)
        assert answer == replace(expected, model=answer.model)
    path = tmp_path / "own" / "config.json"
    path.write_text(json.dumps(settings | dict(mm_use_im_start_end=True)))
    with pytest.raises(WeightsError, match="has no <im_start> and <im_end>"):
        chat(tmp_path / "own", **CPU)


# Families without a counterpart


def greedy(logits: Callable[[list[int]], torch.Tensor], ids: list[int], count: int) -> list[int]:
    written: list[int] = []
    for _ in range(count):
        written.append(int(logits([*ids, *written]).argmax()))
    return written


@torch.no_grad()
def test_the_first_qwen_vl_answers_by_its_formulas(tmp_path):
    marks = (*MARKS, "<img>", "</img>", "<imgpad>")
    tokenizer = write_byte_tokenizer(tmp_path, marks)
    vocab, start = tokenizer.get_vocab_size(), tokenizer.token_to_id("<img>")
    config = CONFIG | dict(vocab_size=vocab, visual=CONFIG["visual"] | dict(image_start_id=start))
    tensors = published(vocab)
    (tmp_path / "config.json").write_text(json.dumps(config))
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    save_file(contiguous, tmp_path / "model.safetensors")
    assistant = chat(tmp_path, **CPU)
    pixels = squashed(picture(2), 48)
    answer = assistant.ask(picture(2), "Why?", max_tokens=WRITTEN)
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"Picture 1: <img>{'<imgpad>' * 16}</img>\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    ids, rows = tokenizer.encode(text).ids, rows_of(tensors, pixels)
    expected = greedy(lambda some: logits_of(tensors, some, rows, start + 2)[-1], ids, WRITTEN)
    assert answer.text == text_of(until(expected, assistant), assistant.tokenizer)
    assert answer.prompt_tokens == len(ids)
    (tmp_path / "generation_config.json").write_text('{"chat_format": "raw"}')
    base = chat(tmp_path, **CPU).ask(picture(2), "Why?", max_tokens=1)
    assert base.prompt_tokens == len("Why? Answer:") + 18
    two = assistant.ask([picture(2), picture(3)], "Why?", max_tokens=4)
    assert two.prompt_tokens == len(ids) + len("Picture 2: ") + 18 + 1


def squashed(image, side: int) -> torch.Tensor:
    from PIL import Image

    pixels = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    mean = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
    std = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
    return torch.from_numpy((pixels / 255 - mean) / std).permute(2, 0, 1)


def until(ids: list[int], assistant: LocalAssistant) -> list[int]:
    """The tokens before the first that ends an answer."""
    ends = [at for at, one in enumerate(ids) if one in assistant.files.end_ids]
    return ids[: ends[0]] if ends else ids


@pytest.fixture(scope="module")
def flamingo(tmp_path_factory) -> tuple[TinyFlamingo, LocalAssistant, Tokenizer]:
    folder = tmp_path_factory.mktemp("flamingo")
    (folder / "language_model").mkdir()
    tokenizer = write_byte_tokenizer(folder / "language_model", ("<|endoftext|>",))
    tiny = tiny_flamingo("mosaic_gpt", tokenizer.get_vocab_size() + 3)
    tiny.save(folder)
    tokenizer.add_special_tokens(["<|endofchunk|>", "<image>", "<PAD>"])
    return tiny, chat(folder, **CPU), tokenizer


@torch.no_grad()
def test_open_flamingo_answers_and_captions_by_its_formulas(flamingo):
    tiny, assistant, tokenizer = flamingo
    pictures = [picture(2, (16, 16)), picture(3, (16, 16))]
    latents = [tiny.latents(squashed(one, PIXELS)) for one in pictures]

    def expected(text: str, seen: list[torch.Tensor]) -> str:
        ids = tokenizer.encode(text).ids
        written = greedy(lambda some: tiny.logits(some, seen)[-1], ids, WRITTEN)
        return text_of(until(written, assistant), assistant.tokenizer)

    asked = expected("<image>Question:Why? Short answer:", latents[:1])
    answer = assistant.ask(pictures[0], "Why?", max_tokens=WRITTEN)
    assert answer.text == asked
    said = assistant.caption(pictures[1], max_tokens=WRITTEN).text
    assert said == expected("<image>Output:", latents[1:])
    # One example, then the question: the model looks at the latest picture.
    shots = [
        Message("user", (Media("image", (1,)), "What?")),
        Message("assistant", "a cat"),
        Message("user", (Media("image", (1,)), "Why?")),
    ]
    text = (
        "<image>Question:What? Short answer:a cat<|endofchunk|><image>Question:Why? Short answer:"
    )
    assert assistant.ask(pictures, shots, max_tokens=WRITTEN).text == expected(text, latents)
    fresh = LocalAssistant(assistant.files)
    several = [(pictures[0], "Why?"), (pictures, shots), (None, "What?")]
    batch = fresh.ask_batch(several, max_tokens=WRITTEN)
    assert batch[0].text == answer.text
    alone = LocalAssistant(assistant.files).ask(None, "What?", max_tokens=WRITTEN)
    assert batch[2].text == alone.text


def test_an_open_flamingo_without_its_parts_says_which(tmp_path):
    torch.save({}, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match="has no language_model; expected a folder") as raised:
        chat(tmp_path, **CPU)
    assert "请把语言模型放进 language_model" in raised.value.text.zh
