import os
from pathlib import Path

import pytest
from hypothesis import settings

import torchvision_shim  # noqa: F401  # before anything imports transformers, timm or open_clip
import type_checks  # noqa: F401  # before anything of seesay

# The first call of a torch op can take a second. Cases are the same in every run, so that no run
# fails for what another one passed; `--hypothesis-profile=new-cases` draws others, and more.
settings.register_profile("new-cases", deadline=None)
settings.register_profile("seesay", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("seesay")

# Files that take half a minute and more, most of them of few tests. `make test` gives whole files
# to two processes: one that comes last keeps the other process waiting.
LONG = (
    "test_answering_run.py",
    "test_choosing.py",
    "test_crashes.py",
    "test_distributed.py",
    "test_engines.py",
    "test_engines_state.py",
    "test_histories.py",
    "test_managing.py",
    "test_parity.py",
    "test_processes.py",
    "test_serve.py",
    "test_server_crashes.py",
    "test_vector_index.py",
)

# Most tests ask what seesay does with a model, not how much it knows: the quickest one serves.
os.environ["SEESAY_MODEL"] = "seesay-mini"
os.environ["SEESAY_TEXT_MODEL"] = "none"

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data folder {SHARED}, which is not here")
    return SHARED
