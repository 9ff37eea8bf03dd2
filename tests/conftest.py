from pathlib import Path

import pytest
from hypothesis import settings

import torchvision_shim  # noqa: F401  # before anything imports transformers, timm or open_clip

# The first call of a torch op can take a second. Cases are the same in every run, so that no run
# fails for what another one passed; `--hypothesis-profile=new-cases` draws others.
settings.register_profile("new-cases", deadline=None)
settings.register_profile("seesay", deadline=None, derandomize=True)
settings.load_profile("seesay")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data folder {SHARED}, which is not here")
    return SHARED
