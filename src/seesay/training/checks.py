"""Whether a recipe can learn anything, asked before the first step.

What the settings alone show is compared with the vocabulary and the data. The rest is seen on a
real batch: different texts and pictures must get different vectors, and the gradient of the loss
must reach every part that is to learn. Every process comes to the same answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from seesay.data.batches import Batches
from seesay.data.tokenizers import Tokenizer
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError
from seesay.models.dual_encoder import DualEncoder
from seesay.models.text_encoder import TextConfig
from seesay.training.captioning import CaptioningConfig
from seesay.training.distributed import in_all, is_sharded
from seesay.training.dual_encoder import DualEncoderStep
from seesay.training.objectives import CAPTIONS, Batch, Objective
from seesay.training.recipes.recipe import Recipe
from seesay.weights.bundle import Bundle
from seesay.weights.dual_encoder import SAME

ROWS = 32
"""Images of each source that are looked at, and texts: a few show what all would."""


def check_settings(recipe: Recipe, made: Bundle[Any], records: Mapping[str, int]) -> None:
    """Raises ConfigError where the settings do not fit the vocabulary or the data; `records` is how
    many each source has. A finished model that is trained further brings a vocabulary that fits."""
    for name, count in records.items():
        batch = recipe.data[name].batch
        if batch > count:
            raise ConfigError(
                f"data.{name}.batch={batch} is larger than the {count} records in "
                f"{recipe.data[name].path}, so a batch would hold the same picture twice; expected "
                f"at most {count}: set data.{name}.batch={count} or lower"
            )
    if recipe.model.architecture is not None:
        _check_vocab_size(recipe, made)
        _check_end(made.model.config.text, made.tokenizer)


def _check_vocab_size(recipe: Recipe, made: Bundle[Any]) -> None:
    size, vocabulary = made.model.config.text.vocab_size, recipe.model.vocabulary
    if vocabulary is not None:
        expected, of = vocabulary.size, "model.vocabulary.size"
    else:
        expected, of = made.tokenizer.largest_id + 1, f"{recipe.model.tokenizer_folder} has"
    if size != expected:
        raise ConfigError(
            f"model.architecture.text.vocab_size={size} is not the {expected} tokens that {of}, "
            f"expected the same: set model.architecture.text.vocab_size={expected}"
        )


def _check_end(text: Any, tokenizer: Tokenizer) -> None:
    """Where the text tower reads a text at its end, the tokenizer must put that end there."""
    if not isinstance(text, TextConfig) or text.pool != "eos":
        return
    ends = [one for one in tokenizer.suffix if one not in tokenizer.prefix]
    if text.eos_id in ends:
        return
    if ends:
        remedy = f"set model.architecture.text.eos_id={ends[0]}"
    else:
        remedy = (
            "let the vocabulary end its texts, by model.vocabulary.written=true and "
            'model.architecture.text.eos_id=2, or set model.architecture.text.pool="last"'
        )
    raise ConfigError(
        f"model.architecture.text.eos_id={text.eos_id} does not mark the end of a text: the "
        f"vocabulary puts the tokens {list(tokenizer.prefix)} before a text and "
        f"{list(tokenizer.suffix)} behind it, so pool='eos' would read the first token of every "
        f"text and no other; expected a token that stands at the end alone: {remedy}"
    )


def first_batch(batches: Batches) -> Batch:
    """The beginning of the first batch; every process must ask. Raises DataError, in every process,
    where nothing can be read."""
    read: list[Batch] = []
    in_all(lambda: read.append(batches.beginning(ROWS)))
    return read[0]


def check_vectors(
    recipe: Recipe, made: Bundle[Any], objectives: Sequence[Objective], batch: Batch
) -> None:
    """Raises ConfigError, in every process, where a model gives different texts or different
    pictures of a batch the same vectors."""
    in_all(lambda: _check_vectors(recipe, made, objectives, batch))


@torch.no_grad()
def _check_vectors(
    recipe: Recipe, made: Bundle[Any], objectives: Sequence[Objective], batch: Batch
) -> None:
    _check_padding(recipe, made, batch)
    model, device = made.model.eval(), made.model.log_scale.device
    inputs = {n: t for one in objectives for n, t in one.inputs(batch).items()}
    transform = ImageTransform(made.transform)
    for name, tensor in inputs.items():
        if name.endswith(CAPTIONS):
            continue
        rows = tensor.unique(dim=0)[: 2 * ROWS].to(device)
        if tensor.dtype == torch.uint8:
            vectors = model.embed_images(transform.normalise(rows).to(model.log_scale.dtype))
            _check_different("pictures", name, vectors, _about_images(recipe))
        else:
            _check_different("texts", name, model.embed_texts(rows), _about_texts(recipe))


def _check_different(what: str, name: str, vectors: Tensor, remedy: str) -> None:
    """Some may meet by chance, as two orders of the same words do in a bag of words."""
    apart = torch.cdist(vectors.double(), vectors.double(), p=torch.inf)
    same = (apart <= SAME).tril(-1).any(dim=1)  # as one that stands before it
    different = len(vectors) - int(same.sum())
    if len(vectors) > 1 and 2 * different <= len(vectors):
        raise ConfigError(
            f"the model gives {len(vectors)} different {what} of the first batch "
            f"({name.rpartition('.')[0]}) only {different} different "
            f"vector{'s' if different > 1 else ''}, so it cannot learn to tell them apart; "
            f"expected one of its own for each: {remedy}"
        )


def _about_images(recipe: Recipe) -> str:
    if recipe.model.start is not None:
        return f"start from another model than {recipe.model.start}, whose weights are damaged"
    return "correct model.architecture.image, or model.image_weights"


def _about_texts(recipe: Recipe) -> str:
    if recipe.model.start is not None:
        return f"start from another model than {recipe.model.start}, whose tokenizer does not fit"
    return "correct pool and eos_id in model.architecture.text, or the vocabulary"


def _check_padding(recipe: Recipe, made: Bundle[Any], batch: Batch) -> None:
    """What fills a row must not stand within a text, where the tower would not see it."""
    pad_id = made.tokenizer.config.pad_id
    writes = any(isinstance(o, CaptioningConfig) for o in recipe.objective.values())
    if getattr(made.model.config.text, "pad_id", None) is None and not writes:
        return
    for name, source in batch["sources"].items():
        padding = source["ids"] == pad_id
        if bool((padding[:, :-1] & ~padding[:, 1:]).any()):
            raise ConfigError(
                f"the padding token {pad_id} stands inside the texts of data.{name}, where it is "
                "not seen; expected one that fills the rest of a row and nothing else: set "
                "model.tokenizer.pad_id to the padding token of the vocabulary, and pad_id of "
                "model.architecture.text alike"
            )


def check_gradients(step: DualEncoderStep, model: DualEncoder, batch: Batch) -> None:
    """Raises ConfigError, in every process, where the loss of a batch has no gradient for a part
    that is to learn. Weights, running statistics and gradients are left as they were."""
    statistics = [(buffer, buffer.clone()) for buffer in model.buffers()]
    loss = step(batch)
    if loss.requires_grad:
        loss.backward()
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    found = in_all(lambda: (_with_gradient(learning), _moved(learning)))
    reached, moved = (set().union(*sets) for sets in zip(*found, strict=True))
    model.zero_grad(set_to_none=True)
    for buffer, before in statistics:
        buffer.copy_(before)
    missing = [name for name in learning if name not in reached]
    # A scalar such as the temperature may be of no use to an objective. In a part that begins with
    # zeros, as residual branches do, some parameters only move from the second step on.
    parts = dict.fromkeys(n.split(".")[0] for n, p in learning.items() if p.ndim)
    missing += [part for part in parts if not any(n.split(".")[0] == part for n in moved)]
    if missing:
        raise ConfigError(
            f"no gradient reaches {', '.join(missing[:5])} in the first batch, so nothing is "
            "learned there; expected one in every part that is not locked: give the objectives "
            "batches of at least 2 with different texts and weights above 0, or lock the part by "
            f"optimizer.freeze={[missing[0]]}"
        )


def _with_gradient(parameters: Mapping[str, Tensor]) -> set[str]:
    return {name for name, parameter in parameters.items() if parameter.grad is not None}


def _moved(parameters: Mapping[str, Tensor]) -> set[str]:
    """Those of which this process has a gradient that is not zero."""
    return {name for name, gradient in _gradients(parameters) if bool(gradient.any())}


def _gradients(parameters: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in parameters.items():
        gradient: Any = parameter.grad
        if gradient is not None:
            yield name, gradient.to_local() if is_sharded(gradient) else gradient
