"""Slips of the pen in a rule table, one at a time, and whether the numbers of a model show them."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from seesay.errors import WeightsError
from seesay.weights.tensors import Rules, key_of, load_weights

# A key's bias adds the same to every score of a row, which softmax takes away: it changes no
# number, so two of them swapped, and nothing else, are as good as not.
NO_EFFECT = re.compile(r"(k_proj|key)\.bias$")

Numbers = Callable[[nn.Module], Mapping[str, Tensor]]


def unnoticed(
    model: nn.Module, tensors: Mapping[str, Tensor], rules: Rules, numbers: Numbers, most: int = 200
) -> list[str]:
    """The swaps of two rules, at most that many, that load and leave every number as it was."""
    load_weights(model, tensors, rules)
    with torch.no_grad():
        expected = {name: value.clone() for name, value in numbers(model).items()}
    passed, tried = [], 0
    for slip, wrong in slips(rules, tensors, most):
        tried += 1
        try:
            load_weights(model, tensors, wrong)
            with torch.no_grad():
                actual = numbers(model)
        except (WeightsError, IndexError):
            continue
        if all(same(actual[name], expected[name]) for name in expected):
            passed.append(slip)
    assert tried, "no two rules could be mistaken for each other"
    load_weights(model, tensors, rules)
    return passed


def slips(rules: Rules, tensors: Mapping[str, Tensor], most: int) -> Iterator[tuple[str, Rules]]:
    """Tables with two rules swapped whose tensors have the same shape, evenly spaced, and tables
    with the parts of a fused tensor turned."""
    shapes = {key_of(name, rules): tuple(tensor.shape) for name, tensor in tensors.items()}
    used = sorted(key for key in shapes if rules[key] is not None)
    size = {key: (math.prod(shapes[key]), key.count("{}")) for key in used}
    pairs = [
        (a, b)
        for a, b in combinations(used, 2)
        if size[a] == size[b] and not (NO_EFFECT.search(a) and NO_EFFECT.search(b))
    ]
    for a, b in pairs[:: max(1, len(pairs) // most)]:
        yield f"{a} <-> {b}", {**rules, a: rules[b], b: rules[a]}
    for key in used:
        if isinstance(parts := rules[key], tuple):
            for turn in range(1, len(parts)):
                yield f"{key} turned by {turn}", {**rules, key: parts[turn:] + parts[:turn]}


def same(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> bool:
    """Whether two results agree but for rounding; not a number never does."""
    scale = max(1.0, float(expected.abs().max()))
    return actual.shape == expected.shape and bool(
        (actual - expected).abs().max() <= tolerance * scale
    )
