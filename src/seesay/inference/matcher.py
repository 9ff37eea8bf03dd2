"""A model with a matching head ready for use, such as a Q-Former or BLIP: it compares images and
texts by vectors, and judges a text and an image together.

    matcher = load_matcher("runs/mine/model")
    images, texts = matcher.look(["cat.jpg", "dog.jpg"]), matcher.read(["a cat"])
    matcher.similarities(images, texts)                 # images x texts
    matcher.judge(images, texts, [0, 1], [0, 0])        # of each pair, a logit
    matcher.match_probabilities(images, texts, [0, 1], [0, 0])
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Float, Int

from seesay.data.images import ImageSource, describe_source, open_image
from seesay.data.model_files import read_json
from seesay.data.squares import square
from seesay.errors import ConfigError, SeesayError
from seesay.inference.embedder import Embedder, Failure, load
from seesay.text import Text
from seesay.weights.catalog import find
from seesay.weights.hub import locate

if TYPE_CHECKING:
    import torch

    from seesay.models.blip import BlipMatcher
    from seesay.models.blip2 import Blip2Matcher
    from seesay.weights.bundle import Bundle

AT_ONCE = 32  # images, texts or pairs
JUDGED_BEGIN = "[ENC]"
"""What a text begins with that BLIP judges with an image (BLIP, blip_retrieval.py)."""
CONTEXTS = {"blip": 35, "blip-2": 32}
"""By the "model_type" of a published matcher, its longest text in tokens (LAVIS)."""


@dataclass(frozen=True, kw_only=True)
class SeenImages:
    """Images as a matcher has seen them; those that cannot be read have no row."""

    vectors: Float[np.ndarray, "images queries embed"]
    """Unit vectors, one for each query; of BLIP, one."""
    patches: "torch.Tensor"
    """What the queries or texts attend to, (images patches dim) in float16."""
    failures: tuple[Failure, ...] = ()
    """The images that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class ReadTexts:
    """Texts as a matcher has read them."""

    vectors: Float[np.ndarray, "texts embed"]
    """Unit vectors."""
    ids: Int[np.ndarray, "texts tokens"]


