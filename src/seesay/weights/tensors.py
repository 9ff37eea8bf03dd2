"""Puts published tensors into one of our models, or reports exactly why they do not fit.

A rule table is a plain dict. The key is the published name with `{}` for layer numbers; the value
is our name, a tuple of our names (the tensor is cut into that many equal parts, as for fused
query/key/value), `Grouped` if they are fused head by head, `Transposed`, `Patches` or `Flattened`
for a matrix published in another form, or None (known and not wanted). Reading takes no more memory
than the size of the files.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seesay.data.model_files import MIB, plain_size, read_json
from seesay.errors import WeightsError
from seesay.text import Text
from seesay.weights.quantization import SCALE, dequantize_all

Layout = Literal["hf", "open_clip"]
# By layout, best first. An index lists shards in the same folder. Both layouts may stand side by
# side, as LAION publishes them and as a shared cache ends up.
NAMES: dict[Layout, tuple[str, ...]] = {
    "hf": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
    "open_clip": (
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
    ),
}
SAFE = ".safetensors", ".safetensors.index.json"
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that distributed training and torch.compile add to every name."""
MOST_HEADER = 8 * MIB
"""The largest published dual encoders have 2,000 tensors, and 200 bytes about each."""
MOST_SHARDS = 1000
_SCALES = (torch.float16, torch.float32)  # of which the second is refused
MOST_PARTS = 4
"""Tensors of ours that one published tensor may become; fused query, key and value become three."""

Tensors = dict[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)
Config = TypeVar("Config")


# Rules


@dataclass(frozen=True)
class Patches:
    """A projection of patches, published as a matrix over their rows, columns and colours."""

    name: str


@dataclass(frozen=True)
class Transposed:
    """The published matrix multiplies from the other side: x @ W instead of W @ x."""

    name: str


@dataclass(frozen=True)
class Grouped:
    """Projections fused head by head: `groups` times, `shares[i]` heads of the i-th of them stand
    side by side."""

    names: tuple[str, ...]
    groups: int
    shares: tuple[int, ...]


@dataclass(frozen=True)
class Flattened:
    """A matrix, published as the kernel of a convolution that covers whole patches."""

    name: str


Rule = str | tuple[str, ...] | Transposed | Patches | Flattened | Grouped | None
Rules = Mapping[str, Rule]

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def both(theirs: str, ours: str) -> dict[str, Rule]:
    """The weight and the bias of one module."""
    return {f"{theirs}.{p}": f"{ours}.{p}" for p in ("weight", "bias")}


def batch_norm(theirs: str, ours: str) -> dict[str, Rule]:
    """The weight, the bias and the statistics of a batch norm."""
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{theirs}.{name}": f"{ours}.{name}" for name in names}


def fused(theirs: str, ours: str, parts: tuple[str, ...], joint: str = ".") -> dict[str, Rule]:
    """Several projections kept in one tensor, as torch.nn.MultiheadAttention and timm do."""
    return {
        f"{theirs}{joint}{p}": tuple(f"{ours}.{part}.{p}" for part in parts)
        for p in ("weight", "bias")
    }


def with_prefix(rules: Rules, theirs: str, ours: str) -> dict[str, Rule]:
    """The rules of a model that is a part of another, in its files and in our model."""
    return {theirs + name: _prefixed(rule, ours) for name, rule in rules.items()}


def _prefixed(rule: Rule, prefix: str) -> Rule:
    match rule:
        case None:
            return None
        case str(name):
            return prefix + name
        case tuple(names):
            return tuple(prefix + name for name in names)
        case Grouped(names):
            return replace(rule, names=tuple(prefix + name for name in names))
        case Transposed(name) | Patches(name) | Flattened(name):
            return replace(rule, name=prefix + name)


def prefix_of(names: Iterable[str], part: str, default: str) -> str:
    """Returns what stands before this part of a name in a file: "", "bert.", "model" and the like;
    the default where no name has it, as in adapters."""
    return next((name.partition(part)[0] for name in names if part in name), default)


