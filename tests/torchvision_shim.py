"""Let torchvision's Python half import beside a CPU build of torch.

open_clip, timm and transformers import torchvision at the top, and its compiled half does not fit
every build of torch. As references they need none of its operators, so declaring the operators'
names is enough; calling one of them fails. Import this first. For tests and benchmarks only.
"""

import importlib.util
import re
from pathlib import Path

import torch

_library = torch.library.Library("torchvision", "DEF")
_spec = importlib.util.find_spec("torchvision")
if _spec is not None and _spec.origin is not None:
    _source = Path(_spec.origin).with_name("_meta_registrations.py").read_text()
    _pattern = r'register_(?:meta|fake|kernel)\("(?:torchvision::)?(\w+)"'
    for _name in sorted(set(re.findall(_pattern, _source))):
        _library.define(f"{_name}(Tensor x) -> Tensor")
