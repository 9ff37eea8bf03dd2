"""Compares queries with pages by late interaction: one vector for each token of a page's picture,
and one for each token of a query (ColQwen2).

    pages = load_pages("colqwen2")
    vectors = pages.embed_page(Image.open("page.png"))      # [tokens, 128], float16: 2 bytes each
    max_sim(pages.embed_query("退租要提前多久？"), vectors)
"""

import hashlib
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16, Float32
from PIL import Image
from tokenizers import Tokenizer

from seesay.data.model_files import read_json
from seesay.data.spelling import visible
from seesay.data.vocabularies import read_vocabulary
from seesay.errors import WeightsError
from seesay.inference.devices import choose_device, choose_dtype
from seesay.inference.embedder import fingerprint_of
from seesay.inference.visual_inputs import (
    PROCESSOR,
    PackedInputs,
    packed_rule,
    preprocessor_settings,
)
from seesay.models.late_interaction import LateInteraction
from seesay.models.positions import multimodal_positions
from seesay.text import Text
from seesay.weights.colqwen2 import HUGGING_FACE_CLASS, PUBLISHED, load_colqwen2
from seesay.weights.hub import locate
from seesay.weights.tensors import loading_as

MOST_QUERY = 512
"""Tokens of a query; what is longer is cut."""
_AUGMENTATION = 10  # tokens after a query, which the model uses as room to think
_MOST_PIXELS = 768 * 28 * 28  # of the authors' processor, whose files allow more


@dataclass(frozen=True, kw_only=True)
class PagePrompt:
    """What is read beside a page and around a query. The defaults are ColQwen2's
    (transformers, processing_colqwen2.py)."""

    page: str = (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image."
        "<|im_end|><|endoftext|>"
    )
    query: str = "Query: "
    placeholder: str = "<|image_pad|>"
    augmentation: str = "<|endoftext|>"


class PageEmbedder:
    """Pages and queries -> one unit vector for each token. Safe to use from several threads."""

    def __init__(
        self,
        model: LateInteraction,
        inputs: PackedInputs,
        tokenizer: Tokenizer,
        prompt: PagePrompt,
        name: str,
    ) -> None:
        self.model, self.inputs, self.prompt, self.name = model, inputs, prompt, name
        self.dim = model.config.embed_dim
        self._mutex = threading.Lock()
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = False
        before, after = prompt.page.split(prompt.placeholder)
        self._before, self._placeholder, self._after, self._augmentation = (
            self._ids(part) for part in (before, prompt.placeholder, after, prompt.augmentation)
        )
        tokenizer.encode_special_tokens = True  # of what people write, nothing is a special token

    def __repr__(self) -> str:
        return f"PageEmbedder({self.name!r}, dim={self.dim})"

    @cached_property
    def fingerprint(self) -> str:
        """Tells apart weights and preprocessing whose vectors cannot be compared."""
        facts = f"{fingerprint_of(self.model)} {self.inputs.config!r} {self.prompt!r}"
        return f"pages {hashlib.sha256(facts.encode()).hexdigest()[:16]}"

    @torch.inference_mode()
    def embed_page(self, image: Image.Image) -> Float16[np.ndarray, "tokens embed"]:
        """Returns the vectors of a page, those of the prompt around it included. Alone in its
        batch: a page has hundreds of tokens."""
        picture = self.inputs.picture(image.convert("RGB"), alone=True)
        (count,) = picture.media.counts
        ids = [*self._before, *self._placeholder * count, *self._after]
        # As in training (colpali-engine); transformers 5 counts positions as in a text.
        grids = [[replace(grid, start=len(self._before)) for grid in picture.grids]]
        device = self.model.out.weight.device
        positions, _ = multimodal_positions(torch.ones(1, len(ids), dtype=torch.bool), grids)
        with self._mutex:
            seen = self.inputs.see([picture])
            vectors = self.model(torch.tensor([ids], device=device), seen, positions.to(device))
        return vectors[0].float().cpu().numpy().astype(np.float16)

    @torch.inference_mode()
    def embed_query(self, text: str) -> Float32[np.ndarray, "tokens embed"]:
        """Returns the vectors of a query."""
        content = self._ids(f"{self.prompt.query}{visible(text)}")[:MOST_QUERY]
        ids = [*content, *self._augmentation * _AUGMENTATION, *self._ids("\n")]
        with self._mutex:
            vectors = self.model(torch.tensor([ids], device=self.model.out.weight.device))
        return vectors[0].float().cpu().numpy()

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)


def load_pages(name: str, *, device: str | None = None, dtype: str | None = None) -> PageEmbedder:
    """Loads "colqwen2", a repository or a folder. Raises UnknownModelError, DownloadError or
    WeightsError."""
    folder = locate(PUBLISHED.get(name, name)).folder
    chosen = choose_device(device)
    number = choose_dtype(chosen, dtype)
    with loading_as(number):
        model = load_colqwen2(folder).to(chosen, number)
    published, settings = read_json(folder / "config.json"), dict(preprocessor_settings(folder))
    if published["architectures"] != [HUGGING_FACE_CLASS]:
        own = settings.get("max_pixels") or (settings.get("size") or {}).get("longest_edge")
        settings["max_pixels"] = min(_MOST_PIXELS, own or _MOST_PIXELS)
    rule = packed_rule(published.get("vlm_config", published))
    tokenizer = read_vocabulary(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    prompt = _prompt(folder)
    placeholder = tokenizer.token_to_id(prompt.placeholder)
    if placeholder not in model.config.vlm.image_ids or prompt.page.count(prompt.placeholder) != 1:
        raise _unmarked(folder, prompt)
    return PageEmbedder(model, PackedInputs(model.vlm, settings, rule), tokenizer, prompt, name)


def _prompt(folder: Path) -> PagePrompt:
    settings = read_json(folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}
    usual = PagePrompt()
    return PagePrompt(
        page=settings.get("visual_prompt_prefix") or usual.page,
        query=settings.get("query_prefix") or usual.query,
    )


def _unmarked(folder: Path, prompt: PagePrompt) -> WeightsError:
    sign = prompt.placeholder
    return WeightsError(
        Text(
            f"{folder} has no place for a page: its prompt is {prompt.page!r:.80}; expected "
            f"{sign} in it once, and in config.json and the vocabulary as the same token. Download "
            "the folder again",
            f"{folder} 里没有放页面的位置：其提示是 {prompt.page!r:.80}；其中应有一个 {sign}，"
            "且它在 config.json 和词表里是同一个词元；请重新下载整个文件夹",
        )
    )
