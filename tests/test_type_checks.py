"""What the tests themselves check of every call."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
from beartype import beartype
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation
from jaxtyping import TypeCheckError

from seesay.inference.embedder import mean_of_windows
from seesay.models.layers import require_range
from seesay.search.vectors.planner import _is_enough
from seesay.text import printable
from type_checks import jaxtyped

if TYPE_CHECKING:
    from nowhere import Unknown


def test_a_call_with_a_wrong_type_fails():
    with pytest.raises(BeartypeCallHintParamViolation):
        require_range("1", width=2)


def test_arrays_whose_axes_do_not_fit_each_other_fail():
    vectors = np.ones((3, 4), np.float32)
    assert mean_of_windows(vectors, np.zeros(3, np.int64), 1).shape == (1, 4)
    with pytest.raises(TypeCheckError):
        mean_of_windows(vectors, np.zeros(2, np.int64), 1)


def test_above_the_models_functions_with_arrays_are_checked_and_no_others():
    with pytest.raises(TypeCheckError):
        _is_enough(np.zeros((2, 2), np.float32), 1)
    assert not hasattr(printable, "__wrapped__")


def test_a_wrong_result_fails_though_another_type_is_known_to_the_static_checker_alone():
    @jaxtyped(typechecker=beartype)
    def length(of: str, at: "Unknown", *, more: int = 0) -> int:
        return len(of) + more if at else None

    assert length("abc", object(), more=1) == 4
    with pytest.raises(BeartypeCallHintReturnViolation):
        length("abc", 0)
    with pytest.raises(BeartypeCallHintParamViolation):
        length("abc", 1, more="1")
