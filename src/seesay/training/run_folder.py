"""The folder of a training run or sweep, marked as belonging to it, and what a run writes into it.

A run truncates its log when it resumes, deletes old checkpoints and replaces its exported model. In
a folder with other contents, these could be someone else's files. So the mark is written first, and
only if none of these names is taken.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seesay.data.files import write_whole
from seesay.errors import ConfigError, TrainingError
from seesay.evaluation.answers import Answers
from seesay.evaluation.measure import evaluate
from seesay.inference.answer_classifier import AnswerClassifier
from seesay.inference.assistant import LocalAssistant
from seesay.inference.assistant_files import files_of
from seesay.inference.embedder import Embedder
from seesay.inference.matcher import Matcher
from seesay.models.blip2 import Blip2Matcher
from seesay.models.fusion import FusionClassifier
from seesay.models.lora import merge_lora
from seesay.models.vlm import Vlm
from seesay.text import Text
from seesay.training.checkpoints import Checkpoints, Snapshot, TrainingState, whole_weights
from seesay.training.distributed import Processes, in_every_process, wait_for_all
from seesay.training.recipe import Recipe, describe, model_folder
from seesay.weights.bundle import Bundle
from seesay.weights.hub import locate
from seesay.weights.lora import rules_of, save_adapter
from seesay.weights.saving import check_replaceable, mark_run, save_bundle

RUN = "seesay-run.json"
"""The mark of a run's folder."""
ADAPTER = "adapter"
"""The folder of a run's low-rank adapters, beside its model, which has them merged."""
RUN_FILES = (
    "model",
    ADAPTER,
    "checkpoints",
    "log.jsonl",
    "damaged-*.jsonl",
    "not-finite-*.json",
    "tensorboard",
    "wandb",
)
SWEEP = "seesay-sweep.json"
"""The mark of a sweep's folder."""
SWEEP_FILES = ("report.html", "report.csv", "report.md")


def claim_run_folder(
    folder: Path, model: Path, checkpoints: Checkpoints, processes: Processes
) -> str:
    """Returns the id of the run in `folder`, which is marked with it on first use; collective.

    A folder with checkpoints belongs to a run even without a mark, because version 0.1.0 wrote
    none. An exported model without an id belongs to the run if it has the weights of one of its
    checkpoints. Raises ConfigError, in every process, if something else is in the way.
    """

    def claim() -> str:
        if not processes.first:
            return ""
        own = claim_folder(folder, RUN, () if checkpoints.steps() else RUN_FILES)
        mark_run(model, own, _weights(checkpoints))
        check_replaceable(model, own)
        return own

    return in_every_process(claim)[0]


def _weights(checkpoints: Checkpoints) -> Iterator[Mapping[str, Tensor]]:
    """The weights that each checkpoint would export, newest first, without damaged checkpoints."""
    for step in reversed(checkpoints.steps()):
        with suppress(TrainingError):
            snapshot = checkpoints.load(step)
            yield snapshot.average or snapshot.model


