"""How many lines the vision-language models take, beside other projects for the same models.

    python benchmarks/lines.py
    python benchmarks/lines.py --peer lavis=LAVIS --peer internvl=InternVL --files

Peers are lavis (salesforce/LAVIS), llava (LLaVA-VL/LLaVA-NeXT), internvl (OpenGVLab/InternVL), qwen
(QwenLM/Qwen-VL) and transformers (the installed package's folder, on which the first four rely).
Each is given as a checkout; `--files` lists every file that was counted.

Counts Python alone; "code" leaves out blank lines, comments, and strings that stand by themselves,
which are docstrings. Training, data sets and evaluation are left out on all sides.

Of seesay, every file counts that answering a question imports, at its top or inside a function,
except for models that only compare (ANSWERS_NOTHING). Of a peer, PEERS names the files that load a
model, prepare its pictures and write an answer. Beside them, "seesay" is our code for the families
that the peer covers, so without the modules of other families (ONLY_FOR); what several share is
counted whole. Most peers leave the language model, the image tower, the tokenizer and generation to
transformers, whose code is added in two steps: for those models, and then what all its models
share, which serves hundreds of others too. After each step stands the ratio, theirs over ours. The
last row has what the projects before it make together.
"""

import argparse
import ast
import io
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from architecture import ROOT, imported

from seesay.inference.families import FAMILIES

SOURCE = ROOT / "src"
ANSWERING = "seesay.inference.assistant"
ANSWERS_NOTHING = {
    # Models that compare pictures with texts; `generation` also writes captions with CoCa.
    "seesay.inference.embedder",
    "seesay.models.dual_encoder",
}
MODELS = {
    "BLIP": {"blip"},
    "BLIP-2": {"blip-2"},
    "InstructBLIP": {"instructblip"},
    "LLaVA": {"llava", "llava of its authors"},
    "LLaVA-NeXT": {"llava_next", "llava of its authors"},
    "LLaVA-OneVision": {"llava_onevision", "llava of its authors"},
    "InternVL": {"internvl", "internvl_chat"},
    "Qwen-VL": {"qwen"},
    "Qwen2-VL": {"qwen2_vl"},
    "Qwen2.5-VL": {"qwen2_5_vl"},
    "Qwen3-VL": {"qwen3_vl"},
    "OpenFlamingo": {"open_flamingo"},
}
"""The families of models, and the keys of FAMILIES that read them."""
BLIPS = {"BLIP", "BLIP-2", "InstructBLIP"}
LLAVAS = {"LLaVA", "LLaVA-NeXT", "LLaVA-OneVision"}
PACKED = {"Qwen2-VL", "Qwen2.5-VL", "Qwen3-VL"}
ONLY_FOR = {
    "seesay.models.blip": BLIPS,  # BLIP-2 reads its image tower with the same rules
    "seesay.weights.blip": BLIPS,
    "seesay.inference.blip_reading": BLIPS,
    "seesay.models.blip2": BLIPS - {"BLIP"},
    "seesay.models.qformer": BLIPS - {"BLIP"},
    "seesay.models.t5": BLIPS - {"BLIP"},
    "seesay.weights.blip2": BLIPS - {"BLIP"},
    "seesay.weights.t5": BLIPS - {"BLIP"},
    "seesay.weights.llava": LLAVAS,
    "seesay.weights.internvl": {"InternVL"},
    "seesay.data.tiling": LLAVAS | {"InternVL"},
    "seesay.weights.qwen_vl": PACKED | {"Qwen-VL"},
    "seesay.models.packed_vit": PACKED,
    "seesay.data.native_resolution": PACKED,
    "seesay.models.flamingo": {"OpenFlamingo"},
    "seesay.weights.flamingo": {"OpenFlamingo"},
}
"""Modules that only some families need. What nothing else imports goes with them."""


@dataclass(frozen=True)
class Peer:
    """What another project has for the same work."""

    title: str
    models: set[str]
    files: tuple[str, ...]
    """Globs below its checkout."""
    borrows: tuple[str, ...]
    """Globs below transformers, for the models that it takes from there, besides SHARED."""
    missing: str
    """What cannot be counted there, or is left out to its favour."""


SHARED = (
    "generation/[clsu]*.py",
    "modeling_[lou]*.py",
    "modeling_rope_utils.py",
    "core_model_loading.py",
    "configuration_utils.py",
    "processing_utils.py",
    "image_*.py",
    "video_*.py",
    "cache_utils.py",
    "masking_utils.py",
    "activations.py",
    "tokenization_utils_*.py",
)
"""What all models of transformers share: generation, loading, pictures and tokenizers."""


