"""Has ms-swift or LLaMA-Factory read what `seesay data convert` wrote, by their own loaders.

Each parses the configuration as its command does, loads the data, and encodes every sample for a
tiny model of the Qwen3-VL family that is made here. What is counted is what stands in the ids: a
picture that is missing, or a placeholder without one, would be missed.

    python benchmarks/peers/finetuning_loaders.py llama-factory FOLDER  # of `seesay data convert`
    python benchmarks/peers/finetuning_loaders.py ms-swift --save       # the samples of the tests

It runs where a toolkit is installed, beside this package and the references of tests:

    python -m venv peers && pip install --no-deps ms-swift==4.6.0 datasets==4.8.4 (or
    llamafactory==0.9.5 datasets==4.0.0) transformers==5.6.0 trl==0.24.0 peft==0.18.1 ...

with PYTHONPATH=src:tests. LLaMA-Factory imports torchaudio, which has no build for a CPU's torch;
an empty module stands in its place, as no sample has sound.
"""

import argparse
import importlib.machinery
import io
import json
import os
import re
import sys
import tempfile
import types
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from tokenizers import pre_tokenizers

import torchvision_shim  # noqa: F401  # before transformers
from conversation_samples import write_samples
from made_videos import RED, WHITE, write_scenes
from seesay.data.conversations.converting import ConvertConfig, convert, records_config

HERE = Path(__file__).resolve().parents[2]
SAVED = HERE / "tests" / "data" / "conformance"
MARKS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
PACKAGES = {"ms-swift": "ms-swift", "llama-factory": "llamafactory"}


