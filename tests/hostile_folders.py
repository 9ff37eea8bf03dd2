"""Model folders that a stranger may hand over: each has one thing wrong, meant to crash, to hang,
to fill the memory, or to reach out of the folder. Run as a program, it loads every folder that it
is given the names of and prints a line of JSON about each.
"""

import base64
import gzip
import io
import json
import os
import pickle
import resource
import shutil
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

Change = Callable[[Path], None]
HUGE = 10**12


def in_json(name: str, *keys: str, value: object) -> Change:
    """Set one value in a JSON file of the folder."""

    def change(folder: Path) -> None:
        whole = inner = json.loads((folder / name).read_text())
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (folder / name).write_text(json.dumps(whole))

    return change


def content(name: str, data: bytes | str) -> Change:
    """Replace a file."""
    data = data.encode() if isinstance(data, str) else data
    return lambda folder: (folder / name).write_bytes(data) and None


def place(name: str, make: Callable[[Path], object]) -> Change:
    """Put something else than a plain file in the place of one."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def sparse(path: Path) -> None:
    """A file of 8 GB that takes no room."""
    with path.open("wb") as stream:
        stream.truncate(8 << 30)


SPECIAL_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "loop of links": lambda path: path.symlink_to(path),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "8 GB": sparse,
}


def special_files() -> Iterator[tuple[str, Change]]:
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"):
        for kind, make in SPECIAL_FILES.items():
            yield f"{name} is a {kind}", place(name, make)


def vision(key: str, value: object) -> Change:
    return in_json("config.json", "vision_config", key, value=value)


def text(key: str, value: object) -> Change:
    return in_json("config.json", "text_config", key, value=value)


def preprocessing(text: str) -> Change:
    return content("preprocessor_config.json", text)


CONFIGS: dict[str, Change] = {
    "width of 10^12": vision("hidden_size", HUGE),
    "width of 10^400": vision("hidden_size", 10**400),
    "10^9 image layers": vision("num_hidden_layers", 10**9),
    "10^6 text layers": text("num_hidden_layers", 10**6),
    "10^12 words": text("vocab_size", HUGE),
    "10^10 places": text("max_position_embeddings", 10**10),
    "side of 10^9": vision("image_size", 10**9),
    "2^24 everywhere": lambda folder: (
        [vision(key, 1 << 24)(folder) for key in ("hidden_size", "intermediate_size", "image_size")]
        and None
    ),
    "patch of 0": vision("patch_size", 0),
    "patch of -8": vision("patch_size", -8),
    "patch of 2^23": vision("patch_size", 1 << 23),
    "0 heads": vision("num_attention_heads", 0),
    "-1 heads": vision("num_attention_heads", -1),
    "width true": vision("hidden_size", True),
    "width 32.0": vision("hidden_size", 32.0),
    "width null": vision("hidden_size", None),
    "width a list": vision("hidden_size", [32]),
    "layers a text": text("num_hidden_layers", "3"),
    "eps 0": vision("layer_norm_eps", 0),
    "eps a text": vision("layer_norm_eps", "1e-5"),
    "eps NaN": vision("layer_norm_eps", float("nan")),
    "eps 1e999": lambda folder: content(
        "config.json", (folder / "config.json").read_text().replace("1e-05", "1e999")
    )(folder),
    "activation a list": vision("hidden_act", ["gelu"]),
    "eos -5": text("eos_token_id", -5),
    "eos a list": text("eos_token_id", [98]),
    "embedding of 2^40": in_json("config.json", "projection_dim", value=1 << 40),
    "half a text": in_json("config.json", "vision_config", value="ViT-B/32"),
    "half a list": in_json("config.json", "text_config", value=[1, 2]),
    "family a list": in_json("config.json", "model_type", value=["clip"]),
    "deep nesting": content("config.json", "[" * 200_000),
    "deep objects": content("config.json", '{"a":' * 200_000),
    "number of 5,000 digits": content("config.json", '{"model_type": ' + "9" * 5000 + "}"),
    "a key twice": content("config.json", '{"model_type": "clip", "model_type": "siglip"}'),
    "not UTF-8": content("config.json", b'{"model_type": "\xff\xfe"}'),
    "UTF-16": content("config.json", '{"model_type": "clip"}'.encode("utf-16")),
    "10 million values": content("config.json", "[" + "[]," * 5_000_000 + "[]]"),
    "pictures of 10^9": preprocessing('{"size": 1000000000, "crop_size": 1000000000}'),
    "pictures of -1": preprocessing('{"size": -1, "crop_size": -1}'),
    "pictures of a text": preprocessing('{"size": "224"}'),
    "mean of nothing": preprocessing('{"image_mean": []}'),
    "std of 0": preprocessing('{"image_std": [0, 0, 0]}'),
    "unknown filter": preprocessing('{"resample": 99}'),
    "filter a list": preprocessing('{"resample": [3]}'),
}


def header(described: object, data: bytes = b"") -> Change:
    """A safetensors file with this description."""
    told = described if isinstance(described, bytes) else json.dumps(described).encode()
    return content("model.safetensors", struct.pack("<Q", len(told)) + told + data)


def described(**changes: object) -> Change:
    return header({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}, b"0" * 8)


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """Other tensors under the right names."""

    def rewrite(folder: Path) -> None:
        values = load_file(folder / "model.safetensors")
        change(values)
        save_file(values, folder / "model.safetensors")

    return rewrite


def index(weight_map: object) -> Change:
    """An index in the place of the weights."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        told = json.dumps({"weight_map": weight_map})
        (folder / "model.safetensors.index.json").write_text(told)

    return change


