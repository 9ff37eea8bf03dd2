"""How many tokens pictures and videos become in the original of each family: in transformers'
processors, with a tokenizer that has a token for every byte, or by the formulas of the authors.

    llava("original", (image,))         # 576
    internvl("original", None)          # a video of 30 seconds

Each takes the pictures of a prompt, or None for a video of SECONDS and FRAME; marks count.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer

import torchvision_shim  # noqa: F401  # before transformers
from seesay.data.chat_templates import Source
from tiny_assistants import INTERN_MARKS, write_byte_tokenizer

SECONDS, FRAME = 30, (320, 240)
MARKS = (*INTERN_MARKS, "<imgpad>", "<|endofchunk|>")
WORDLESS = [mark for mark in MARKS if mark not in ("<s>", "</s>", "<|im_start|>", "<|im_end|>")]
"""The marks that belong to pictures and videos."""
Pictures = tuple[Image.Image, ...] | None
Original = Callable[[Source, Pictures], int]


@cache
def tokenizer_with_marks() -> Tokenizer:
    with tempfile.TemporaryDirectory() as folder:
        return write_byte_tokenizer(Path(folder), MARKS)


def wordless(ids: Sequence[int]) -> int:
    """How many of these tokens belong to pictures and videos."""
    known = {tokenizer_with_marks().token_to_id(mark) for mark in WORDLESS}
    return sum(one in known for one in ids)


def in_prompt(processor: Any, mark: str, pictures: Pictures, **video: Any) -> int:
    """What a processor of transformers makes of a mark for each of them."""
    given = {"images": [list(pictures)]} if pictures else video
    text = mark * (len(pictures) if pictures else 1) + "What is it?"
    return wordless(processor(text=[text], **given)["input_ids"][0])


@cache
def their_tokenizer() -> Any:
    from transformers import PreTrainedTokenizerFast

    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer_with_marks(), pad_token="</s>", extra_special_tokens=named
    )


def frames(count: int, size: tuple[int, int] = FRAME) -> dict[str, Any]:
    """A video of that many frames, already chosen."""
    metadata = {"fps": 2.0, "total_num_frames": count, "frames_indices": list(range(count))}
    return {
        "videos": [torch.zeros(count, 3, *size[::-1], dtype=torch.uint8)],
        "videos_kwargs": {"video_metadata": [metadata], "do_sample_frames": False},
    }


def llava(source: Source, pictures: Pictures) -> int:
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    images = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size=336)
    processor = LlavaProcessor(
        images,
        their_tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return in_prompt(processor, "<image>", pictures)


NEXT_LIST = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
ONEVISION_LIST = [[384 * a, 384 * b] for a in range(1, 7) for b in range(1, 7)]


def llava_next(source: Source, pictures: Pictures) -> int:
    from transformers import LlavaNextProcessor
    from transformers.models.llava_next.image_processing_pil_llava_next import (
        LlavaNextImageProcessorPil,
    )

    if source == "original":
        return sum(any_resolution(one.size, NEXT_LIST, 336, None) for one in pictures or ())
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(
            size={"shortest_edge": 336}, crop_size=336, image_grid_pinpoints=NEXT_LIST
        ),
        their_tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return in_prompt(processor, "<image>", pictures)


def onevision(source: Source, pictures: Pictures) -> int:
    from transformers import LlavaOnevisionProcessor, LlavaOnevisionVideoProcessor
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    if source == "original":
        if pictures is None:
            return 32 * math.ceil(27 / 2) ** 2 + 1
        if len(pictures) > 1:  # padded to squares, as they were in training
            return len(pictures) * (27**2 + 1)
        return any_resolution(pictures[0].size, ONEVISION_LIST, 384, 9)
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessorPil(image_grid_pinpoints=ONEVISION_LIST),
        their_tokenizer(),
        LlavaOnevisionVideoProcessor(),
        num_image_tokens=27**2,
        vision_feature_select_strategy="full",
    )
    mark = "<image>" if pictures else "<video>"
    return in_prompt(processor, mark, pictures, **frames(32))


def any_resolution(
    size: tuple[int, int], canvases: list[list[int]], tile: int, most: int | None
) -> int:
    """The tokens of a picture in the authors' code: llava/mm_utils.py (select_best_resolution) and
    llava/model/llava_arch.py ("spatial_unpad", and "anyres_max_9" of LLaVA-NeXT)."""
    side, (width, height) = tile // 14, size
    scored = []
    for number, (across, down) in enumerate(canvases):
        scale = min(across / width, down / height)
        used = min(int(width * scale) * int(height * scale), width * height)
        scored.append((-used, across * down - used, number))
    across, down = canvases[min(scored)[2]]
    columns, rows = across // tile * side, down // tile * side
    if width / height > columns / rows:
        rows -= (rows - int(height * (columns / width))) // 2 * 2
    else:
        columns -= (columns - int(width * (rows / height))) // 2 * 2
    if most is not None and (times := math.sqrt(rows * columns / (most * side**2))) > 1.1:
        rows, columns = int(rows // times), int(columns // times)
    return side**2 + rows * (columns + 1)


def internvl(source: Source, pictures: Pictures) -> int:
    from transformers import InternVLProcessor, InternVLVideoProcessor
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    cutting = {"crop_to_patches": True, "min_patches": 1, "max_patches": 12}
    images = GotOcr2ImageProcessorPil(size={"height": 448, "width": 448}, **cutting)
    video = InternVLVideoProcessor(size={"height": 448, "width": 448})
    processor = InternVLProcessor(images, their_tokenizer(), video, image_seq_length=256)
    mark = "<IMG_CONTEXT>" if pictures else "<video>"
    return in_prompt(processor, mark, pictures, **frames(8))  # as many as the model cards take


def qwen(name: str) -> Original:
    def original(source: Source, pictures: Pictures) -> int:
        import transformers
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
            smart_resize,
        )

        patch = 16 if name == "Qwen3VL" else 14
        side = 2 * patch
        images = Qwen2VLImageProcessorPil(
            patch_size=patch, size={"shortest_edge": 4 * side**2, "longest_edge": 16384 * side**2}
        )
        videos = "Qwen3VL" if name == "Qwen3VL" else "Qwen2VL"
        processor = getattr(transformers, f"{name}Processor")(
            images,
            qwen_tokenizer(),
            getattr(transformers, f"{videos}VideoProcessor")(
                patch_size=patch, do_resize=False, cap_pixels_per_frame=False
            ),
        )
        # Two frames a second, sized as fetch_video of qwen-vl-utils 0.0.14 does.
        count, least = 2 * SECONDS, 128 * side**2
        share = int(128_000 * side**2 * 0.9) / count * 2
        most = int(max(min(768 * side**2, share), least * 1.05))
        size = smart_resize(*FRAME[::-1], side, least, most)[::-1]
        pad = "<|image_pad|>" if pictures else "<|video_pad|>"
        mark = f"<|vision_start|>{pad}<|vision_end|>"
        if name == "Qwen3VL" and not pictures:
            mark = pad  # whose steps have their own marks, in place of these
        return in_prompt(processor, mark, pictures, **frames(count, size))

    return original


@cache
def qwen_tokenizer() -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer_with_marks(), pad_token="</s>")


def first_qwen(source: Source, pictures: Pictures) -> int:
    """256 queries between <img> and </img> (modeling_qwen.py, visual.py)."""
    return len(pictures or ()) * (256 + 2)


def blip(source: Source, pictures: Pictures) -> int:
    from transformers import BlipVisionConfig
    from transformers.models.blip.modeling_blip import BlipVisionEmbeddings

    rows = BlipVisionEmbeddings(BlipVisionConfig(image_size=384, patch_size=16)).num_positions
    return rows * len(pictures or ())


def blip2(source: Source, pictures: Pictures) -> int:
    from transformers import Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    images = BlipImageProcessorPil(size={"height": 224, "width": 224})
    return in_prompt(Blip2Processor(images, qwen_tokenizer(), 32), "", pictures)


def instructblip(source: Source, pictures: Pictures) -> int:
    from transformers import InstructBlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    images, words = BlipImageProcessorPil(size={"height": 224, "width": 224}), qwen_tokenizer()
    return in_prompt(InstructBlipProcessor(images, words, words, 32), "", pictures)


def flamingo(source: Source, pictures: Pictures) -> int:
    """One <image> for each picture (open_flamingo, README.md)."""
    return len(pictures or ())
