"""A small vision-language model in numpy, to answer a question without loading torch.

    assistant = load_numpy_assistant("runs/easy-vqa/model", whole)
    assistant.ask("picture.png", "What color is the shape?").text

It is for a process that answers once, where importing torch takes far longer than the answer, and
for models in seesay's own layout with the parts that `[model.assistant]` of a recipe builds: a
MobileNet or EfficientNet-Lite, a linear, MLP or pixel-shuffle connector, and a Llama-style decoder.
Answers are those of the torch model in float32, and log probabilities match to 1e-4. With a seed,
sampled answers repeat, but are not those of torch.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from seesay.data.chat import Media, end_ids
from seesay.data.chat_templates import chat_template
from seesay.data.model_files import read_json
from seesay.data.squares import ImageTransformConfig, square
from seesay.data.tokenizer import TokenizerConfig, load_tokenizer
from seesay.inference.answer_writer import AnswerWriter, PromptFiles, Task
from seesay.inference.cancelling import check_cancelled
from seesay.inference.certainty import read_certainty
from seesay.inference.decoding import DecodingConfig, WrittenToken
from seesay.inference.numpy_decoder import NumpyCache, NumpyDecoder, decoder_shapes, runs
from seesay.inference.numpy_layers import ACTIVATIONS, LAYOUT, NOT_WHOLE, StoredWeights, softmax
from seesay.inference.numpy_tower import NumpyMobileNet, map_side, tower_shapes
from seesay.inference.request import Request, VisualInput, no_video
from seesay.weights.hub import on_disk

if TYPE_CHECKING:
    from seesay.inference.assistant import LocalAssistant

MOST_PIXELS = 1024
"""Side of a picture; torch is faster with larger ones."""
SEEN = 8
"""Pictures whose rows are kept."""
_SETTINGS = {"tower", "connector", "decoder", "image_ids", "class_token", "newline", "most_tiles"}


def load_numpy_assistant(
    name: str, whole: "Callable[[], LocalAssistant]"
) -> "NumpyAssistant | None":
    """Returns the model in this folder, or the built-in one of this name; None if numpy cannot run
    it, or if its files are damaged, which `whole` reports. `whole` loads the torch model, for what
    numpy does not do."""
    folder = on_disk(name)
    if folder is None or not (folder / LAYOUT).is_file():
        return None
    try:
        described = read_json(folder / LAYOUT)
        if described["format"] != 1 or described.get("family") != "vlm":
            return None
        return _opened(folder, described, name, whole)
    except NOT_WHOLE:
        return None


def _opened(
    folder: Path, described: Mapping[str, Any], name: str, whole: "Callable[[], LocalAssistant]"
) -> "NumpyAssistant | None":
    """Raises one of NOT_WHOLE for damaged files."""
    model, transform = described["model"], _transform(described["transform"])
    if not _has_known_parts(model) or not _sees(model, transform):
        return None
    weights = StoredWeights(folder / "model.safetensors")
    if not _matches(weights, model):
        return None
    tokenizer = load_tokenizer(folder, TokenizerConfig(**described["tokenizer"]))
    prompts, template = tokenizer.for_prompts(), chat_template(described["template"])
    decoder = model["decoder"]
    if (
        tokenizer.largest_id >= decoder["vocab_size"]
        or tokenizer.config.context > decoder["context"]
        or model["image_ids"] != [prompts.token_to_id(template.marks.image)]
    ):
        return None
    files = PromptFiles(
        name=name,
        inputs=NumpyInputs(weights, model, transform),
        tokenizer=prompts,
        template=template,
        end_ids=tuple(sorted(end_ids(template, prompts))),
        decoding=DecodingConfig(),
        context=decoder["context"],
        certainty=read_certainty(folder),
        caption_beams=int(described.get("generation", {}).get("beams", 1)),
    )
    return NumpyAssistant(files, NumpyDecoder(weights, decoder), whole)


def _transform(settings: Mapping[str, Any]) -> ImageTransformConfig:
    colours: dict[str, Any] = {name: tuple(settings[name]) for name in ("mean", "std")}
    return ImageTransformConfig(**{**settings, **colours})


def _has_known_parts(model: Mapping[str, Any]) -> bool:
    return (
        model.keys() == _SETTINGS
        and model["tower"]["tower"] == "mobilenet"
        and model["tower"]["classes"] == 0
        and all(kernel in (3, 5) for kernel in model["tower"]["kernels"])
        and all(stage[3] in (1, 2) for stage in model["tower"]["stages"])
        and model["connector"]["tower"] in CONNECTORS
        and model["connector"].get("activation", "gelu") in ACTIVATIONS
        and runs(model["decoder"])
        and (model["class_token"], model["newline"]) == (False, False)
    )


def _sees(model: Mapping[str, Any], transform: ImageTransformConfig) -> bool:
    """Whether pictures fit the tower, and its last map the connector."""
    side = map_side(model["tower"], transform.size)
    whole = side % model["connector"].get("side", 1) == 0
    return transform.resize != "patches" and transform.size <= MOST_PIXELS and whole


def _matches(weights: StoredWeights, model: Mapping[str, Any]) -> bool:
    """Whether the file holds just the tensors that the model has."""
    shapes = (
        tower_shapes(model["tower"]),
        connector_shapes(model),
        decoder_shapes(model["decoder"]),
    )
    count = 0
    for name, shape in (one for some in shapes for one in some):
        if not weights.fits(name, shape):
            return False
        count += 1
    return count == weights.count


def connector_shapes(model: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the tensors of a connector: name and shape."""
    connector, image_dim = model["connector"], model["tower"]["dim"]
    text_dim, bias = model["decoder"]["dim"], connector.get("bias", True)
    width = image_dim * connector.get("side", 1) ** 2
    linear = {
        "linear": {"map": width},
        "mlp": {"mlp.0": width, "mlp.2": text_dim},
        "pixel_shuffle": {"mlp.1": width, "mlp.3": text_dim},
    }[connector["tower"]]
    if connector["tower"] == "pixel_shuffle":
        yield "connector.mlp.0.weight", (width,)
        yield "connector.mlp.0.bias", (width,)
    for name, reads in linear.items():
        yield f"connector.{name}.weight", (text_dim, reads)
        if bias:
            yield f"connector.{name}.bias", (text_dim,)


