"""A Q-Former ready for use: it compares images and texts by several vectors of each image, and
judges a text and an image together.

    matcher = load_matcher("runs/mine/model")
    images, texts = matcher.look(["cat.jpg", "dog.jpg"]), matcher.read(["a cat"])
    matcher.similarities(images, texts)               # images x texts
    matcher.judge(images, texts, [0, 1], [0, 0])      # of each pair
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Float, Int

from seesay.data.images import ImageSource, describe_source, open_image
from seesay.data.squares import square
from seesay.errors import ConfigError, SeesayError
from seesay.inference.embedder import Failure
from seesay.text import Text
from seesay.weights.hub import locate

if TYPE_CHECKING:
    import torch

    from seesay.models.blip2 import Blip2Matcher
    from seesay.weights.bundle import Bundle

AT_ONCE = 32  # images, texts or pairs


@dataclass(frozen=True, kw_only=True)
class SeenImages:
    """Images as a matcher has seen them; those that cannot be read have no row."""

    vectors: Float[np.ndarray, "images queries embed"]
    """Unit vectors, one for each query."""
    patches: "torch.Tensor"
    """What the queries attend to, (images patches dim) in float16."""
    failures: tuple[Failure, ...] = ()
    """The images that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class ReadTexts:
    """Texts as a matcher has read them."""

    vectors: Float[np.ndarray, "texts embed"]
    """Unit vectors."""
    ids: Int[np.ndarray, "texts tokens"]


class Matcher:
    """A Q-Former with its image tower."""

    def __init__(
        self, bundle: "Bundle[Blip2Matcher]", *, device: "str | torch.device | None" = None
    ) -> None:
        from seesay.data.transform import ImageTransform
        from seesay.inference.devices import choose_device

        here = bundle.model.match.weight.device
        self.device = here if device is None else choose_device(device)
        self.name, self.bundle = bundle.name, bundle
        self.model = bundle.model.to(self.device).eval()
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
        none = torch.empty(0, c.qformer.queries, c.embed_dim), torch.empty(0, 0, c.image.dim)
        vectors, patches = map(torch.cat, zip(*seen, strict=True)) if seen else none
        return SeenImages(vectors=vectors.numpy(), patches=patches.half(), failures=tuple(failures))

    def read(self, texts: Sequence[str]) -> ReadTexts:
        """Reads texts in any language the model knows. What is beyond its context is cut off, as in
        BLIP-2."""
        import torch

        ids = self.tokenizer.encode(list(texts)).first
        parts = self._in_parts(self._embed, [ids[i : i + AT_ONCE] for i in _starts(ids)])
        vectors = torch.cat(parts) if parts else torch.empty(0, self.model.config.embed_dim)
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
        import torch

        of_images, of_texts = np.asarray(image_numbers), np.asarray(text_numbers)
        pairs = [(of_images[i : i + AT_ONCE], of_texts[i : i + AT_ONCE]) for i in _starts(of_texts)]

        def judged(pair: tuple[Any, Any]) -> "torch.Tensor":
            patches = images.patches[torch.from_numpy(pair[0])].to(self.device)
            ids, real = self._ids(texts.ids[pair[1]])
            return self.model(patches.to(self.model.match.weight.dtype), ids, real)[:, 1].cpu()

        parts = self._in_parts(judged, pairs)
        return torch.cat(parts).numpy() if parts else np.empty(0, np.float32)

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
        return self.model.embed_images(patches).float().cpu(), patches.cpu()

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
    """Loads a Q-Former that a recipe with [model.qformer] trained. Raises UnknownModelError,
    WeightsError, or ConfigError for a model of another kind."""
    from seesay.models.blip2 import Blip2Matcher
    from seesay.weights.bundle import load_bundle

    bundle = load_bundle(locate(str(name)).folder, name=str(name))
    if not isinstance(bundle.model, Blip2Matcher):
        raise ConfigError(
            Text(
                f"{name} is a {type(bundle.model).__name__}, expected a Q-Former with its image "
                "tower, as a recipe with [model.qformer] trains one: choose another model",
                f"{name} 是 {type(bundle.model).__name__}；应为带图像塔的 Q-Former，"
                "即用 [model.qformer] 训练的模型；请换一个",
            )
        )
    return Matcher(bundle, device=device)