def rename(published: Mapping[str, Tensor], rules: Rules) -> tuple[Tensors, dict[str, list[str]]]:
    """Returns views of the published tensors under our names, and the problems with the rules."""
    renamed: Tensors = {}
    unknown: list[str] = []
    twice: list[str] = []
    for name, tensor in published.items():
        template, numbers = key_of(name, rules), NUMBER.findall(name)
        if template not in rules:
            unknown.append(name)
            continue
        for ours, part in _parts(tensor, rules[template]):
            place = ours.format(*numbers)
            if place in renamed:
                twice.append(f"{name} as {place}")
            renamed[place] = part
    return renamed, {"not in the rule table": unknown, "for a place that is taken": twice}


def key_of(name: str, rules: Rules) -> str:
    """Returns the key of a tensor's rule: with `{}` for its numbers, or for the first alone if the
    others tell apart what a layer consists of (T5)."""
    first = NUMBER.sub("{}", name, count=1)
    return first if first in rules else NUMBER.sub("{}", name)


def _parts(tensor: Tensor, rule: Rule) -> list[tuple[str, Tensor]]:
    """Returns the destination of a tensor. One that cannot be transposed or cut stays whole, and
    its shape is reported later."""
    match rule:
        case None:
            return []
        case str(ours):
            return [(ours, tensor)]
        case Transposed(ours):
            return [(ours, tensor.T if tensor.ndim == 2 else tensor)]
        case Patches(ours):
            return [(ours, _as_patches(tensor))]
        case Flattened(ours):
            return [(ours, tensor.flatten(1) if tensor.ndim > 2 else tensor)]
        case Grouped(names, groups, shares):
            return _split(tensor, names, groups, shares)
        case tuple(names):
            return _split(tensor, names, 1, (1,) * len(names))


def _as_patches(tensor: Tensor) -> Tensor:
    side = isqrt(tensor.shape[1] // 3) if tensor.ndim == 2 else 0
    if not side or tensor.shape[1] != 3 * side * side:
        return tensor
    return tensor.unflatten(1, (side, side, 3)).permute(0, 3, 1, 2)


def _split(
    tensor: Tensor, names: tuple[str, ...], groups: int, shares: tuple[int, ...]
) -> list[tuple[str, Tensor]]:
    if not tensor.ndim or tensor.shape[0] % (groups * sum(shares)):
        return [(name, tensor) for name in names]
    parts = tensor.unflatten(0, (groups, sum(shares), -1)).split(list(shares), dim=1)
    return [(name, part.flatten(0, 2)) for name, part in zip(names, parts, strict=True)]


# A model and its tensors


def blank_model(build: Callable[[Config], Model], config: Config, most: int | None = None) -> Model:
    """Creates a model of shapes only, on the "meta" device: all its tensors must be replaced.

    Raises WeightsError if such tensors are impossible (2^60 numbers), or if the config needs more
    than `most` tensors.
    """
    try:
        with torch.device("meta"), _Undrawn() as mode:
            mode.most = most
            return build(config)
    except (RuntimeError, ArithmeticError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:100]
        raise WeightsError(
            Text(
                f"the config describes tensors that cannot be built ({reason}); expected the sizes "
                "of the checkpoint's own tensors. It was changed: download it again",
                f"配置描述的张量无法建立（{reason}）；应为该模型自身张量的尺寸。配置被改动过："
                "请重新下载",
            )
        ) from None


class _Undrawn(TorchFunctionMode):
    """Skips the initialisation of weights: on the "meta" device it has no effect, but random
    numbers and products make torch import its compiler there, which takes longer than reading a
    small model. Counts the tensors, since a config may ask for 10^9 layers."""

    most: int | None = None
    count = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]  # which such a function returns
        if function in (torch.Tensor.mul, torch.Tensor.__rmul__):
            return args[0] if isinstance(args[0], Tensor) else args[1]
        if function in (torch.empty, torch.randn):
            self.count += 1
            if self.most is not None and self.count > self.most:
                raise ValueError(f"more than {self.most:,} of them")
            function = torch.empty
        return function(*args, **kwargs)


