"""Which copies of photographs are found, and whether different photographs are taken for copies.

    python benchmarks/duplicates.py [--photographs 1000] [--model NAME]

Of each photograph of Flickr8k's dev split copies are made: two smaller ones, two compressed ones,
one that its EXIF turns, one in grey, and one that lacks 5% of its edges. All are indexed and
compared as the product does; beside that stands what the cosine of the model would find.
"""

import argparse
import io
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from seesay.search.asking.likeness import THRESHOLD, candidates, likenesses
from seesay.search.collection import Collection

DATA = Path(__file__).parents[2] / "shared" / "data" / "flickr8k-bilingual" / "dev-000000.tar"
ORIGINAL = "original"
ORIENTATION, TURNED = 0x0112, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=int, default=1000)
    parser.add_argument("--model")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place) / "photos"
        write_copies(read(DATA)[: chosen.photographs], photos)
        with Collection.open(Path(place) / "c", create=True, model=chosen.model) as collection:
            collection.index([photos])
            compare(collection)
            advise(collection)


def read(file: Path) -> list[bytes]:
    with tarfile.open(file) as archive:
        members = sorted(archive.getnames())
        streams = (archive.extractfile(name) for name in members if name.endswith(".jpg"))
        return [stream.read() for stream in streams if stream is not None]


def write_copies(photographs: Iterable[bytes], folder: Path) -> None:
    """`original/0.jpg` and beside it a folder for each kind of copy."""
    for kind in (ORIGINAL, *COPIES):
        (folder / kind).mkdir(parents=True)
    for number, data in enumerate(photographs):
        (folder / ORIGINAL / f"{number}.jpg").write_bytes(data)
        with Image.open(io.BytesIO(data)) as image:
            for kind, copy in COPIES.items():
                copy(image.convert("RGB"), folder / kind / f"{number}.jpg")


def smaller(side: int) -> Callable[[Image.Image, Path], None]:
    def copy(image: Image.Image, file: Path) -> None:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        image.save(file, quality=85)

    return copy


def turned(image: Image.Image, file: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    image.transpose(Image.Transpose.ROTATE_90).save(file, quality=85, exif=exif)


def cropped(image: Image.Image, file: Path) -> None:
    x, y = round(image.width * 0.025), round(image.height * 0.025)
    image.crop((x, y, image.width - x, image.height - y)).save(file, quality=85)


COPIES: dict[str, Callable[[Image.Image, Path], None]] = {
    "180 px": smaller(180),
    "112 px": smaller(112),
    "JPEG 60": lambda image, file: image.save(file, quality=60),
    "WebP 60": lambda image, file: image.save(file, "WEBP", quality=60),
    "EXIF-turned": turned,
    "grey": lambda image, file: image.convert("L").save(file, quality=85),
    "cropped 5%": cropped,
}


def compare(collection: Collection) -> None:
    """By threshold: the share of copies that are as alike to their original, and the pairs of
    different photographs."""
    store = collection.store
    items = {item.id: Path(item.path) for item in store.files.all()}
    units = {unit.id: items[unit.file] for unit in store.passages.of_files(items)}
    known = store.fingerprints.of_contents()
    pairs = [(int(known.passages[a]), int(known.passages[b])) for a, b in candidates(known.pixels)]
    found = likenesses(store, collection.thumbnail, pairs, threshold=0.5)
    names = [(units[a], units[b]) for a, b in found]
    pixels = np.array([one.similarity for one in found.values()])
    print("similarity of the pixels")
    table(names, pixels, (0.99, 0.985, THRESHOLD, 0.97, 0.95, 0.9))
    space = store.spaces.active()
    assert space is not None
    numbers, vectors = store.vectors.get(space.id, units)
    cosines = vectors @ vectors.T
    left, right = np.nonzero(np.triu(cosines, 1) >= 0.6)
    named = [units[number] for number in numbers.tolist()]
    names = [(named[a], named[b]) for a, b in zip(left, right, strict=True)]
    print(f"cosine of {space.model}")
    table(names, cosines[left, right], (0.98, 0.95, 0.9, 0.8, 0.7))


def table(names: list[tuple[Path, Path]], alike: np.ndarray, thresholds: tuple[float, ...]) -> None:
    numbers = {path.stem for pair in names for path in pair}
    print("threshold  " + "  ".join(COPIES) + "  different")
    for threshold in thresholds:
        reached = [pair for pair, score in zip(names, alike, strict=True) if score >= threshold]
        same = [pair for pair in reached if pair[0].stem == pair[1].stem]
        kinds = [{one.parent.name, other.parent.name} for one, other in same]
        shares = [kinds.count({ORIGINAL, kind}) / len(numbers) for kind in COPIES]
        cells = "  ".join(
            f"{share:{len(kind)}.3f}" for kind, share in zip(COPIES, shares, strict=True)
        )
        print(f"{threshold:9.3f}  {cells}  {len(reached) - len(same):9}")


def advise(collection: Collection) -> None:
    """What the product prints as files that may go."""
    began = time.perf_counter()
    found = collection.duplicates()
    compared = time.perf_counter() - began
    paths = [Path(path) for path in collection.removable(found.groups).paths]
    files = [file for group in found.groups for file in group.files if file.copy_of]
    wrong = [f for f in files if Path(f.path).stem != Path(f.copy_of or "").stem]
    originals = sum(path.parent.name == ORIGINAL for path in paths)
    print(
        f"{found.total} groups in {compared:.0f} s; may go: {len(paths)}, of them "
        f"{len(wrong)} copies of another photograph and {originals} originals"
    )
    for kind in COPIES:
        print(f"  {kind:12} {sum(path.parent.name == kind for path in paths)}")


if __name__ == "__main__":
    main()
