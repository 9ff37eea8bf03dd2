"""A collection of a model that sees pictures of any shape."""

import torch
from PIL import Image
from skimage import data as photographs

import hf_references
from seesay.inference.embedder import load
from seesay.search.collection import Collection


def test_pictures_of_any_shape_are_indexed_and_found(tmp_path):
    torch.manual_seed(0)
    published = hf_references.siglip2_naflex(tmp_path / "naflex")
    (tmp_path / "photos").mkdir()
    whole = Image.fromarray(photographs.astronaut())
    for number, shape in enumerate(((200, 150), (90, 400), (256, 256))):
        whole.resize(shape).save(tmp_path / "photos" / f"{number}.png")
    model = load(str(published.folder), dtype="float32")
    with Collection.open(tmp_path / "c", create=True, model=model) as collection:
        assert collection.index([tmp_path / "photos"]).added == 3
        (best,) = collection.search(images=[tmp_path / "photos" / "1.png"], count=1).hits
        assert best.path.endswith("1.png") and best.retrievers[0].score > 0.999
