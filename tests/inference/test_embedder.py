"""Pictures and texts through a tiny published model: the same vectors, in order, come what may."""

import io
import threading
from itertools import count, islice

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs
from torch.nn.functional import normalize
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import references
from seesay.errors import ConfigError, ImageError
from seesay.inference import devices
from seesay.inference import embedder as embedder_module
from seesay.inference.embedder import Embedder
from seesay.weights.bundle import load_bundle

SIDE = references.IMAGE_SIZE
NAMES = ("astronaut", "chelsea", "coffee", "rocket")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> references.Reference:
    torch.manual_seed(0)
    return references.openai_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def checkpoint(published):
    return load_bundle(published.folder)


@pytest.fixture(params=[1, 3], ids=["one worker", "three workers"])
def workers(request, monkeypatch) -> int:
    monkeypatch.setattr(devices, "worker_count", lambda device: request.param)
    return request.param


@pytest.fixture
def embedder(checkpoint, workers) -> Embedder:
    return Embedder(checkpoint)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    whole = [Image.fromarray(getattr(photographs, name)()) for name in NAMES]
    return [image.crop((i, i, 200 + 7 * i, 150 + 3 * i)) for i in range(6) for image in whole]


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(devices, "images_per_batch", lambda *_: 2)


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


# --- pictures ------------------------------------------------------------------------------------


@torch.inference_mode()
def test_vectors_equal_the_published_models(embedder, published, pictures):
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    pixels = processor(pictures, return_tensors="pt")["pixel_values"]
    expected = normalize(published.embed_images(pixels), dim=-1).numpy()
    found = embedder.embed_images(pictures)
    np.testing.assert_allclose(found.vectors, expected, rtol=0, atol=1e-5)
    assert found.rows == tuple(range(len(pictures)))
    assert found.vectors.dtype == np.float32


def test_every_kind_of_source_gives_the_same_vector(embedder, tmp_path):
    array = photographs.chelsea()
    path = tmp_path / "猫.png"
    path.write_bytes(saved(Image.fromarray(array)))
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    sources = [path, str(path), path.read_bytes(), Image.fromarray(array), array, tensor]
    vectors = embedder.embed_images(sources).vectors
    assert len(vectors) == 6
    np.testing.assert_allclose(vectors, vectors[:1].repeat(6, 0), rtol=0, atol=1e-6)


def test_a_vector_does_not_depend_on_its_neighbours(embedder, pictures):
    together = embedder.embed_images(pictures).vectors
    alone = np.concatenate([embedder.embed_images([image]).vectors for image in pictures])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


def test_one_bad_picture_is_named_and_the_others_are_done_in_order(
    embedder, small_batches, pictures, tmp_path
):
    whole = embedder.embed_images(pictures[:7]).vectors
    sources = list(pictures[:7])
    sources[2:2] = [tmp_path / "none.jpg"]
    sources[5:5] = [b"not a picture", np.zeros((2, 2, 3, 3), np.uint8)]
    found = embedder.embed_images(sources)
    assert found.rows == (0, 1, 3, 4, 7, 8, 9)
    np.testing.assert_allclose(found.vectors, whole, rtol=0, atol=1e-6)
    assert [failure.index for failure in found.failures] == [2, 5, 6]
    assert found.failures[0].source == str(tmp_path / "none.jpg")
    assert all(isinstance(failure.error, ImageError) for failure in found.failures)
    assert "none.jpg" in str(found.failures[0].error)


def test_a_failure_keeps_no_picture_in_memory(embedder):
    (failure,) = embedder.embed_images([b"not a picture"]).failures
    assert failure.error.__traceback__ is None
    assert failure.error.__context__ is None


def test_only_bad_pictures_and_none_at_all_give_empty_results(embedder):
    found = embedder.embed_images([b"", b"x"])
    assert (len(found), found.vectors.shape, len(found.failures)) == (0, (0, embedder.dim), 2)
    found = embedder.embed_images([])
    assert (len(found), found.vectors.shape, found.rows, found.failures) == (0, (0, 16), (), ())


def test_endless_pictures_stream_with_few_drawn_ahead(embedder, workers, small_batches, pictures):
    drawn = []

    def endless():
        for i in count():
            drawn.append(i)
            yield pictures[i % len(pictures)]

    results = list(islice(embedder.stream_images(endless()), 5))
    assert [row for result in results for row in result.rows] == list(range(10))
    assert len(drawn) <= 2 * (5 + 2 * workers)