class Matcher:
    """A Q-Former with its image tower, or BLIP's matcher."""

    def __init__(
        self,
        bundle: "Bundle[Any]",
        *,
        device: "str | torch.device | None" = None,
        judged_begin: int | None = None,
    ) -> None:
        """`judged_begin` is the id that a text begins with where it is judged, if another."""
        from seesay.data.transform import ImageTransform
        from seesay.inference.devices import choose_device

        here = bundle.model.match.weight.device
        self.device = here if device is None else choose_device(device)
        self.name, self.bundle = bundle.name, bundle
        self.model: Blip2Matcher | BlipMatcher = bundle.model.to(self.device).eval()
        self._judged_begin = judged_begin
        self._width = self.model.text_proj.out_features
        self.transform, self.tokenizer = ImageTransform(bundle.transform), bundle.tokenizer

    def look(self, images: Sequence[object]) -> SeenImages:
        """Sees images: paths, files' bytes, Pillow images, arrays or tensors."""
        import torch

        squares, failures = [], []
        for index, source in enumerate(images):
            try:
                squares.append(self._square(cast(ImageSource, source)))
            except SeesayError as error:
                failures.append(Failure(index=index, source=describe_source(source), error=error))
        seen = self._in_parts(self._see, [squares[i : i + AT_ONCE] for i in _starts(squares)])
        c = self.model.config
        none = torch.empty(0, 1, self._width), torch.empty(0, 0, c.image.dim)
        vectors, patches = map(torch.cat, zip(*seen, strict=True)) if seen else none
        return SeenImages(vectors=vectors.numpy(), patches=patches.half(), failures=tuple(failures))

    def read(self, texts: Sequence[str]) -> ReadTexts:
        """Reads texts in any language the model knows. What is beyond its context is cut off, as in
        BLIP-2."""
        import torch

        ids = self.tokenizer.encode(list(texts)).first
        parts = self._in_parts(self._embed, [ids[i : i + AT_ONCE] for i in _starts(ids)])
        vectors = torch.cat(parts) if parts else torch.empty(0, self._width)
        return ReadTexts(vectors=vectors.numpy(), ids=ids)

    def similarities(
        self, images: SeenImages, texts: ReadTexts
    ) -> Float[np.ndarray, "images texts"]:
        """Returns the cosine of each text with the nearest query of each image."""
        cosines: Any = images.vectors @ texts.vectors.T
        return cosines.max(axis=1)

    def judge(
        self,
        images: SeenImages,
        texts: ReadTexts,
        image_numbers: Sequence[int] | Int[np.ndarray, " pairs"],
        text_numbers: Sequence[int] | Int[np.ndarray, " pairs"],
    ) -> Float[np.ndarray, " pairs"]:
        """Returns the logit of "matches" for each pair, given as indices of an image and a text."""
        return self._judged(images, texts, image_numbers, text_numbers)[:, 1]

    def match_probabilities(
        self,
        images: SeenImages,
        texts: ReadTexts,
        image_numbers: Sequence[int] | Int[np.ndarray, " pairs"],
        text_numbers: Sequence[int] | Int[np.ndarray, " pairs"],
    ) -> Float[np.ndarray, " pairs"]:
        """Returns the probability that each pair matches, given as for `judge`."""
        logits = self._judged(images, texts, image_numbers, text_numbers)
        return (1 + np.tanh((logits[:, 1] - logits[:, 0]) / 2)) / 2

    def _judged(
        self,
        images: SeenImages,
        texts: ReadTexts,
        image_numbers: Sequence[int] | Int[np.ndarray, " pairs"],
        text_numbers: Sequence[int] | Int[np.ndarray, " pairs"],
    ) -> Float[np.ndarray, "pairs 2"]:
        import torch

        of_images, of_texts = np.asarray(image_numbers), np.asarray(text_numbers)
        pairs = [(of_images[i : i + AT_ONCE], of_texts[i : i + AT_ONCE]) for i in _starts(of_texts)]

        def judged(pair: tuple[Any, Any]) -> "torch.Tensor":
            patches = images.patches[torch.from_numpy(pair[0])].to(self.device)
            ids, real = self._ids(texts.ids[pair[1]])
            if self._judged_begin is not None:
                ids[:, 0] = self._judged_begin
            return self.model(patches.to(self.model.match.weight.dtype), ids, real).float().cpu()

        parts = self._in_parts(judged, pairs)
        return torch.cat(parts).numpy() if parts else np.empty((0, 2), np.float32)

    def _in_parts(self, work: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        import torch

        with torch.inference_mode():
            return [work(part) for part in parts]

    def _square(self, source: ImageSource) -> Any:
        config = self.transform.config
        return np.array(square(open_image(source, target=config.size), config))

    def _see(self, squares: Sequence[Any]) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        images = torch.from_numpy(np.stack(squares)).to(self.device)
        pixels = self.transform.normalise(images).to(self.model.match.weight.dtype)
        patches = self.model.patches(pixels)
        vectors = self.model.embed_images(patches).float().cpu()
        return (vectors if vectors.ndim == 3 else vectors[:, None]), patches.cpu()

    def _embed(self, ids: Any) -> "torch.Tensor":
        return self.model.embed_texts(*self._ids(ids)).float().cpu()

    def _ids(self, ids: Any) -> "tuple[torch.Tensor, torch.Tensor]":
        """Rows of ids, without what is padding in all of them, and where they are not padding."""
        import torch

        real = ids != self.tokenizer.config.pad_id
        longest = int(real.sum(axis=1).max())
        rows = torch.from_numpy(ids[:, :longest]).to(self.device)
        return rows, torch.from_numpy(real[:, :longest]).to(self.device)


def _starts(rows: Any) -> range:
    return range(0, len(rows), AT_ONCE)


def load_matcher(name: str | Path, *, device: "str | torch.device | None" = None) -> Matcher:
    """Loads a Q-Former that a recipe with [model.qformer] trained, or the published matcher of BLIP
    or BLIP-2. Raises UnknownModelError, DownloadError, WeightsError, or ConfigError for a model of
    another kind."""
    from seesay.models.blip2 import Blip2Matcher
    from seesay.weights.bundle import load_bundle

    folder = locate(str(name)).folder
    if _published_type(folder) in CONTEXTS:
        return _load_published(folder, str(name), device)
    bundle = load_bundle(folder, name=str(name))
    if not isinstance(bundle.model, Blip2Matcher):
        raise _no_matcher(str(name), bundle.model)
    return Matcher(bundle, device=device)


def load_comparing(
    name: str | Path, *, device: "str | torch.device | None" = None
) -> "Embedder | Matcher":
    """Loads a model that compares images with texts: one with a matching head, or a dual encoder.
    Raises what `load_matcher` and `seesay.load` raise."""
    if find(str(name)) is None:
        folder = locate(str(name)).folder
        own = folder / "seesay.json"
        family = read_json(own).get("family") if own.is_file() else None
        if family == "qformer" or _published_type(folder) in CONTEXTS:
            return load_matcher(name, device=device)
    return load(name, device=device)


def _published_type(folder: Path) -> str:
    """The "model_type" of a folder in a published layout; "" if it says none."""
    if (folder / "seesay.json").is_file() or not (folder / "config.json").is_file():
        return ""
    return str(read_json(folder / "config.json").get("model_type"))


def _load_published(folder: Path, name: str, device: "str | torch.device | None") -> Matcher:
    from seesay.data.tokenizer import Tokenizer, TokenizerConfig
    from seesay.data.vocabularies import library_errors, read_vocabulary
    from seesay.inference.visual_inputs import preprocessor_settings, whole_square
    from seesay.models.blip import BlipMatcher
    from seesay.models.blip2 import Blip2Matcher
    from seesay.models.vit import VitConfig
    from seesay.weights.blip import load_blip
    from seesay.weights.blip2 import load_blip2
    from seesay.weights.bundle import Bundle

    published = _published_type(folder)
    model = load_blip(folder) if published == "blip" else load_blip2(folder)
    if not isinstance(model, BlipMatcher | Blip2Matcher):
        raise _no_matcher(name, model)
    backend = read_vocabulary(folder)
    backend.add_special_tokens(["[DEC]", JUDGED_BEGIN])  # in BLIP's order, where they are missing
    begin = backend.token_to_id(JUDGED_BEGIN) if published == "blip" else None
    reader = model.config.text if isinstance(model, BlipMatcher) else model.config.qformer
    with library_errors(f"the tokenizer in {folder}"):
        context = min(CONTEXTS[published], reader.context)
        layout = TokenizerConfig(context=context, pad_id=backend.token_to_id("[PAD]") or 0)
        tokenizer = Tokenizer(backend, layout)
    tower = model.config.image
    assert isinstance(tower, VitConfig)  # a MobileNet is in no published one
    bundle = Bundle(
        model=model,
        tokenizer=tokenizer,
        transform=whole_square(tower.image_size, preprocessor_settings(folder)),
        name=name,
    )
    return Matcher(bundle, device=device, judged_begin=begin)


def _no_matcher(name: str, model: Any) -> ConfigError:
    return ConfigError(
        Text(
            f"{name} is a {type(model).__name__}, expected a model with a matching head: a "
            "Q-Former with its image tower, as a recipe with [model.qformer] trains one, or the "
            "matcher of BLIP or BLIP-2: choose another model",
            f"{name} 是 {type(model).__name__}；应为带匹配头的模型：用 [model.qformer] 训练的带图像"
            "塔的 Q-Former，或 BLIP、BLIP-2 的匹配模型；请换一个",
        )
    )
