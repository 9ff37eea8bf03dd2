"""Importing this first makes bitsandbytes ready in a second instead of ten: it asks torch to
compile functions that no test calls, and torch loads its compiler for that."""

import pytest
import torch

with pytest.MonkeyPatch.context() as patch:
    patch.setattr(torch, "compile", lambda function, **_: function)
    patch.setattr(torch, "_disable_dynamo", lambda function: function)
    import bitsandbytes  # noqa: F401