def test_threads_end_when_the_consumer_stops_early(embedder, small_batches, pictures):
    stream = embedder.stream_images(pictures)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("seesay-embed")]


def test_an_error_of_the_callers_iterable_comes_through(embedder, small_batches, pictures):
    def broken():
        yield from pictures[:3]
        raise KeyError("theirs")

    with pytest.raises(KeyError, match="theirs"):
        embedder.embed_images(broken())


def test_torch_keeps_its_number_of_threads(checkpoint, monkeypatch, pictures):
    before = torch.get_num_threads()
    monkeypatch.setattr(devices, "worker_count", lambda device: 3)
    inside = []
    model = checkpoint.model
    embed = type(model).embed_images

    def watched(self, images):
        inside.append(torch.get_num_threads())
        return embed(self, images)

    monkeypatch.setattr(type(model), "embed_images", watched)
    try:
        torch.set_num_threads(3)
        Embedder(checkpoint).embed_images(pictures)
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert set(inside) == {1}
        assert (torch.get_num_threads(), later) == (3, [3])
    finally:
        torch.set_num_threads(before)


def test_progress_counts_inputs_and_failures(embedder, small_batches, pictures):
    calls = []
    embedder.embed_images([*pictures[:5], b"bad"], on_progress=lambda *call: calls.append(call))
    assert calls[-1] == (6, 6, 1)
    assert [done for done, _, _ in calls] == sorted({done for done, _, _ in calls})
    embedder.embed_images(iter(pictures[:3]), on_progress=lambda *call: calls.append(call))
    assert calls[-1] == (3, 0, 0)


@pytest.mark.parametrize(
    "one",
    ["cat.jpg", b"bytes", np.zeros((4, 4, 3)), torch.zeros(3, 4, 4)],
    ids=lambda one: type(one).__name__,
)
def test_one_picture_in_place_of_several_is_one(embedder, one):
    for found in (embedder.embed_images(one), *embedder.stream_images(one)):
        assert len(found.rows) + len(found.failures) == 1


def test_a_batch_in_one_array_is_several_pictures(embedder):
    batch = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    expected = embedder.embed_images(list(batch)).vectors
    np.testing.assert_allclose(embedder.embed_images(batch).vectors, expected, atol=1e-6)


def test_large_jpegs_are_decoded_at_reduced_scale_unless_asked_not_to(checkpoint, monkeypatch):
    seen = []
    open_image = embedder_module.open_image

    def watched(*args, **kwargs):
        image = open_image(*args, **kwargs)
        seen.append(image.size)
        return image

    monkeypatch.setattr(embedder_module, "open_image", watched)
    jpeg = saved(Image.fromarray(photographs.coffee()), "JPEG")  # 600 x 400
    reduced = Embedder(checkpoint).embed_images([jpeg]).vectors
    whole = Embedder(checkpoint, reduce_large=False).embed_images([jpeg]).vectors
    assert seen == [(150, 100), (600, 400)]
    assert (reduced * whole).sum() > 0.99
    assert not np.array_equal(reduced, whole)


def test_a_full_gpu_gets_smaller_batches(checkpoint, monkeypatch, pictures):
    expected = Embedder(checkpoint).embed_images(pictures).vectors
    embed = type(checkpoint.model).embed_images

    def full(self, images):
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(self, images)

    monkeypatch.setattr(type(checkpoint.model), "embed_images", full)
    found = Embedder(checkpoint).embed_images(pictures).vectors
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.gpu
def test_a_gpu_gives_the_processors_vectors(checkpoint, pictures):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and torch finds none")
    expected = Embedder(checkpoint).embed_images(pictures).vectors
    for dtype, tolerance in (("float32", 1e-3), ("bfloat16", 5e-2)):
        gpu = Embedder(checkpoint, device="cuda", dtype=dtype)
        found = gpu.embed_images(pictures).vectors
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


# --- texts ---------------------------------------------------------------------------------------

LONG = "thequickbrownfoxjumpsoverthelazydogandon"  # 40 tokens of a context that holds 10