def tiny_model(folder: Path) -> Path:
    """The configuration, tokenizer (of bytes) and processor of a Qwen3-VL without weights."""
    from transformers import (
        Qwen2TokenizerFast,
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    vocab = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Qwen2TokenizerFast(
        vocab=vocab,
        merges=[],
        unk_token=None,
        additional_special_tokens=list(MARKS[1:]),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    images = Qwen2VLImageProcessor(patch_size=16, merge_size=2)
    processor = Qwen3VLProcessor(
        image_processor=images, tokenizer=tokenizer, video_processor=Qwen3VLVideoProcessor()
    )
    processor.save_pretrained(folder)
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{mark}|>")
        for name, mark in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    config = Qwen3VLConfig(
        text_config=dict(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
        ),
        vision_config=dict(
            depth=1,
            hidden_size=32,
            intermediate_size=64,
            num_heads=2,
            out_hidden_size=32,
            deepstack_visual_indexes=[0],
        ),
        **ids,
    )
    config.architectures = ["Qwen3VLForConditionalGeneration"]
    config.save_pretrained(folder)
    return folder


def by_llama_factory(name: str, model: Path) -> Iterator[dict[str, Any]]:
    """What `llamafactory-cli train` would train on, sample by sample."""
    stub = types.ModuleType("torchaudio")
    stub.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = stub
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    settings = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    settings |= {"model_name_or_path": str(model), "bf16": False, "use_cpu": True}
    models, data, training, *_ = get_train_args(settings)
    module = load_tokenizer(models)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data)
    stage = "rm" if settings["stage"] == "dpo" else settings["stage"]  # as its trainer of DPO says
    sets = get_dataset(template, models, data, training, stage=stage, **module)
    for row in sets["train_dataset"]:
        chosen = row.get("input_ids") or row["chosen_input_ids"]
        yield _arrived(
            module["tokenizer"],
            chosen,
            row.get("rejected_input_ids"),
            len(row["images"] or ()),
            len(row["videos"] or ()),
        )


def by_ms_swift(name: str, model: Path) -> Iterator[dict[str, Any]]:
    """What `swift sft` and `swift rlhf` would train on, sample by sample."""
    from swift.arguments import RLHFArguments, SftArguments
    from swift.cli.main import parse_yaml_args
    from swift.dataset import load_dataset
    from swift.model import get_processor
    from swift.utils import parse_args

    argv = [name]
    parse_yaml_args(argv)
    preference = "--rlhf_type" in argv
    for option, value in (("--model", str(model)), ("--torch_dtype", "float32")):
        argv[argv.index(option) + 1] = value
    args, unused = parse_args(RLHFArguments if preference else SftArguments, argv)
    if unused:
        raise SystemExit(f"{name} has options that ms-swift does not know: {unused}")
    rows, _ = load_dataset(args.dataset, **args.get_dataset_kwargs())
    processor = get_processor(args.model)
    template = args.get_template(processor)
    template.set_mode("rlhf" if preference else "train")
    for row in rows:
        encoded = template.encode(row)
        prefix = "chosen_" if preference else ""
        counts = (
            len(encoded[grid]) if (grid := f"{prefix}{media}_grid_thw") in encoded else 0
            for media in ("image", "video")
        )
        ids = encoded[f"{prefix}input_ids"]
        yield _arrived(processor.tokenizer, ids, encoded.get("rejected_input_ids"), *counts)


def _arrived(
    tokenizer: Any, ids: list[int], rejected: list[int] | None, images: int, videos: int
) -> dict[str, Any]:
    """The text of a sample, with the placeholders of each picture as one."""
    texts = [tokenizer.decode(one) for one in (ids, rejected) if one is not None]
    texts = [re.sub(r"(<\|(image|video)_pad\|>)+", r"\1", text) for text in texts]
    whole = re.sub(r"<\|im_start\|>assistant\n(?=<think>)", "", texts[0])
    return {
        "texts": texts,
        "images": images,
        "image_tokens": whole.count("<|image_pad|>"),
        "videos": videos,
        "video_tokens": "<|video_pad|>" in whole,
    }


def load(toolkit: str, folder: Path, model: Path) -> dict[str, list[dict[str, Any]]]:
    """What arrives by each configuration in a folder, which the toolkit reads from inside it."""
    load_one = by_ms_swift if toolkit == "ms-swift" else by_llama_factory
    before = Path.cwd()
    os.chdir(folder)
    try:
        names = [name for name in ("sft.yaml", "dpo.yaml") if Path(name).exists()]
        return {name: list(load_one(name, model)) for name in names}
    finally:
        os.chdir(before)


def counts(folder: Path, arrived: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A line for each file of data: samples and pictures written, and arrived."""
    lines = []
    for name, samples in arrived.items():
        file = folder / {"sft.yaml": "train.jsonl", "dpo.yaml": "preferences.jsonl"}[name]
        rows = [json.loads(row) for row in file.read_text(encoding="utf-8").splitlines()]
        written = [len(row.get("images") or ()) for row in rows]
        images = [one["images"] for one in samples]
        tokens = [one["image_tokens"] for one in samples]
        same = written == images == tokens
        videos = sum(len(row.get("videos") or ()) for row in rows)
        lines.append(
            f"{file.name}: {len(samples)} of {len(rows)} samples, {sum(tokens)} of {sum(written)} "
            f"pictures, {sum(one['video_tokens'] for one in samples)} of {videos} videos"
            f"{'' if same else ': NOT THE SAME'}"
        )
    return lines


def save(toolkit: str, folder: Path, model: Path) -> None:
    """Loads the samples of the tests in each form, and keeps what arrived for the tests."""
    video = io.BytesIO()
    clip = folder / "made.mp4"
    write_scenes(clip, [RED, WHITE], size=(64, 64))
    video.write(clip.read_bytes())
    samples = write_samples(folder / "samples", video.getvalue())
    targets = ["ms-swift"] if toolkit == "ms-swift" else ["llama-factory", "llama-factory-alpaca"]
    for target in targets:
        out = folder / target
        convert(ConvertConfig(records=records_config(str(samples)), target=target, copy=True), out)
        arrived = load(toolkit, out, model)
        print(target, *counts(out, arrived), sep="\n  ")
        texts = {
            file.name: file.read_text(encoding="utf-8")
            for file in sorted(out.iterdir())
            if file.is_file()
        }
        saved = {
            "toolkit": PACKAGES[toolkit],
            "versions": {p: version(p) for p in (PACKAGES[toolkit], "transformers", "datasets")},
            "files": texts,
            "arrived": arrived,
        }
        SAVED.mkdir(exist_ok=True)
        text = json.dumps(saved, ensure_ascii=False, indent=1)
        (SAVED / f"{target}.json").write_text(f"{text}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("toolkit", choices=sorted(PACKAGES))
    parser.add_argument("folder", type=Path, nargs="?", help="written by seesay data convert")
    parser.add_argument("--save", action="store_true", help="keep what arrives for the tests")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name in ("HF_HOME", "MODELSCOPE_CACHE"):  # nothing from an earlier run
            os.environ[name] = f"{place}/{name}"
        os.environ["HF_HUB_OFFLINE"] = "1"
        # ms-swift tells the model from an embedder of the same shape by its name.
        model = tiny_model(Path(place) / "Qwen3-VL-2B-Instruct")
        if given.save:
            save(given.toolkit, Path(place), model)
        if given.folder:
            print(*counts(given.folder, load(given.toolkit, given.folder, model)), sep="\n")


if __name__ == "__main__":
    main()
