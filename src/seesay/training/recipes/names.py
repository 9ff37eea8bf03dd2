"""Which setting was meant by a name that is none."""

import difflib
from collections.abc import Sequence

Path = tuple[str, ...]

# What other toolkits call a setting -> what it is called here.
CALLED: dict[str, str] = {
    "learning": "lr",
    "learning_rate": "lr",
    "base_lr": "lr",
    "min_lr": "final",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "wd": "weight_decay",
    "decay": "weight_decay",
    "amp": "precision",
    "bf16": "precision",
    "bfloat16": "precision",
    "fp16": "precision",
    "float16": "precision",
    "fp32": "precision",
    "dtype": "precision",
    "batch_size": "batch",
    "num_workers": "workers",
    "max_steps": "steps",
    "num_epochs": "epochs",
    "output_dir": "folder",
    "output": "folder",
    "accum_freq": "accumulate",
    "gradient_accumulation_steps": "accumulate",
    "grad_clip": "clip_norm",
    "grad_clip_norm": "clip_norm",
    "max_grad_norm": "clip_norm",
    "grad_checkpointing": "recompute",
    "gradient_checkpointing": "recompute",
    "lock": "freeze",
    "locked": "freeze",
    "pretrained": "start",
    "width": "dim",
    "hidden_size": "dim",
    "layers": "depth",
    "num_layers": "depth",
    "num_heads": "heads",
    "mlp_dim": "hidden",
    "intermediate_size": "hidden",
    "max_length": "context",
    "dropout_rate": "dropout",
    "loss_weight": "weight",
    "save_every": "every",
    "hflip": "flip",
}


def meant(name: str, wanted: Sequence[str], at: Path, known: Sequence[Path]) -> str:
    """The question or list for a name that is no setting of the section `at`, which wants `wanted`;
    `known` are the paths of all settings."""
    elsewhere = [path for path in known if path[-1] == name]
    called = CALLED.get(name.lower(), "")
    # The same name in another section is likelier than a name that is only somewhat alike.
    near = difflib.get_close_matches(name, wanted, n=1, cutoff=0.75 if elsewhere else 0.6)
    there = elsewhere or [path for path in known if path[-1] == called]
    if called in wanted or near:
        return f"did you mean {show((*at, called if called in wanted else near[0]))}?"
    if there:
        return f"did you mean {show(there[0])}?"
    return f"expected one of {', '.join(wanted)}"


def show(path: Sequence[str]) -> str:
    return ".".join(path) or "the recipe"