def folders(models: str) -> tuple[str, ...]:
    """Globs for models of transformers."""
    return tuple(f"models/{one}/[!_]*.py" for one in models.split())


PEERS = {
    "lavis": Peer(
        "LAVIS",
        BLIPS,
        (
            "lavis/models/__init__.py",
            "lavis/models/base_model.py",
            "lavis/models/med.py",
            "lavis/models/vit.py",
            "lavis/models/eva_vit.py",
            "lavis/models/clip_vit.py",
            "lavis/models/blip_models/__init__.py",
            "lavis/models/blip_models/blip.py",
            "lavis/models/blip_models/blip_caption.py",
            "lavis/models/blip_models/blip_image_text_matching.py",
            "lavis/models/blip_models/blip_outputs.py",
            "lavis/models/blip2_models/Qformer.py",
            "lavis/models/blip2_models/blip2.py",
            "lavis/models/blip2_models/blip2_opt.py",
            "lavis/models/blip2_models/blip2_t5.py",
            "lavis/models/blip2_models/blip2_t5_instruct.py",
            "lavis/models/blip2_models/blip2_vicuna_instruct.py",
            "lavis/models/blip2_models/modeling_llama.py",
            "lavis/models/blip2_models/modeling_t5.py",
            "lavis/processors/__init__.py",
            "lavis/processors/base_processor.py",
            "lavis/processors/blip_processors.py",
            "lavis/common/registry.py",
            "lavis/common/utils.py",
            "lavis/common/dist_utils.py",
        ),
        folders("opt bert"),
        "",
    ),
    "llava": Peer(
        "LLaVA-NeXT",
        LLAVAS,
        (
            "llava/constants.py",
            "llava/conversation.py",
            "llava/mm_utils.py",
            "llava/utils.py",
            "llava/model/__init__.py",
            "llava/model/builder.py",
            "llava/model/llava_arch.py",
            "llava/model/utils.py",
            "llava/model/language_model/llava_llama.py",
            "llava/model/language_model/llava_mistral.py",
            "llava/model/language_model/llava_qwen.py",
            "llava/model/multimodal_encoder/builder.py",
            "llava/model/multimodal_encoder/clip_encoder.py",
            "llava/model/multimodal_encoder/siglip_encoder.py",
            "llava/model/multimodal_projector/*.py",
            "llava/model/multimodal_resampler/builder.py",
            "llava/serve/cli.py",
        ),
        folders("clip llama mistral qwen2"),
        "",
    ),
    "internvl": Peer(
        "InternVL",
        {"InternVL"},
        (
            "internvl_chat/internvl/conversation.py",
            "internvl_chat/internvl/model/**/*.py",
        ),
        folders("llama qwen2"),
        "tiling of pictures and frames of videos, which are among its data sets for training, and "
        "the code that each published model brings on the hub",
    ),
    "qwen": Peer(
        "Qwen-VL",
        {"Qwen-VL"},
        (),
        (),
        "model, image tower, tokenizer and generation, which are on the hub with the weights; its "
        "repository has a demo, a server, fine-tuning and evaluation alone",
    ),
    "transformers": Peer(
        "transformers",
        set(MODELS) - {"Qwen-VL", "OpenFlamingo"},
        folders(
            "blip blip_2 instructblip llava llava_next llava_onevision internvl qwen2_vl "
            "qwen2_5_vl qwen3_vl clip siglip llama mistral qwen2 qwen3 opt t5 bert"
        )
        + SHARED,
        (),
        "InternLM2 and Phi-3 as InternVL has them, which are on the hub",
    ),
}


@dataclass(frozen=True)
class Lines:
    files: int = 0
    all: int = 0
    code: int = 0

    def __add__(self, other: "Lines") -> "Lines":
        return Lines(self.files + other.files, self.all + other.all, self.code + other.code)


SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def count(text: str) -> Lines:
    """Counts the lines of a file."""
    lines, code = text.splitlines(), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT:
            code |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return Lines(1, len(lines), sum(bool(lines[number - 1].strip()) for number in code))


def count_all(files: Iterable[Path]) -> Lines:
    return sum((count(file.read_text(encoding="utf-8")) for file in files), Lines())


