"""Checks, before the first step, whether a recipe can learn anything.

The settings are compared with the vocabulary and the data. The first batch shows the rest:
different texts and pictures must get different vectors, and the gradient of the loss must reach
every part that is trained. All processes reach the same verdict.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seesay.data.batches import Batch, Batches
from seesay.data.tokenizer import Tokenizer
from seesay.errors import ConfigError
from seesay.models.text_encoder import TextConfig
from seesay.objectives.objective import DrawingObjective, Objective, View
from seesay.text import Text
from seesay.training.distributed import in_every_process, is_sharded
from seesay.training.loop import TrainingStep
from seesay.training.recipe import Recipe
from seesay.weights.bundle import Bundle, family_of
from seesay.weights.dual_encoder import SAME

PICTURES, TEXTS = Text("pictures", "图片"), Text("texts", "文字")
ROWS = 32
"""How many images and texts of each source are checked."""


def check_settings(recipe: Recipe, bundle: Bundle[Any], records: Mapping[str, int]) -> None:
    """Raises ConfigError if the settings do not fit the vocabulary or the data; `records` holds the
    number of records by source. A finished model comes with a vocabulary that fits."""
    for name, count in records.items():
        batch = recipe.data[name].batch
        if batch > count:
            path = recipe.data[name].path
            raise ConfigError(
                Text(
                    f"data.{name}.batch={batch} is larger than the {count} records in {path}, so a "
                    f"batch would hold the same picture twice; expected at most {count}: set "
                    f"data.{name}.batch={count} or lower",
                    f"data.{name}.batch={batch} 超过了 {path} 里的 {count} 条记录，"
                    f"同一批里会有重复的图片；最多为 {count}；"
                    f"请设为 data.{name}.batch={count} 或更小",
                )
            )
    if recipe.model.architecture is not None:
        _check_vocab_size(recipe, bundle)
        _check_end(bundle.model.config.text, bundle.tokenizer)


def _check_vocab_size(recipe: Recipe, bundle: Bundle[Any]) -> None:
    size, vocabulary = bundle.model.config.text.vocab_size, recipe.model.vocabulary
    if vocabulary is not None:
        expected, source = vocabulary.size, "model.vocabulary"
    else:
        expected, source = bundle.tokenizer.largest_id + 1, str(recipe.model.tokenizer_folder)
    if size != expected:
        setting = "model.architecture.text.vocab_size"
        raise ConfigError(
            Text(
                f"{setting}={size} is not the {expected} tokens that {source} has, expected the "
                f"same: set {setting}={expected}",
                f"{setting}={size} 与 {source} 的 {expected} 个词元不一致；应相同；"
                f"请设 {setting}={expected}",
            )
        )


def _check_end(text: Any, tokenizer: Tokenizer) -> None:
    """A text tower that pools at the end token needs a tokenizer that adds it."""
    if not isinstance(text, TextConfig) or text.pool != "eos":
        return
    ends = [one for one in tokenizer.suffix if one not in tokenizer.prefix]
    if text.eos_id in ends:
        return
    written = "model.vocabulary.written=true", "model.architecture.text.eos_id=2"
    last = 'model.architecture.text.pool="last"'
    remedy = Text(
        f"let the vocabulary end its texts, by {written[0]} and {written[1]}, or set {last}",
        f"请用 {written[0]} 和 {written[1]} 让词表给文字加上结尾，或设 {last}",
    )
    if ends:
        setting = f"model.architecture.text.eos_id={ends[0]}"
        remedy = Text(f"set {setting}", f"请设 {setting}")
    given, before, after = text.eos_id, list(tokenizer.prefix), list(tokenizer.suffix)
    raise ConfigError(
        Text(
            f"model.architecture.text.eos_id={given} does not mark the end of a text: the "
            f"vocabulary puts the tokens {before} before a text and {after} behind it, so "
            "pool='eos' would read the first token of every text and no other; expected a token "
            f"that stands at the end alone: {remedy.en}",
            f"model.architecture.text.eos_id={given} 不是文字的结尾：词表在文字前加 {before}，"
            f"后加 {after}，pool='eos' 就只会读到每段文字的第一个词元；应为只出现在结尾的词元；"
            f"{remedy.zh}",
        )
    )


def first_batch(batches: Batches) -> Batch:
    """Returns the beginning of the first batch; collective. Raises DataError, in every process, if
    nothing can be read."""
    read: list[Batch] = []
    in_every_process(lambda: read.append(batches.beginning(ROWS)))
    return read[0]


def check_vectors(
    recipe: Recipe, bundle: Bundle[Any], objectives: Sequence[Objective], batch: Batch
) -> None:
    """Raises ConfigError, in every process, if different texts or different pictures of a batch get
    the same vectors."""
    in_every_process(lambda: _check_vectors(recipe, bundle, objectives, batch))


@torch.no_grad()
def _check_vectors(
    recipe: Recipe, bundle: Bundle[Any], objectives: Sequence[Objective], batch: Batch
) -> None:
    inputs: dict[View, Tensor] = {}
    for one in objectives:
        inputs |= one.inputs(batch)
        if isinstance(one, DrawingObjective):
            inputs |= one.compared(batch)
    _check_padding(bundle, batch, writes=any(view.role == "captions" for view in inputs))
    model = bundle.model.eval()
    embed, device = family_of(model).step(bundle, None), next(model.parameters()).device
    told = {"images": (PICTURES, _about_images(recipe)), "texts": (TEXTS, _about_texts(recipe))}
    for view, rows in inputs.items():
        if view.role in told:
            what, remedy = told[view.role]
            (vectors,) = embed({view: rows.unique(dim=0)[: 2 * ROWS].to(device)})
            _check_different(what, view.source, vectors, remedy)


def _check_different(what: Text, source: str, vectors: Tensor, remedy: Text) -> None:
    """Some may coincide, as two orders of the same words do in a bag of words."""
    vectors = vectors.flatten(1)  # an image may have several
    apart = torch.cdist(vectors.double(), vectors.double(), p=torch.inf)
    same = (apart <= SAME).tril(-1).any(dim=1)  # the same as an earlier one
    count, different = len(vectors), len(vectors) - int(same.sum())
    if count > 1 and 2 * different <= count:
        raise ConfigError(
            Text(
                f"the model gives {count} different {what.en} of the first batch ({source}) only "
                f"{different} different vector{'s' if different > 1 else ''}, so it cannot learn "
                f"to tell them apart; expected one of its own for each: {remedy.en}",
                f"第一批（{source}）里 {count} 个不同的{what.zh}，模型只给出 {different} "
                f"个不同的向量，学不会区分它们；应各有各的向量；{remedy.zh}",
            )
        )


def _about_images(recipe: Recipe) -> Text:
    if (start := recipe.model.start) is not None:
        return Text(
            f"start from another model than {start}, whose weights are damaged",
            f"{start} 的参数已损坏，请换一个模型开始",
        )
    return Text(
        "correct model.architecture.image, or model.image_weights",
        "请改正 model.architecture.image 或 model.image_weights",
    )


def _about_texts(recipe: Recipe) -> Text:
    if (start := recipe.model.start) is not None:
        return Text(
            f"start from another model than {start}, whose tokenizer does not fit",
            f"{start} 的分词器不匹配，请换一个模型开始",
        )
    return Text(
        "correct pool and eos_id in model.architecture.text, or the vocabulary",
        "请改正 model.architecture.text 里的 pool 和 eos_id，或词表",
    )


def _check_padding(bundle: Bundle[Any], batch: Batch, *, writes: bool) -> None:
    """The padding token must not occur inside a text, where the tower would ignore it."""
    pad_id = bundle.tokenizer.config.pad_id
    text = getattr(bundle.model.config, "text", None)  # a vision-language model has none
    if getattr(text, "pad_id", None) is None and not writes:
        return
    for name, source in batch.sources.items():
        padding = source.ids == pad_id
        if bool((padding[:, :-1] & ~padding[:, 1:]).any()):
            raise ConfigError(
                Text(
                    f"the padding token {pad_id} stands inside the texts of data.{name}, where it "
                    "is not seen; expected one that fills the rest of a row and nothing else: set "
                    "model.tokenizer.pad_id to the padding token of the vocabulary, and pad_id of "
                    "model.architecture.text alike",
                    f"填充词元 {pad_id} 出现在 data.{name} 的文字中间，会被略过；"
                    "填充词元只应出现在行尾；请把 model.tokenizer.pad_id 设为词表的填充词元，"
                    "model.architecture.text 的 pad_id 也一样",
                )
            )


def check_gradients(step: TrainingStep, model: nn.Module, batch: Batch) -> None:
    """Raises ConfigError, in every process, if the loss of a batch has no gradient for a trained
    part. Leaves weights, running statistics and gradients unchanged."""
    statistics = [(buffer, buffer.clone()) for buffer in model.buffers()]
    loss = step(batch)
    if loss.requires_grad:
        loss.backward()
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    found = in_every_process(lambda: (_with_gradient(learning), _moved(learning)))
    reached, moved = (set().union(*sets) for sets in zip(*found, strict=True))
    model.zero_grad(set_to_none=True)
    for buffer, before in statistics:
        buffer.copy_(before)
    missing = [name for name in learning if name not in reached]
    # An objective may have no use for a scalar such as the temperature. In a part initialised with
    # zeros, like a residual branch, some parameters only move from the second step on.
    parts = dict.fromkeys(n.split(".")[0] for n, p in learning.items() if p.ndim)
    missing += [part for part in parts if not any(n.split(".")[0] == part for n in moved)]
    if missing:
        names, freeze = ", ".join(missing[:5]), f"optimizer.freeze={[missing[0]]}"
        raise ConfigError(
            Text(
                f"no gradient reaches {names} in the first batch, so nothing is learned there; "
                "expected one in every part that is not locked: give the objectives batches of at "
                "least 2 with different texts and weights above 0, or lock the part by "
                f"{freeze}",
                f"第一批里没有梯度传到 {names}，那里学不到东西；未锁定的部分都应有梯度；"
                "请给每个目标至少 2 张图片、文字各不相同的批次和大于 0 的权重，"
                f"或用 {freeze} 锁定它",
            )
        )


def _with_gradient(parameters: Mapping[str, Tensor]) -> set[str]:
    return {name for name, parameter in parameters.items() if parameter.grad is not None}


def _moved(parameters: Mapping[str, Tensor]) -> set[str]:
    """The names of parameters with a non-zero gradient in this process."""
    return {name for name, gradient in _gradients(parameters) if bool(gradient.any())}


def _gradients(parameters: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in parameters.items():
        gradient: Any = parameter.grad
        if gradient is not None:
            yield name, gradient.to_local() if is_sharded(gradient) else gradient
