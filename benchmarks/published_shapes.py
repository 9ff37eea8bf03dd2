"""Whether a picture, a document of two pages and a video of 30 seconds become as many tokens as in
the originals, in each published shape.

    python benchmarks/published_shapes.py                       # all, one at a time: 25 minutes
    python benchmarks/published_shapes.py qwen2-vl-2b blip2-opt-2.7b
    python benchmarks/published_shapes.py --one-of-each         # the first of each family

Each model has the published widths, heads, patches and vocabulary, random weights, and two layers
in its tower and in its language model; a Q-Former or resampler is whole, and the language model of
an OpenFlamingo goes on to its first gated block. Numbers are float32, and bfloat16 where those
would take more than 8 GB. The columns are

    planned     what `seesay tokens` says of the file; for BLIP, the catalogue
    read        what the language model was given, less the words of the prompt; for BLIP, the rows
                that it attends to
    original    what transformers' processor puts into a prompt, or the authors' code where
                transformers has none or counts otherwise
    seconds     to prepare the input and read the prompt

All count the marks around a picture. Names with (hf) are those of models whose pictures are cut as
transformers does, where that differs. A model that takes one picture gets the pages one by one. The
exit status is 1 if the counts of a line differ.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import av
import torch
from PIL import Image, ImageDraw
from skimage import data as photographs
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import original_counts as originals
import torchvision_shim  # noqa: F401  # before transformers
from original_counts import FRAME, SECONDS, Original, tokenizer_with_marks, wordless
from published_assistants import ASSISTANTS
from seesay.data.chat_templates import Source, chat_template
from seesay.data.file_costs import file_cost, measure_file
from seesay.data.token_budget import A4_AT_150_DPI
from seesay.inference.assistant import LocalAssistant
from seesay.inference.assistant_files import AssistantFiles, context_of
from seesay.inference.decoding import DecodingConfig
from seesay.inference.families import FAMILIES, QFORMER_WORDS, Model, Opened
from seesay.models.blip import BlipCaptioner
from seesay.models.blip2 import Blip2
from seesay.models.connectors import PerceiverConfig
from seesay.models.decoder import DecoderConfig
from seesay.models.flamingo import Flamingo, FlamingoConfig
from seesay.models.packed_vit import PackedVitConfig
from seesay.models.t5 import T5, T5Config
from seesay.models.vit import VitConfig
from seesay.models.vlm import Vlm, VlmConfig
from seesay.weights.catalog import AssistantEntry, published_assistants
from seesay.weights.tensors import blank_model

LAYERS = 2
MOST_PARAMETERS = 2_000_000_000  # in float32, which most processors multiply much faster
QUESTION = "What is it?"
FPS = 10


def main() -> int:
    published = {alias: one for alias, one in published_assistants().items() if one.repo}
    known = [alias for alias, one in published.items() if one.purpose != "matcher"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--one-of-each", action="store_true", help="the first of each family")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"no such model: {', '.join(unknown)}")
    names = options.names or known
    if options.one_of_each:
        families = {published_assistants()[name].family: name for name in reversed(names)}
        names = [name for name in names if name in families.values()]
    torch.manual_seed(0)
    print(
        f"{'model':30}{'input':>9}{'planned':>9}{'read':>8}{'original':>10}{'seconds':>9}  source"
    )
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        inputs = make_inputs(Path(folder))
        for name in names:
            for line in lines(published_assistants()[name], inputs, Path(folder)):
                print(line, flush=True)
                wrong += not line.agrees
    print(f"{wrong} lines disagree" if wrong else "all counts agree")
    return int(wrong > 0)


# The inputs


@dataclass(frozen=True)
class Input:
    name: str
    file: Path
    """What the planner measures."""
    pictures: tuple[Image.Image, ...] = ()
    """The picture, or the pages; none: a video."""


def make_inputs(folder: Path) -> list[Input]:
    photo = Image.fromarray(photographs.chelsea())
    photo.save(folder / "photo.png")
    pages = [Image.new("RGB", A4_AT_150_DPI, "white") for _ in range(2)]
    for number, page in enumerate(pages):
        page.paste(photo, (100, 200))
        for line in range(40):
            ImageDraw.Draw(page).text((100, 600 + 28 * line), f"Page {number}, line {line}", 0)
    pages[0].save(folder / "pages.pdf", save_all=True, append_images=pages[1:], resolution=150)
    with av.open(folder / "video.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *FRAME, "yuv420p"
        for number in range(SECONDS * FPS):
            left, top = number % 120, number % 50  # the camera moves over the picture
            view = photo.crop((left, top, left + FRAME[0], top + FRAME[1]))
            container.mux(stream.encode(av.VideoFrame.from_image(view)))
        container.mux(stream.encode())
    return [
        Input("picture", folder / "photo.png", (photo,)),
        Input("2 pages", folder / "pages.pdf", tuple(pages)),
        Input(f"{SECONDS} s", folder / "video.mp4"),
    ]


# One model


@dataclass(frozen=True)
class Line:
    name: str
    input: str
    planned: int
    read: int
    original: int
    seconds: float
    source: str

    @property
    def agrees(self) -> bool:
        return self.planned == self.read == self.original

    def __str__(self) -> str:
        counts = f"{self.planned:9,}{self.read:8,}{self.original:10,}{self.seconds:9.1f}"
        ending = "" if self.agrees else "  DIFFERENT"
        return f"{self.name:30}{self.input:>9}{counts}  {self.source}{ending}"


def lines(entry: AssistantEntry, inputs: Sequence[Input], folder: Path) -> Iterator[Line]:
    setup = SETUPS[entry.family]
    model = with_random_weights(entry)
    for source in setup.sources:
        assistant = assistant_of(entry, model, source, folder)
        name, scheme = entry.alias, entry.scheme
        if source == "hf":
            name, scheme = f"{name} (hf)", f"{scheme}-hf"
        for one in inputs:
            if not one.pictures and not assistant.files.inputs.has_video:
                continue
            start = time.perf_counter()
            read = sum(tokens_read(assistant, given) for given in prompts(one, assistant))
            seconds = time.perf_counter() - start
            planned = entry.photo_tokens * len(one.pictures)
            if scheme:
                planned = file_cost(measure_file(one.file), scheme).total
            original = sum(
                setup.original(source, tuple(given) if one.pictures else None)
                for given in prompts(one, assistant)
            )
            counted = setup.counted if source == "original" else "transformers"
            yield Line(name, one.name, planned, read, original, seconds, counted)


def prompts(one: Input, assistant: LocalAssistant) -> list[list[Any]]:
    """What is shown in each prompt."""
    if not one.pictures:
        return [[str(one.file)]]
    if assistant.files.inputs.most_images == 1:
        return [[picture] for picture in one.pictures]
    return [list(one.pictures)]


def with_random_weights(entry: AssistantEntry) -> Model:
    """The published model, cut to two layers."""
    whole: Any = ASSISTANTS[entry.alias]()  # without numbers
    if isinstance(whole, nn.ModuleList):
        tower, connector, decoder = (part.config for part in whole)
        ids = {"image_ids": (0,)}  # the tokenizer has them
        if isinstance(connector, PerceiverConfig):
            parts = {"tower": tower, "resampler": connector, "decoder": decoder}
            make, config = Flamingo, FlamingoConfig(**parts, **ids)
        else:
            parts = {"tower": tower, "connector": connector, "decoder": decoder}
            make, config = Vlm, VlmConfig(**parts, **ids)
    else:
        make, config = type(whole), whole.config
    parts = {part.name: getattr(config, part.name) for part in fields(config)}
    short = replace(config, **{name: cut(part, entry) for name, part in parts.items()})
    model = blank_model(make, short)
    small = sum(parameter.numel() for parameter in model.parameters()) <= MOST_PARAMETERS
    model = model.to(torch.float32 if small else torch.bfloat16).to_empty(device="cpu").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.fill_(0.1)
            else:
                parameter.uniform_(-0.035, 0.035)
    return model


def cut(part: Any, entry: AssistantEntry) -> Any:
    """The config of a tower or a language model with two layers; others as they are."""
    if isinstance(part, VitConfig):
        return replace(part, depth=LAYERS - 1 - part.layer)  # -2: one more, which is not read
    if isinstance(part, PackedVitConfig):
        deep = tuple(range(LAYERS)) if part.deepstack else ()
        full = (LAYERS - 1,) if part.full_layers else ()
        return replace(part, depth=LAYERS, deepstack=deep, full_layers=full)
    if isinstance(part, DecoderConfig):
        every = part.cross.every if part.cross else LAYERS
        return replace(part, depth=max(LAYERS, every), context=entry.context)
    if isinstance(part, T5Config):
        return replace(part, depth=LAYERS, decoder_depth=LAYERS)
    if entry.family == "BLIP" and hasattr(part, "depth"):
        return replace(part, depth=LAYERS)
    return part


def assistant_of(
    entry: AssistantEntry, model: Model, source: Source, folder: Path
) -> LocalAssistant:
    """The model with a tokenizer that has all marks, and the published settings of pictures."""
    setup = SETUPS[entry.family]
    family, tokenizer = FAMILIES[setup.family], tokenizer_with_marks()
    (folder / QFORMER_WORDS).mkdir(exist_ok=True)
    tokenizer.save(str(folder / QFORMER_WORDS / "tokenizer.json"))
    published = {"model_type": setup.family, **setup.published}
    template = chat_template(family.template(published, tokenizer), source)
    marks = [mark for mark in (template.marks.image, template.marks.video) if mark]
    if not isinstance(model, BlipCaptioner):
        ids = tuple(tokenizer.token_to_id(mark) for mark in marks)
        model.config = replace(model.config, image_ids=ids)
    opened = Opened(folder, model, published, setup.settings, source)
    files = AssistantFiles(
        name=entry.alias,
        model=model,
        inputs=family.inputs(opened),
        tokenizer=tokenizer,
        template=template,
        captions=None,
        end_ids=(),
        decoding=DecodingConfig(),
        context=context_of(model),
        device=torch.device("cpu"),
    )
    return LocalAssistant(files)


def tokens_read(assistant: LocalAssistant, given: list[Any]) -> int:
    """Reads a prompt about these, and returns the tokens that were given to the language model
    beyond the words."""
    request, model = assistant._request(given, QUESTION), assistant.files.model
    words = len(request.ids) - wordless(request.ids)
    if isinstance(model, BlipCaptioner):
        owner, method, words = model, "forward", 0  # which is given the rows of a picture first
    elif isinstance(model, Blip2) and isinstance(model.language, T5):
        owner, method = model.language, "encode"
    else:
        owner, method = model.decoder, "begin"
    lengths, call = [], getattr(owner, method)

    def counting(rows: torch.Tensor, *more: Any, **named: Any) -> Any:
        lengths.append(rows.shape[1])
        return call(rows, *more, **named)

    setattr(owner, method, counting)
    try:
        assistant._reader.read([request])
    finally:
        delattr(owner, method)
    return sum(lengths) - words


# The families


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the files of a family say of preparing pictures, and how its original counts."""

    family: str
    """A key of FAMILIES."""
    original: Original
    published: dict[str, Any] = field(default_factory=dict)
    """Of config.json."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of preprocessor_config.json."""
    sources: tuple[Source, ...] = ("original",)
    """Two where transformers counts otherwise than the authors."""
    counted: str = "transformers"
    """What counts for the source "original"."""