def pickled(data: bytes | Callable[[Path], bytes]) -> Change:
    """A pickle in the place of the weights."""

    def change(folder: Path) -> None:
        whole = data if isinstance(data, bytes) else data(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(whole)

    return change


def saved(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def write(weights: Path) -> bytes:
        values = load_file(weights)
        change(values)
        stream = io.BytesIO()
        torch.save(values, stream)
        return stream.getvalue()

    return pickled(write)


def bomb(weights: Path) -> bytes:
    """A zip of 4 GB of zeros."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        with archive.open("archive/data/0", "w", force_zip64=True) as part:
            for _ in range(64):
                part.write(bytes(1 << 26))
    return stream.getvalue()


def many_parts(weights: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(120_000):
            archive.writestr(f"archive/data/{number}{'x' * 60}", b"")
    return stream.getvalue()


def archived(data: bytes) -> Change:
    """A pickle inside an archive as torch.save writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")
    return pickled(stream.getvalue())


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("echo code from a checkpoint ran",))


def enlarged(values: dict[str, torch.Tensor]) -> None:
    """One number, shown as 10^12."""
    values["logit_scale"] = torch.ones(1).expand(10**6, 10**6)


NAME = "text_model.final_layer_norm.weight"
WEIGHTS: dict[str, Change] = {
    "empty": content("model.safetensors", b""),
    "header of 2^63 bytes": content("model.safetensors", struct.pack("<Q", 1 << 63) + b"{}"),
    "header longer than the file": content("model.safetensors", struct.pack("<Q", 999) + b"{}"),
    "header of 100 MB": header(b" " * 100_000_000),
    "header deeply nested": header(b'{"x":' * 100_000),
    "header not UTF-8": header(b'{"\xff": 1}'),
    "offsets beyond the file": described(data_offsets=[0, 1 << 40]),
    "offsets backwards": described(data_offsets=[8, 0]),
    "negative shape": described(shape=[-2]),
    "shape of 2^80": described(shape=[1 << 40, 1 << 40]),
    "unknown type": described(dtype="F1024"),
    "type that torch lacks": described(dtype="F4"),
    "other names": described(),
    "whole numbers": tensors(lambda t: t.update({NAME: torch.ones(32, dtype=torch.int64)})),
    "complex numbers": tensors(lambda t: t.update({NAME: torch.ones(32, dtype=torch.complex64)})),
    "a scalar for a matrix": tensors(lambda t: t.update({NAME: torch.ones(())})),
    "index out of the folder": index({"x": "../../secret.safetensors"}),
    "index to an absolute path": index({"x": "/etc/passwd"}),
    "index to itself": index({"x": "model.safetensors.index.json"}),
    "index to the config": index({"x": "config.json"}),
    "index to its folder": index({"x": "."}),
    "index of numbers": index({"x": 1, "y": "a"}),
    "index of lists": index({"x": ["a"]}),
    "index a list": index(["a"]),
    "index of 100,000 shards": index({str(n): f"{n}.safetensors" for n in range(100_000)}),
    "a zero byte in a name": index({"x": "a\0b"}),
    "pickle that runs code": pickled(pickle.dumps({"weight": RunsCode()}, protocol=2)),
    "archive that runs code": archived(pickle.dumps({"weight": RunsCode()}, protocol=2)),
    "archive of a list": archived(pickle.dumps([1, 2], protocol=2)),
    "archive of a number": archived(pickle.dumps({"weight": 1}, protocol=2)),
    "archive cut short": saved(lambda t: None),
    "archive without its numbers": archived(
        b"\x80\x02((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpuL1000000000000L\ntQ."
    ),
    "archive of a text of 4 GB": archived(b"\x80\x02X\xff\xff\xff\xffabc."),
    "archive of 10^10 bytes": archived(
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\xe4\x0bT\x02\x85R."
    ),
    "pickle that fills 10^10 bytes": pickled(b"\x80\x02cbuiltins\nbytearray\n."),
    "archive nested deeply": archived(b"\x80\x02" + b"]" * 500_000 + b"a" * 499_999 + b"."),
    "archive that pops too much": archived(b"\x80\x0200000."),
    "archive of no pickle": archived(b"text"),
    "zip bomb": pickled(bomb),
    "zip of 120,000 parts": pickled(many_parts),
    "one number as 10^12": saved(enlarged),
    "sparse tensor": saved(lambda t: t.update({NAME: torch.ones(32).to_sparse()})),
    "meta tensor": saved(lambda t: t.update({NAME: torch.ones(32, device="meta")})),
}


def cut(change: Change) -> Change:
    def halve(folder: Path) -> None:
        change(folder)
        data = (folder / "pytorch_model.bin").read_bytes()
        (folder / "pytorch_model.bin").write_bytes(data[: len(data) // 2])

    return halve


WEIGHTS["archive cut short"] = cut(WEIGHTS["archive cut short"])


def tokenizer(**changes: object) -> Change:
    """Other parts in tokenizer.json."""

    def change(folder: Path) -> None:
        whole = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps(whole | changes))

    return change


def instead(name: str, data: bytes | str) -> Change:
    """Another kind of vocabulary."""

    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        content(name, data)(folder)

    return change


def charsmap(data: bytes) -> dict[str, str]:
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}


def added(**changes: object) -> list[dict[str, object]]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return [{"id": 0, "content": "[X]"} | flags | changes]


def frame(*single: dict[str, object]) -> dict[str, object]:
    return {
        "type": "TemplateProcessing",
        "single": list(single),
        "pair": [],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }


TEXT, MARK = ({"Sequence": {"id": i, "type_id": 0}} for i in ("A", "B"))
GROW = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
TOKENIZERS: dict[str, Change] = {
    "tokenizer cut short": content("tokenizer.json", '{"version": "1.0", "model'),
    "tokenizer a list": content("tokenizer.json", "[]"),
    "tokenizer without a model": content("tokenizer.json", "{}"),
    "tokenizer of deep nesting": content("tokenizer.json", "[" * 200_000),
    "10 million lists": content("tokenizer.json", '{"a": [' + "[]," * 10_000_000 + "[]]}"),
    "model of no type": tokenizer(model={"vocab": {"a": 0}}),
    "id of 2^32": tokenizer(
        model={"type": "WordLevel", "vocab": {"a": 2**32 - 1}, "unk_token": "a"}
    ),
    "id beyond the tower's": tokenizer(
        model={"type": "WordLevel", "vocab": {"a": 500}, "unk_token": "a"}, post_processor=None
    ),
    "two tokens of one id": tokenizer(
        model={"type": "WordLevel", "vocab": {"a": 1, "b": 1}, "unk_token": "a"}
    ),
    "no unknown": tokenizer(model={"type": "WordLevel", "vocab": {"b": 1}, "unk_token": "c"}),
    "pairs with a broken prefix": tokenizer(
        model={
            "type": "BPE",
            "vocab": {"a": 0, "狗": 1, "a狗": 2},
            "merges": ["a 狗"],
            "continuing_subword_prefix": "é",
        }
    ),
    "pairs that make no token": tokenizer(
        model={"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}
    ),
    "unigram without an unknown": tokenizer(
        model={"type": "Unigram", "vocab": [["b", -1.0]], "unk_id": None}
    ),
    "unigram with a wrong unknown": tokenizer(
        model={"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 77}
    ),
    "words of 10^9 letters": tokenizer(
        model={
            "type": "WordPiece",
            "vocab": {"a": 0},
            "unk_token": "a",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 10**9,
        }
    ),
    "charsmap of 4 GB": tokenizer(normalizer=charsmap(b"\xff\xff\xff\xff\x00")),
    "charsmap that leads out": tokenizer(
        normalizer=charsmap(struct.pack("<II", 4, 0xFFFFFFFC) + b"\0")
    ),
    "charsmap no base64": tokenizer(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "狗"}
    ),
    "ten replacements": tokenizer(normalizer={"type": "Sequence", "normalizers": [GROW] * 10}),
    "ten replacements in decoding": tokenizer(
        decoder={"type": "Sequence", "decoders": [GROW] * 10}
    ),
    "broken regex": tokenizer(
        normalizer={"type": "Replace", "pattern": {"Regex": "("}, "content": ""}
    ),
    "regex without end": tokenizer(
        model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
        normalizer={"type": "Prepend", "prepend": "a" * 16},
        pre_tokenizer={**SPLIT, "pattern": {"Regex": "^(a+)+$!|((a|aa)+)+!"}},
    ),
    "regex nested deeply": tokenizer(
        pre_tokenizer={**SPLIT, "pattern": {"Regex": "(" * 20_000 + ")" * 20_000}}
    ),
    "pieces of no letters": tokenizer(pre_tokenizer={"type": "FixedLength", "length": 0}),
    "frame of an unknown mark": tokenizer(
        post_processor=frame({"SpecialToken": {"id": "[X]", "type_id": 0}}, TEXT)
    ),
    "frame without the text": tokenizer(post_processor=frame()),
    "frame of another text": tokenizer(post_processor=frame(MARK)),
    "frame with the text 3 times": tokenizer(post_processor=frame(TEXT, TEXT, TEXT)),
    "frame longer than a row": tokenizer(
        post_processor=frame(*[{"SpecialToken": {"id": "<s>", "type_id": 0}}] * 50, TEXT)
    ),
    "frame of huge ids": tokenizer(
        post_processor={"type": "BertProcessing", "sep": ["x", 2**32 - 1], "cls": ["y", 99_999]}
    ),
    "added id of 2^32": tokenizer(added_tokens=added(id=2**32 - 1)),
    "added id a text": tokenizer(added_tokens=added(id="0")),
    "vocab.txt not UTF-8": instead("vocab.txt", b"\xff\xfe\x00"),
    "vocab.txt of 2 million lines": instead("vocab.txt", "\n" * 2_000_000),
    "vocab.txt of one line": instead("vocab.txt", "x" * 20_000_000),
    "vocab.txt without marks": instead("vocab.txt", "the\nof\n"),
    "packed merges cut short": instead("bpe_simple_vocab_16e6.txt.gz", b"\x1f\x8b\x08\x00cut"),
    "packed merges of 1 GB": instead(
        "bpe_simple_vocab_16e6.txt.gz", gzip.compress(bytes(1 << 30), compresslevel=1)
    ),
    "spiece.model empty": instead("spiece.model", b""),
    "spiece.model of endless digits": instead("spiece.model", b"\xff" * 4_000_000),
    "spiece.model cut short": instead("spiece.model", b"\x0a\xff\x01"),
    "spiece.model of 3 million pieces": instead("spiece.model", b"\x0a\x00" * 3_000_000),
    "spiece.model with a charsmap of 4 GB": instead(
        "spiece.model", b"\x0a\x03\x0a\x01a\x1a\x07\x12\x05\xff\xff\xff\xff\x00"
    ),
    "spiece.model with groups": instead("spiece.model", b"\x0b\x0c"),
}


def in_seesay_json(*keys: str, value: object) -> Change:
    return in_json("seesay.json", "model", *keys, value=value)


OWN: dict[str, Change] = {
    "own: tower a list": in_seesay_json("image", "tower", value=["vit"]),
    "own: layers 1.5": in_seesay_json("image", "depth", value=1.5),
    "own: 10^9 layers": in_seesay_json("image", "depth", value=10**9),
    "own: width a text": in_seesay_json("text", "dim", value="16"),
    "own: unknown activation": in_seesay_json("text", "activation", value="boom"),
    "own: embedding of 2^40": in_seesay_json("embed_dim", value=1 << 40),
    "own: scale a text": in_seesay_json("scale_init", value="10"),
    "own: model a list": in_json("seesay.json", "model", value=[]),
    "own: model a number": in_json("seesay.json", "model", value=3),
    "own: transform null": in_json("seesay.json", "transform", value=None),
    "own: tokenizer a list": in_json("seesay.json", "tokenizer", value=[1]),
    "own: a tower for texts": in_seesay_json("image", "tower", value="text"),
    "own: captioner a list": in_seesay_json("captioner", value=[1]),
    "own: generation a text": in_json("seesay.json", "generation", value="slow"),
    "own: beams a text": in_json("seesay.json", "generation", value={"beams": "4"}),
    "own: no beams": in_json("seesay.json", "generation", value={"beams": 0}),
    "own: family a list": in_json("seesay.json", "family", value=["dual_encoder"]),
    "own: pictures of 10^9": in_json("seesay.json", "transform", "size", value=10**9),
    "own: rows of 10^9": in_json("seesay.json", "tokenizer", "context", value=10**9),
    "own: padding of 10^9": in_json("seesay.json", "tokenizer", "pad_id", value=10**9),
    "own: unknown cleaning": in_json("seesay.json", "tokenizer", "clean", value="boil"),
}


def write_all(clip: Path, own: Path, to: Path) -> list[Path]:
    """Every hostile folder, made from a good one of Hugging Face's layout and one of ours."""
    folders = []
    changes = {**CONFIGS, **WEIGHTS, **TOKENIZERS, **dict(special_files())}
    for name, change in {**changes, **OWN}.items():
        folders.append(
            shutil.copytree(clip if name in changes else own, to / name.replace("/", "-"))
        )
        change(folders[-1])
    return folders


def peak_mib() -> int:
    """The most memory of this process. Linux lets `ru_maxrss` begin at what the parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(folders: list[str]) -> None:
    from seesay.weights.bundle import load_bundle

    for folder in folders:
        start = time.process_time()
        try:
            load_bundle(Path(folder))
            kinds, message = ["loaded"], ""
        except BaseException as error:
            kinds, message = [kind.__name__ for kind in type(error).__mro__], str(error)
        row = {
            "name": Path(folder).name,
            "kinds": kinds,
            "message": message[:2000],
            "seconds": time.process_time() - start,
            "mib": peak_mib(),
        }
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