def modules(models: Iterable[str]) -> dict[str, Path]:
    """The modules of seesay that some families of models take to answer a question."""
    found = {
        ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): file
        for file in SOURCE.rglob("*.py")
    }
    known, read = set().union(*MODELS.values()), FAMILIES.keys()
    if known != read or not ONLY_FOR.keys() | ANSWERS_NOTHING <= found.keys():
        raise SystemExit(
            f"the tables of {Path(__file__).name} are out of date; expected the families "
            f"{sorted(read)} and modules that exist: correct MODELS, ONLY_FOR and ANSWERS_NOTHING"
        )
    others = {name for name, needed in ONLY_FOR.items() if not needed & set(models)}
    chosen, waiting = dict[str, Path](), [ANSWERING]
    while waiting:
        name = waiting.pop()
        if name in found and name not in chosen.keys() | others | ANSWERS_NOTHING:
            chosen[name] = found[name]
            waiting += imported(ast.parse(found[name].read_text(encoding="utf-8")))
    return chosen


def files_of(globs: Iterable[str], checkout: Path) -> list[Path]:
    """The files that match, each once. What transformers generates from `modular_` files is
    counted, and these are not."""
    files = set[Path]()
    for glob in globs:
        matches = set(checkout.glob(glob))
        if not matches:
            raise SystemExit(
                f"{checkout} has no {glob}, expected a checkout with it: give another folder or "
                "version, or correct the globs"
            )
        files |= matches
    return sorted(file for file in files if not file.name.startswith("modular_"))


def parse() -> tuple[dict[str, Path], bool]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=CHECKOUT")
    parser.add_argument("--files", action="store_true", help="list every file that was counted")
    arguments = parser.parse_args()
    given = dict(one.partition("=")[::2] for one in arguments.peer)
    if not given.keys() <= PEERS.keys():
        parser.error(f"peers {', '.join(given)} given, expected some of {', '.join(PEERS)}")
    return {name: Path(path) for name, path in given.items()}, arguments.files


def print_seesay() -> None:
    rooms = dict.fromkeys(("models", "weights", "inference", "data", "rest"), Lines())
    for name, file in modules(MODELS).items():
        room = name.split(".")[1]
        rooms[room if room in rooms else "rest"] += count_all([file])
    print(f"{'seesay':14}{'files':>8}{'lines':>9}{'code':>9}")
    for room, lines in {**rooms, "all": sum(rooms.values(), Lines())}.items():
        print(f"{room:14}{lines.files:>8}{lines.all:>9,}{lines.code:>9,}")
    print("families:", ", ".join(MODELS), end="\n\n")


def print_peer(peer: Peer, files: list[Path], library: Path | None) -> None:
    """Prints a row; `library` is the folder of transformers."""
    own, ours = count_all(files), count_all(modules(peer.models).values()).code
    families = f"{len(peer.models)} of {len(MODELS)}"
    row = f"{peer.title:14}{families:>9}{own.files:>7}{own.all:>9,}{ours:>9,}"
    steps, theirs = [own.code], 0
    if library is not None:
        steps += [count_all(files_of(globs, library)).code for globs in (peer.borrows, SHARED)]
    for step in steps if files else ():
        theirs += step
        row += f"{step:>9,}{theirs / ours:>7.2f}"
    print(row)


def main() -> None:
    given, listed = parse()
    print_seesay()
    files = {name: files_of(PEERS[name].files, checkout) for name, checkout in given.items()}
    library = given.get("transformers")
    columns = "families  files    lines   seesay     code  ratio"
    more = "  +models  ratio  +shared  ratio" if library else ""
    print(f"{'peer':15}{columns}{more}")
    projects = [PEERS[name] for name in given if name != "transformers"]
    for name in given:
        print_peer(PEERS[name], files[name], library if PEERS[name] in projects else None)
    counted = [name for name in given if PEERS[name] in projects and files[name]]
    if len(counted) > 1:
        models = set().union(*(PEERS[name].models for name in counted))
        borrows = tuple(glob for name in counted for glob in PEERS[name].borrows)
        every = [file for name in counted for file in files[name]]
        print_peer(Peer("together", models, (), borrows, ""), every, library)
    for name in given:
        if PEERS[name].missing:
            print(f"Could not be counted of {PEERS[name].title}: {PEERS[name].missing}.")
    if listed:
        every = [*modules(MODELS).values(), *(file for name in given for file in files[name])]
        print(*every, sep="\n")


if __name__ == "__main__":
    main()