@torch.inference_mode()
def test_text_vectors_equal_the_published_models(embedder, published):
    texts = ["cat", "a", "dog", "horse", ""]
    ids = torch.from_numpy(embedder.tokenizer.encode(texts).ids)
    expected = normalize(published.embed_texts(ids), dim=-1).numpy()
    np.testing.assert_allclose(embedder.embed_texts(texts).vectors, expected, rtol=0, atol=1e-5)


def test_a_long_text_is_the_average_of_its_windows_and_says_so(embedder):
    found = embedder.embed_texts(["cat", LONG, "dog"])
    assert found.windows == (1, 4, 1)
    tokens = embedder.tokenizer.encode([LONG])
    with torch.inference_mode():
        windows = embedder.model.embed_texts(torch.from_numpy(tokens.ids)).numpy()
    mean = windows.mean(axis=0)
    np.testing.assert_allclose(found.vectors[1], mean / np.linalg.norm(mean), rtol=0, atol=1e-6)


def test_a_text_vector_does_not_depend_on_its_neighbours(embedder):
    texts = ["a", LONG, "cat", "b" * 9, "", "horse and dog", "z"] * 20
    together = embedder.embed_texts(texts)
    alone = np.concatenate([embedder.embed_texts([text]).vectors for text in texts[:7]])
    np.testing.assert_allclose(together.vectors, np.tile(alone, (20, 1)), rtol=0, atol=1e-6)
    assert together.rows == tuple(range(140))


def test_what_nobody_can_see_changes_no_vector(embedder):
    plain, hidden = embedder.embed_texts(["two dogs", "\ufefftwo\u200b d\u00adogs\u2060"]).vectors
    np.testing.assert_array_equal(hidden, plain)


def test_what_is_no_text_is_named_and_the_others_are_done(embedder):
    expected = embedder.embed_texts(["cat", "dog"]).vectors
    found = embedder.embed_texts(text for text in ("cat", None, "dog"))
    assert (found.rows, [failure.index for failure in found.failures]) == ((0, 2), [1])
    assert "NoneType" in str(found.failures[0].error)
    np.testing.assert_allclose(found.vectors, expected, rtol=0, atol=1e-6)


def test_one_text_in_place_of_several_is_one(embedder):
    expected = embedder.embed_texts(["a dog"]).vectors
    for found in (embedder.embed_texts("a dog"), *embedder.stream_texts("a dog")):
        np.testing.assert_array_equal(found.vectors, expected)


# --- number formats and state --------------------------------------------------------------------


def test_bfloat16_vectors_are_unit_and_near_and_the_checkpoint_is_untouched(checkpoint, pictures):
    full, half = Embedder(checkpoint), Embedder(checkpoint, dtype="bfloat16")
    assert checkpoint.model.log_scale.dtype is torch.float32
    assert half.model.log_scale.dtype is torch.bfloat16
    assert half.scale == full.scale  # read before it is rounded
    vectors = half.embed_images(pictures).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)
    cosines = (full.embed_images(pictures).vectors * vectors).sum(axis=1)
    assert 0.99 < cosines.min() < 1
    np.testing.assert_allclose(full.bfloat16_cosines(pictures), cosines, rtol=0, atol=1e-6)
    assert half.bfloat16_cosines(pictures).min() > 0.99


def test_a_model_in_training_mode_is_refused(checkpoint):
    checkpoint.model.train()
    try:
        with pytest.raises(ConfigError, match="training mode"):
            Embedder(checkpoint)
    finally:
        checkpoint.model.eval()


def test_a_model_that_fits_is_used_as_it_is(checkpoint):
    assert Embedder(checkpoint).model is checkpoint.model
    assert Embedder(checkpoint, device="cpu", dtype="float32").model is checkpoint.model


def test_scale_and_bias_are_the_models(checkpoint, published):
    embedder = Embedder(checkpoint)
    assert embedder.scale == pytest.approx(published.model.logit_scale.exp().item())
    assert embedder.bias is None


def test_embeddings_are_an_array_where_numpy_wants_one(checkpoint, pictures):
    found = Embedder(checkpoint).embed_images(pictures[:3])
    assert np.asarray(found) is not None
    assert np.array_equal(np.asarray(found), found.vectors)
    assert np.array_equal(np.asarray(found, dtype=np.float64), found.vectors.astype(np.float64))
    assert len(found) == 3
