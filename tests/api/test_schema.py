"""Whatever fits the schema, or does not, is answered with no 5xx, and as the schema says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from live_server import serving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def described(album):
    with serving(album, read_only=True) as up:
        yield schemathesis.openapi.from_url(f"{up.url}/openapi.json")


QUIET = settings(
    max_examples=15,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_makes_the_server_fail(described, mode):
    seen = 0
    for result in described.get_all_operations():
        operation = result.ok()

        @QUIET
        @given(case=operation.as_strategy(generation_mode=mode))
        def fits(case):
            nonlocal seen
            seen += 1
            case.call_and_validate(checks=CHECKS)

        try:
            fits()
        except Unsatisfiable:  # what takes no parameter cannot be asked wrongly
            assert mode is GenerationMode.NEGATIVE
    assert seen > 60