def claim_folder(folder: Path, mark: str, files: Sequence[str]) -> str:
    """Returns the id in the file `mark`, which is created if it is missing.

    Raises ConfigError if the mark is missing and something matches one of the patterns `files`, or
    if the file is not a mark.
    """
    if (folder / mark).exists():
        return _read(folder / mark)
    taken = sorted(path.name for pattern in files for path in folder.glob(pattern))
    if taken:
        raise ConfigError(
            Text(
                f"{folder} holds {', '.join(taken[:3])}, which seesay did not put there as far as "
                "it knows; expected a folder without that, since it would be replaced; move it "
                "away, or choose another folder (run.folder in a recipe, folder in a sweep)",
                f"{folder} 里有 {'、'.join(taken[:3])}，似乎不是 seesay 写的，会被覆盖；"
                "应为没有这些文件的文件夹；请移走它们，或换一个文件夹"
                "（配方里的 run.folder，对比实验里的 folder）",
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    own = secrets.token_hex(8)
    with write_whole(folder / mark) as unfinished:
        unfinished.write_text(json.dumps({"written_by": "seesay", "id": own}) + "\n", "utf-8")
    return own


def _read(mark: Path) -> str:
    try:
        known = json.loads(mark.read_text(encoding="utf-8"))
        if known["written_by"] == "seesay":
            return str(known["id"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ConfigError(
        Text(
            f"{mark} is not a mark that seesay wrote; expected that, or no such file; move it "
            "away, or choose another folder",
            f"{mark} 不是 seesay 写的标记；应为它写的标记，或没有这个文件；"
            "请移走它，或换一个文件夹",
        )
    )


def checkpoints_of(recipe: Recipe) -> Checkpoints:
    return Checkpoints(Path(recipe.run.folder) / "checkpoints", recipe.checkpoint)


def _ready(bundle: Bundle[Any]) -> Embedder | LocalAssistant | Matcher | AnswerClassifier:
    """A model ready for use: one that makes vectors, that matches, or that answers."""
    if isinstance(bundle.model, Blip2Matcher):
        return Matcher(bundle)
    if isinstance(bundle.model, FusionClassifier):
        return AnswerClassifier(bundle)
    if isinstance(bundle.model, Vlm):
        return LocalAssistant(files_of(bundle, next(bundle.model.parameters()).device))
    return Embedder(bundle)


def base_of(recipe: Recipe) -> str:
    """The name of the model that a recipe's adapters belong to."""
    assistant = recipe.model.assistant
    if assistant is not None and isinstance(assistant.decoder, str):
        return assistant.decoder
    return recipe.model.start or ""


def borrowed_parts(recipe: Recipe) -> dict[str, str]:
    """The models of the parts that an exported adapter is not exported with."""
    assistant = recipe.model.assistant
    assert assistant is not None and isinstance(assistant.decoder, str)  # Recipe
    return {"tower": assistant.tower, "decoder": assistant.decoder}


def words_of(bundle: Bundle[Any]) -> str:
    """Returns a hash of what a recipe takes from its texts: the vocabulary, and the list of answers
    of a classifier. Weights are of no use with any other."""
    answers = getattr(bundle.config, "answers", ())
    return sha256(repr((bundle.tokenizer.content_hash(), answers)).encode()).hexdigest()


def check_words(folder: str, snapshot: Snapshot, bundle: Bundle[Any]) -> None:
    """Raises ConfigError if the texts of a run have changed its vocabulary or its answers."""
    if snapshot.notes.get("words") not in (None, words_of(bundle)):  # older ones have none
        raise ConfigError(
            Text(
                f"{folder} was begun with other texts, which gave another vocabulary or other "
                "answers, expected the same: bring the former data back, or begin a new run in "
                "another folder",
                f"{folder} 是用另一批文字开始训练的，得到的词表或答案与现在不同；应与原来相同；"
                "请恢复原来的数据，或换一个文件夹重新训练",
            )
        )


class Outputs:
    """Measurements and files of a run. Every process calls it; the first one measures and
    writes."""

    def __init__(
        self, recipe: Recipe, bundle: Bundle[Any], state: TrainingState, processes: Processes
    ) -> None:
        self._recipe, self._bundle, self._state = recipe, bundle, state
        self._processes = processes
        self._checkpoints = checkpoints_of(recipe)
        self._words = words_of(bundle)
        self.before: Mapping[str, float] = {}
        """What was measured before the first step."""
        self.examples: list[dict[str, Any]] = []
        """Some answers of the last measurement, for the report of a sweep."""

    def measure(self) -> Mapping[str, float]:
        """Measures what the recipe asks for, on the running average if there is one. Errors of the
        measures are raised in every process."""
        measures = list(self._recipe.evaluation.measures.values())
        if not measures:
            return {}
        weights = whole_weights(self._bundle.model, self._state.ema)

        def measured() -> Mapping[str, float]:
            if not self._processes.first:
                return {}
            # Merged, weights in 4 bits would take the memory that they were to save.
            lora = self._bundle.lora
            in_4_bits = lora is not None and lora.base == "nf4"
            model: Any = _ready(self._with_weights(weights, merged=not in_4_bits))
            values = evaluate(model, measures)
            asking = [one for one in measures if isinstance(one, Answers)]
            self.examples = [asdict(one) for many in asking for one in many.examples(model)]
            return values

        return in_every_process(measured)[0]

    def save(self, step: int, measured: Mapping[str, float], seconds: float) -> None:
        """Write a checkpoint of the state after a step."""
        notes = {
            "recipe": describe(self._recipe),
            "words": self._words,
            "before": dict(self.before),
            "measured": dict(measured),
            "score": self._score(measured),
            "seconds": seconds,
        }
        snapshot = self._state.snapshot(step, notes)
        if self._processes.first:
            self._checkpoints.save(snapshot)
        wait_for_all()

    def export(self, run_id: str) -> None:
        """Write the chosen checkpoint as a model that loads anywhere, marked with its run."""
        snapshot = self._checkpoints.load(self._checkpoints.chosen())
        weights = snapshot.average or snapshot.model
        if self._recipe.run.export == "adapter":
            bundle = self._bundle.with_weights(weights)
            parts = borrowed_parts(self._recipe)
            save_bundle(model_folder(self._recipe), bundle, run=run_id, parts=parts)
            return
        dtype = getattr(torch, self._recipe.run.export)
        save_bundle(model_folder(self._recipe), self._with_weights(weights), dtype, run=run_id)
        if self._bundle.lora is not None:
            adapter = Path(self._recipe.run.folder) / ADAPTER
            start = self._recipe.model.start
            rules = None if start is None else rules_of(locate(start).folder)
            save_adapter(adapter, weights, self._bundle.lora, base_of(self._recipe), rules)

    def _score(self, measured: Mapping[str, float]) -> float | None:
        best = self._recipe.evaluation.best
        if not best or not measured:
            return None
        return sum(measured[name] for name in best) / len(best)

    def _with_weights(self, weights: Mapping[str, Tensor], *, merged: bool = True) -> Bundle[Any]:
        """Returns a copy of the model with these weights, of which adapters are merged unless told
        otherwise: measuring it cannot disturb the training."""
        bundle = self._bundle.with_weights({name: t.clone() for name, t in weights.items()})
        if not merged:
            return bundle
        merge_lora(bundle.model)
        return replace(bundle, lora=None)