def internvl_setup(template: str) -> Setup:
    published = {"template": template, "dynamic_image_size": True, "use_thumbnail": True}
    published |= {"min_dynamic_patch": 1, "max_dynamic_patch": 12}
    return Setup(family="internvl_chat", original=originals.internvl, published=published)


SETUPS = {
    "LLaVA-1.5": Setup(family="llava", original=originals.llava),
    "LLaVA-NeXT": Setup(
        family="llava_next",
        original=originals.llava_next,
        settings={"image_grid_pinpoints": originals.NEXT_LIST},
        sources=("original", "hf"),
        counted="authors' formula",
    ),
    "LLaVA-OneVision": Setup(
        family="llava_onevision",
        original=originals.onevision,
        settings={"image_grid_pinpoints": originals.ONEVISION_LIST},
        sources=("original", "hf"),
        counted="authors' formula",
    ),
    "InternVL2": internvl_setup("Hermes-2"),
    "InternVL2.5": internvl_setup("internvl2_5"),
    "InternVL3": internvl_setup("internvl2_5"),
    "Qwen-VL": Setup(family="qwen", original=originals.first_qwen, counted="authors' formula"),
    "Qwen2-VL": Setup(family="qwen2_vl", original=originals.qwen("Qwen2VL")),
    "Qwen2.5-VL": Setup(
        family="qwen2_5_vl",
        original=originals.qwen("Qwen2_5_VL"),
        published={"vision_config": {"tokens_per_second": 2}},
    ),
    "Qwen3-VL": Setup(family="qwen3_vl", original=originals.qwen("Qwen3VL")),
    "BLIP": Setup(family="blip", original=originals.blip),
    "BLIP-2": Setup(family="blip-2", original=originals.blip2),
    "InstructBLIP": Setup(family="instructblip", original=originals.instructblip),
    "OpenFlamingo": Setup(
        family="open_flamingo", original=originals.flamingo, counted="authors' formula"
    ),
}

if __name__ == "__main__":
    sys.exit(main())
