"""Whatever fits the schema, or does not, is answered with no 5xx, and as the schema says."""

from collections import Counter

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
from seesay.api.app import create_app
from seesay.api.config import ServerConfig
from seesay.search.library import Library

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
    seen: Counter[str] = Counter()
    for result in described.get_all_operations():
        operation = result.ok()

        @QUIET
        @given(case=operation.as_strategy(generation_mode=mode))
        def fits(case):
            seen[case.operation.label] += 1
            case.call_and_validate(checks=CHECKS)

        try:
            fits()
        except Unsatisfiable:  # what takes no parameter cannot be asked wrongly
            assert mode is GenerationMode.NEGATIVE
            seen[operation.label] += 1
    assert len(seen) == described.statistic.operations.total == len(ROUTES)
    assert seen.total() > 60


ROUTES = {
    *("POST /v1/search", "POST /v1/similar", "POST /v1/embeddings", "GET /v1/models"),
    *("POST /v1/chat/completions", "POST /v1/answers"),
    *("GET /v1/units/{unit}", "GET /v1/thumbnails/{unit}", "GET /v1/duplicates"),
    "GET /v1/units/{unit}/picture",
    "GET /v1/units/{unit}/video",
    *("GET /v1/collections", "GET /v1/collections/{name}", "GET /v1/collections/{name}/index"),
    *("POST /v1/classify", "POST /v1/tags", "GET /v1/tags", "DELETE /v1/tags", "POST /v1/remove"),
    "DELETE /v1/collections/{name}/index",
    *("POST /v1/collections/{name}/index", "GET /health", "GET /ready", "GET /metrics"),
}


def test_the_schema_describes_every_route_that_is_served(album):
    """What the one above asks is then all there is. A new route has to be added here by hand, and
    to tests/api/test_hostile_requests.py."""
    with Library.open([album]) as library:
        app = create_app(library, ServerConfig())
        described = {
            f"{method.upper()} {path}"
            for path, methods in app.openapi()["paths"].items()
            for method in methods
        }
        asked = {f"GET {path}" for path in ("/health", "/ready", "/metrics")}
        assert described == ROUTES and asked < ROUTES
        app.state.stop()
