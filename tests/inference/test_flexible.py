"""Pictures of any shape through a tiny SigLIP 2 NaFlex, from files to vectors."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs
from torch.nn.functional import normalize

import hf_references
from seesay.errors import ConfigError
from seesay.inference.embedder import Embedder
from seesay.weights.bundle import load_bundle

PATCH, MOST = hf_references.PATCH, 16
SHAPES = ((200, 150), (90, 400), (512, 512), (7, 5))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    torch.manual_seed(0)
    return hf_references.siglip2_naflex(tmp_path_factory.mktemp("naflex"))


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    whole = Image.fromarray(photographs.astronaut())
    return [whole.resize(shape) for shape in SHAPES]


@torch.no_grad()
def test_vectors_equal_those_of_the_published_code_from_pixels_on(published, pictures):
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

    prepare = Siglip2ImageProcessorPil(patch_size=PATCH, max_num_patches=MOST)
    inputs = prepare(pictures, return_tensors="pt")
    inputs["pixel_values"] = inputs["pixel_values"].float()
    theirs = published.model.get_image_features(**inputs).pooler_output

    ours = Embedder(load_bundle(published.folder)).embed_images(pictures).vectors

    np.testing.assert_allclose(ours, normalize(theirs, dim=-1).numpy(), atol=5e-7)


def test_a_square_is_refused_where_strips_are_expected(published):
    model = load_bundle(published.folder).model
    with pytest.raises(ConfigError, match="expected strips of patches of height 8"):
        model.embed_images(torch.zeros(1, 3, 32, 32))
