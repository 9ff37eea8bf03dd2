from pathlib import Path

import pytest
from hypothesis import settings

import torchvision_shim  # noqa: F401  # before anything imports transformers, timm or open_clip

settings.register_profile("seesay", deadline=None)  # the first call of a torch op can take a second
settings.load_profile("seesay")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file's tests stay in one process, and those of all files that need the server of a
    vector database in one too: two Milvus servers on one machine are in each other's way."""
    served = {item.path for item in items if "engine" in getattr(item, "fixturenames", ())}
    for item in items:
        group = "servers" if item.path in served else item.path.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data folder {SHARED}, which is not here")
    return SHARED