# From a picture to rows of the prompt


class NumpyInputs:
    """One square and a fixed number of rows per picture, as `visual_inputs.PictureInputs` has
    them."""

    most_images: int | None = 1
    has_video = False

    def __init__(
        self, weights: StoredWeights, model: Mapping[str, Any], transform: ImageTransformConfig
    ) -> None:
        """`model` is the model's part of seesay.json."""
        self._weights, self._square = weights, transform
        self._tower = NumpyMobileNet(weights, model["tower"])
        self._connector = model["connector"]
        self._side = map_side(model["tower"], transform.size)
        self._rows = (self._side // self._connector.get("side", 1)) ** 2
        self._seen: OrderedDict[bytes, Float[np.ndarray, "rows dim"]] = OrderedDict()
        self._mutex = Lock()

    def picture(self, image: Image.Image, *, alone: bool) -> VisualInput:
        pixels = np.asarray(square(image, self._square))[None]
        return VisualInput(Media("image", (self._rows,)), pixels, None)

    def video(self, file: str | Path) -> VisualInput:
        raise no_video("Vlm")

    def about(self, one: VisualInput, text: str) -> VisualInput:
        return one

    def see(self, inputs: Sequence[VisualInput]) -> list[Float[np.ndarray, "rows dim"]]:
        """Returns the rows of each picture."""
        return [self._see_once(one) for one in inputs]

    def means_of(self, digests: Sequence[bytes]) -> Float[np.ndarray, "pictures dim"]:
        """Returns the mean of each picture's rows, of those that were seen last."""
        with self._mutex:
            known = [self._seen[one].mean(axis=0) for one in digests if one in self._seen]
        return np.stack(known) if known else np.empty((0, 0), np.float32)

    def _see_once(self, one: VisualInput) -> Float[np.ndarray, "rows dim"]:
        digest = one.digest
        with self._mutex:
            if digest not in self._seen:
                self._seen[digest] = self._look(one.pixels[0])
                if len(self._seen) > SEEN:
                    self._seen.popitem(last=False)
            return self._seen[digest]

    def _look(self, pixels: UInt8[np.ndarray, "side side 3"]) -> Float[np.ndarray, "rows dim"]:
        values = pixels.transpose(2, 0, 1).astype(np.float32)
        mean, std = (
            np.array(one, np.float32)[:, None, None]
            for one in (self._square.mean, self._square.std)
        )
        patches = self._tower((values / np.float32(255) - mean) / std)
        return CONNECTORS[self._connector["tower"]](self, patches)

    def _linear(self, name: str, x: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows out"]:
        y = x @ self._weights[f"connector.{name}.weight"].T
        bias = f"connector.{name}.bias"
        return y + self._weights[bias] if bias in self._weights else y

    def _mlp(
        self, first: str, second: str, x: Float[np.ndarray, "rows dim"]
    ) -> Float[np.ndarray, "rows out"]:
        active = ACTIVATIONS[self._connector["activation"]](self._linear(first, x))
        return self._linear(second, active)

    def _shuffled(self, x: Float[np.ndarray, "patches dim"]) -> Float[np.ndarray, "rows merged"]:
        """Returns the patches of each square as one normalised row."""
        side = self._connector["side"]
        line = self._side // side
        grid = x.reshape(line, side, line, side, -1).transpose(0, 2, 1, 3, 4)
        if self._connector["transposed"]:
            grid = grid.swapaxes(0, 1)
        merged = grid.reshape(line * line, -1)
        centred = merged - merged.mean(axis=-1, keepdims=True)
        eps = np.float32(self._connector["norm_eps"])
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
        weight, bias = (self._weights[f"connector.mlp.0.{one}"] for one in ("weight", "bias"))
        return centred / spread * weight + bias


Connector = Callable[[NumpyInputs, Any], Any]
CONNECTORS: dict[str, Connector] = {
    "linear": lambda inputs, x: inputs._linear("map", x),
    "mlp": lambda inputs, x: inputs._mlp("mlp.0", "mlp.2", x),
    "pixel_shuffle": lambda inputs, x: inputs._mlp("mlp.1", "mlp.3", inputs._shuffled(x)),
}
"""Connectors by their name in seesay.json."""


# From a prompt to tokens


@dataclass(frozen=True, eq=False)
class NumpyReading:
    """The decoder's state after a prompt."""

    logits: Float[np.ndarray, " vocab"]
    """Logits of the first token to write."""
    cache: NumpyCache


class NumpyAssistant(AnswerWriter):
    """The model with its tokenizer, chat template and image preprocessing. Safe to use from several
    threads."""

    def __init__(
        self,
        files: PromptFiles,
        decoder: NumpyDecoder,
        whole: "Callable[[], LocalAssistant]",
        decoding: DecodingConfig | None = None,
    ) -> None:
        super().__init__(files, decoding)
        self._decoder, self._whole = decoder, whole

    def configured(self, decoding: DecodingConfig, stop: Sequence[str] = ()) -> AnswerWriter:
        """As in AnswerWriter; loads torch and the whole model for what numpy does not do: contrast,
        and fewer tokens per picture."""
        if decoding.contrast is not None or decoding.reduction is not None:
            return self._whole().configured(decoding, stop)
        return super().configured(decoding, stop)

    def _batches(self, requests: Sequence[Request]) -> Iterable[list[Request]]:
        return ([one] for one in requests)

    def _read(self, requests: Sequence[Request], task: Task) -> NumpyReading:
        [request] = requests
        embeds = self._decoder.embed(request.ids)
        rows = self.files.inputs.see(request.inputs)
        for span in request.spans:
            embeds[span.start : span.stop] = rows[span.media]
        cache = self._decoder.cache(len(request.ids) + self._limit(request, task))
        return NumpyReading(self._decoder(embeds, cache), cache)

    def _steps(
        self, reading: NumpyReading, rows: int, limit: int, task: Task
    ) -> Iterator[list[WrittenToken | None]]:
        random = Random(None if task.decoding.seed is None else str(task.decoding.seed))
        logits = reading.logits
        token: int | None = None
        for _ in range(limit):
            if token is not None:
                logits = self._decoder(self._decoder.embed([token]), reading.cache)
            token = choose_token(logits, task.decoding, random)
            most = logits.max()
            total = np.log(np.exp(logits - most).sum())
            yield [WrittenToken(token, float(logits[token] - most - total))]
            check_cancelled()
            if token in self.files.end_ids:
                return

    def _rows(
        self, requests: Sequence[Request], limit: int, task: Task
    ) -> list[list[WrittenToken]]:
        if task.beams == 1:
            return super()._rows(requests, limit, task)
        return [self._search_beams(self._read([one], task), limit, task.beams) for one in requests]

    def _search_beams(self, reading: NumpyReading, limit: int, beams: int) -> list[WrittenToken]:
        """As `seesay.inference.generation.beam_search`, for one text."""
        found = [_Beam((), 0.0, reading.logits, reading.cache)]
        for _ in range(limit):
            options = [option for beam in found for option in self._continuations(beam, beams)]
            best = sorted(options, key=lambda option: -option[0])[:beams]
            found = [self._continued(score, beam, token) for score, beam, token in best]
            if all(self._ended(beam) for beam in found):
                break
            check_cancelled()
        # Texts that have not ended are cut off: any finished text is better.
        chosen = max(found, key=lambda beam: (self._ended(beam), beam.score / len(beam.ids)))
        return [WrittenToken(one, float("nan")) for one in chosen.ids]

    def _ended(self, beam: "_Beam") -> bool:
        return bool(beam.ids) and beam.ids[-1] in self.files.end_ids

    def _continuations(
        self, beam: "_Beam", beams: int
    ) -> Iterator[tuple[float, "_Beam", int | None]]:
        """Yields the most likely next tokens of a text, each with the score of the longer text. A
        text that has ended is yielded once, with None in place of a token."""
        if self._ended(beam):
            yield beam.score, beam, None
            return
        logs = beam.logits - beam.logits.max()
        logs -= np.log(np.exp(logs).sum())
        for token in np.argsort(-logs, kind="stable")[:beams]:
            yield beam.score + float(logs[token]), beam, int(token)

    def _continued(self, score: float, beam: "_Beam", token: int | None) -> "_Beam":
        if token is None:
            return beam
        ids = (*beam.ids, token)
        if token in self.files.end_ids:
            return _Beam(ids, score, beam.logits, beam.cache)
        cache = beam.cache.copy()
        return _Beam(ids, score, self._decoder(self._decoder.embed([token]), cache), cache)


@dataclass(frozen=True, eq=False)
class _Beam:
    """A text that a beam search follows."""

    ids: tuple[int, ...]
    score: float
    """Sum of the log probabilities of its tokens."""
    logits: Float[np.ndarray, " vocab"]
    cache: NumpyCache


def choose_token(
    logits: Float[np.ndarray, " vocab"], decoding: DecodingConfig, random: Random
) -> int:
    """Returns the next token, as `seesay.inference.generation.choose_tokens` does for rows."""
    if decoding.temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) / decoding.temperature
    order = np.argsort(-scaled, kind="stable")[: decoding.top_k or None]
    odds = softmax(scaled[order])
    sums = odds.cumsum()
    kept = int((sums - odds < decoding.top_p).sum()) if decoding.top_p < 1 else len(sums)
    drawn = np.searchsorted(sums[:kept], random.random() * sums[kept - 1], side="right")
    return int(order[min(int(drawn), kept - 1)])