def load_weights(
    model: nn.Module, published: Mapping[str, Tensor], rules: Rules | None = None
) -> None:
    """Give every tensor of `model` its published value, in float32 unless `loading_as` says
    otherwise. Anything missing, left over or misshapen is an error and leaves `model` unchanged.
    Without rules, the names are ours.

    Nothing is copied before all shapes are right; tensors of that format become the parameters
    themselves.
    """
    tensors, problems = (dict(published), {}) if rules is None else rename(published, rules)
    ours = model.state_dict()
    shared = sorted(ours.keys() & tensors.keys())
    for name in shared:
        # Some publish a scalar as (1,) or a table as (1, rows, columns); nothing else is moved.
        theirs, shape = tensors[name].shape, ours[name].shape
        if theirs != shape and [n for n in theirs if n != 1] == [n for n in shape if n != 1]:
            tensors[name] = tensors[name].reshape(shape)
    problems |= {
        "missing from the checkpoint": sorted(ours.keys() - tensors.keys()),
        "not in our model": sorted(tensors.keys() - ours.keys()),
        "of another shape": [
            f"{name}: published {tuple(tensors[name].shape)}, ours {tuple(ours[name].shape)}"
            for name in shared
            if tensors[name].shape != ours[name].shape
        ],
        "of another type": [
            f"{name}: published {tensors[name].dtype}, ours {ours[name].dtype}"
            for name in shared
            if tensors[name].is_floating_point() != ours[name].is_floating_point()
        ],
    }
    if any(problems.values()):
        raise _misfit(type(model).__name__, problems)
    dtype = _LOADED.get()
    formatted = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in tensors.items()
    }
    model.load_state_dict(formatted, strict=True, assign=True)


_LOADED: ContextVar[torch.dtype] = ContextVar("_LOADED", default=torch.float32)


@contextmanager
def loading_as(dtype: torch.dtype) -> Iterator[None]:
    """Within it, weights are loaded in this format: 7B parameters published in bfloat16 need 14 GB
    then, and not first 28."""
    before = _LOADED.set(dtype)
    try:
        yield
    finally:
        _LOADED.reset(before)


_PROBLEMS_ZH = {
    "not in the rule table": "规则表里没有",
    "for a place that is taken": "的位置已被占用",
    "missing from the checkpoint": "在文件里缺失",
    "not in our model": "不属于模型",
    "of another shape": "形状不符",
    "of another type": "类型不符",
}


def _misfit(model: str, problems: Mapping[str, Iterable[str]], most: int = 5) -> WeightsError:
    english, chinese = [], []
    for what, names in problems.items():
        if names := list(names):
            some, left = ", ".join(names[:most]), len(names) - most
            english.append(
                f"  {len(names)} {what}: {some}{f' ... and {left} more' if left > 0 else ''}"
            )
            chinese.append(
                f"  {len(names)} 个{_PROBLEMS_ZH[what]}：{some}"
                f"{f' …… 还有 {left} 个' if left > 0 else ''}"
            )
    return WeightsError(
        Text(
            f"this checkpoint does not fit {model}:\n" + "\n".join(english) + "\n  Every tensor "
            "must have its place. Is the file whole, and of the family and size that its config "
            "names?",
            f"这份权重与 {model} 对不上：\n" + "\n".join(chinese) + "\n  每个张量都必须有自己的"
            "位置。文件是否完整，是否属于配置所写的家族和规模？",
        )
    )


# Files


def has_weights(folder: Path, layout: Layout, *, safe: bool = False) -> bool:
    """Whether a folder holds weights of this layout; with `safe`, as safetensors."""
    return any(
        os.path.lexists(folder / name) for name in NAMES[layout] if name.endswith(SAFE) or not safe
    )


