"""Real photographs that are at hand without a download: those inside scikit-image's package."""

from importlib.util import find_spec
from pathlib import Path

from seesay.errors import MissingExtraError

# file -> what it shows, in English and in Chinese. All are in the public domain or CC0.
PHOTOGRAPHS = {
    "astronaut.png": ("a woman in a space suit", "穿宇航服的女人"),
    "chelsea.png": ("the face of a cat", "一只猫的脸"),
    "coffee.png": ("a cup of coffee on a table", "桌上的一杯咖啡"),
    "rocket.jpg": ("a rocket taking off at night", "夜里升空的火箭"),
    "camera.png": ("a man with a camera on a tripod", "用三脚架拍照的男人"),
    "moon.png": ("the surface of the moon", "月球表面"),
}


def folder() -> Path:
    """Where they lie. Raises MissingExtraError where scikit-image is not installed."""
    package = find_spec("skimage")  # found, not imported: only its files are wanted
    if package is None or package.origin is None:
        raise MissingExtraError("scikit-image", "demo")
    return Path(package.origin).parent / "data"


def photographs() -> list[Path]:
    return [folder() / name for name in PHOTOGRAPHS]