def read_tensors(folder: Path, layout: Layout = "hf") -> Tensors:
    """Reads every tensor of the folder's checkpoint, by its published name. If the files of
    `layout` are missing, those of the other may be the same under another name."""
    for name in (*NAMES[layout], *(name for other in NAMES.values() for name in other)):
        if os.path.lexists(path := folder / name):
            return _read_shards(path) if name.endswith(".json") else read_file(path)
    others = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if len(others) == 1:  # a training program's own name, such as epoch_32.pt
        return read_file(others[0])
    usual = ", ".join(NAMES[layout])
    if others:
        some = ", ".join(path.name for path in others[:3])
        raise WeightsError(
            Text(
                f"{folder} has several files of weights ({some}); expected one, or one of these "
                f"names: {usual}. Leave one of them",
                f"{folder} 里有几个权重文件（{some}）；应只有一个，或以下名称之一：{usual}。"
                "请只留一个",
            )
        )
    raise WeightsError(
        Text(
            f"{folder} has no weights; expected one of {usual}. Was the download interrupted?",
            f"{folder} 里没有权重；应有以下文件之一：{usual}。下载是不是中断了？",
        )
    )


def read_file(path: Path) -> Tensors:
    """One file of tensors, by the names that they have in the model."""
    if path.suffix == ".safetensors":
        tensors = read_safetensors(path)
    else:
        from seesay.weights.pickles import read_pickle

        tensors = read_pickle(path, plain_size(path))
    while tensors and (prefix := next(iter(tensors)).partition(".")[0] + ".") in WRAPPERS:
        if not all(name.startswith(prefix) for name in tensors):
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def read_safetensors(path: Path) -> Tensors:
    """The tensors of a safetensors file, which is mapped into memory and not copied."""
    size = plain_size(path)
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
        if length > min(size - 8, MOST_HEADER):
            raise ValueError(f"its header would have {length:,} bytes")
        return load_file(path)
    except Exception as error:  # of the library, of torch for a type it lacks, of the disk
        raise WeightsError(
            Text(
                f"{path} is not a whole safetensors file ({error}); it was cut short, renamed from "
                "another format or damaged: delete it and download it again",
                f"{path} 不是完整的 safetensors 文件（{error}）；文件被截断、由别的格式改名而来，"
                "或已损坏：请删除后重新下载",
            )
        ) from None


def dequantized(tensors: Tensors, path: Path) -> Tensors:
    """Returns the tensors with the 8-bit ones converted to float32. Raises WeightsError."""
    arrays = {
        name: tensor.numpy()
        for name, tensor in tensors.items()
        if tensor.dtype == torch.int8 or (name.endswith(SCALE) and tensor.dtype in _SCALES)
    }
    whole = dequantize_all(arrays, path)
    kept = {name: tensor for name, tensor in tensors.items() if name not in arrays}
    return kept | {name: torch.from_numpy(array) for name, array in whole.items()}


def _read_shards(index: Path) -> Tensors:
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise WeightsError(
            Text(
                f'{index} has no "weight_map" of file names; expected that of an index of shards; '
                "delete it and download it again",
                f'{index} 里没有由文件名组成的 "weight_map"；分片索引应有这一项；请删除后重新下载',
            )
        )
    names = sorted(set(shards.values()))
    if len(names) > MOST_SHARDS:
        raise WeightsError(
            Text(
                f"{index} names {len(names)} shards; expected at most {MOST_SHARDS}; download it "
                "again",
                f"{index} 列出了 {len(names)} 个分片；最多应为 {MOST_SHARDS} 个；请重新下载",
            )
        )
    tensors: Tensors = {}
    for name in names:
        path = index.parent / name
        if Path(name).name != name or name.endswith(".json") or not os.path.lexists(path):
            raise WeightsError(
                Text(
                    f"{index} names the shard {name:.200}, which is not beside it; download the "
                    "missing shard, or the whole folder again",
                    f"{index} 列出的分片 {name:.200} 不在同一文件夹；请下载缺少的分片，"
                    "或重新下载整个文件夹",
                )
            )
        tensors |= read_file(path)
    if missing := sorted(shards.keys() - tensors.keys()):
        raise WeightsError(
            Text(
                f"{index} promises {len(missing)} tensors that no shard holds, {missing[0]} first; "
                "the shards are of another checkpoint: download the folder again",
                f"{index} 列出的 {len(missing)} 个张量不在任何分片里，第一个是 {missing[0]}；"
                "这些分片属于另一份权重：请重新下载整个文件夹",
            )
        )
    return tensors
