"""A probe: which class a picture belongs to, learned on a model's frozen vectors.

Either logistic regression, or Tip-Adapter, which adds to zero-shot classification what pictures
nearby are. Both take the unit vectors that `Embedder.embed_images` returns, so vectors that are
already stored, too. (CLIP's own figures of linear probes rest on the features before the projection
into the shared space; Radford et al. 2021, appendix A.3.)
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from seesay.data.files import write_whole_folder
from seesay.data.model_files import read_json
from seesay.errors import ConfigError, WeightsError
from seesay.inference.embedder import Embedder, Failure, Progress
from seesay.text import Text

FILE, TENSORS = "probe.json", "probe.safetensors"
FORMAT = 1
MOST_STEPS = 1000  # of L-BFGS, as CLIP's appendix has it
EPOCHS, TIP_LR, TIP_BATCH = 20, 1e-3, 256  # of Tip-Adapter-F, as in its code for few-shot sets
CHUNK = 1024  # pictures at once


@dataclass(frozen=True, kw_only=True)
class ProbeScore:
    label: str
    probability: float
    """Share among all classes of the probe, which add up to 1."""


@dataclass(frozen=True, kw_only=True)
class ProbePrediction:
    label: str
    probability: float
    ranked: tuple[ProbeScore, ...]
    """The most probable classes first."""


@dataclass(frozen=True, kw_only=True)
class ProbePredictions:
    predictions: tuple[ProbePrediction, ...]
    rows: tuple[int, ...]
    """For each prediction the index of its input; failed inputs have no prediction."""
    failures: tuple[Failure, ...]

    def __len__(self) -> int:
        return len(self.predictions)


@dataclass(frozen=True, kw_only=True)
class Probe(ABC):
    """A classifier of pictures on the vectors of the model that it was fitted to."""

    labels: tuple[str, ...]
    model: str
    """Name of the model."""
    fingerprint: str
    """Fingerprint of the model's weights."""

    method: ClassVar[str]
    """Its name in probe.json."""
    settings: ClassVar[tuple[str, ...]]
    """Its fields that are numbers, in probe.json."""
    tensors: ClassVar[tuple[str, ...]]
    """Its fields that are arrays, in probe.safetensors."""

    @abstractmethod
    def logits(
        self, vectors: Float[np.ndarray, "images embed"]
    ) -> Float[np.ndarray, "images labels"]:
        """How much each class is favoured for each picture: logarithms of probabilities, up to a
        constant."""

    @abstractmethod
    def _check(self) -> None:
        """Raises ValueError if the arrays do not go together."""

    def classify(
        self,
        embedder: Embedder,
        images: Iterable[object],
        *,
        top: int | None = None,
        on_progress: Progress | None = None,
    ) -> ProbePredictions:
        """Classify paths, PIL images, arrays or tensors. `top` limits how many classes are kept.
        Raises ConfigError if `embedder` is not the model that the probe was fitted on."""
        if embedder.fingerprint() != self.fingerprint:
            raise ConfigError(
                Text(
                    f"the probe was fitted on vectors of {self.model}, and {embedder.name} is "
                    "another model or another state of it; expected the same weights; load that "
                    "model, or fit the probe again",
                    f"探针是用 {self.model} 的向量训练的，而 {embedder.name} 是另一个模型，"
                    "或它的另一状态；权重应相同；请载入那个模型，或重新训练探针",
                )
            )
        embeddings = embedder.embed_images(images, on_progress=on_progress)
        return ProbePredictions(
            predictions=self.predict(embeddings.vectors, top=top),
            rows=embeddings.rows,
            failures=embeddings.failures,
        )

    def predict(
        self, vectors: Float[np.ndarray, "images embed"], *, top: int | None = None
    ) -> tuple[ProbePrediction, ...]:
        """Classify pictures that the same model has already embedded."""
        predictions = []
        for row in self.probabilities(vectors):
            order = np.argsort(-row, kind="stable")[:top].tolist()
            ranked = tuple(
                ProbeScore(label=self.labels[i], probability=float(row[i])) for i in order
            )
            predictions.append(
                ProbePrediction(
                    label=ranked[0].label, probability=ranked[0].probability, ranked=ranked
                )
            )
        return tuple(predictions)

    def probabilities(
        self, vectors: Float[np.ndarray, "images embed"]
    ) -> Float[np.ndarray, "images labels"]:
        """Probability of each class, for each picture."""
        logits = self.logits(vectors).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def save(self, folder: Path, report: dict[str, Any] | None = None) -> None:
        """Write the probe as probe.json, including `report`, and probe.safetensors. Replaces an
        existing probe; raises ConfigError if the folder contains anything else."""
        from safetensors.numpy import save_file

        check_replaceable(folder)
        described = {
            "format": FORMAT,
            "method": self.method,
            "model": self.model,
            "fingerprint": self.fingerprint,
            **{name: getattr(self, name) for name in self.settings},
            "labels": self.labels,
            "report": report or {},
        }
        with write_whole_folder(folder, replace=True) as unfinished:
            text = json.dumps(described, indent=1, ensure_ascii=False)
            (unfinished / FILE).write_text(f"{text}\n", encoding="utf-8")
            arrays = {name: getattr(self, name) for name in self.tensors}
            save_file(arrays, unfinished / TENSORS)

    @staticmethod
    def load(folder: Path) -> "Probe":
        """Load a probe of any method that `save` wrote. Raises WeightsError if the folder holds no
        complete probe."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        described = read_json(folder / FILE)
        try:
            tensors = load_file(folder / TENSORS)
            if described["format"] != FORMAT:
                raise ValueError(f"it is of format {described['format']!r}")
            kind = METHODS[described.get("method", LinearProbe.method)]  # older ones name none
            fields: dict[str, Any] = {name: float(described[name]) for name in kind.settings}
            fields |= {name: str(described[name]) for name in ("model", "fingerprint")}
            fields |= {name: tensors[name] for name in kind.tensors}
            probe = kind(labels=tuple(map(str, described["labels"])), **fields)
            probe._check()
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                Text(
                    f"{folder} holds no whole probe ({error}); expected {FILE} and {TENSORS} as "
                    "seesay probe --out writes them; fit it again",
                    f"{folder} 里没有完整的探针（{error}）；应有 seesay probe --out 写出的 {FILE} "
                    f"和 {TENSORS}；请重新训练",
                )
            ) from None
        return probe


@dataclass(frozen=True, kw_only=True)
class LinearProbe(Probe):
    """A logistic regression with a row of `weight` per class."""

    weight: Float[np.ndarray, "labels embed"]
    bias: Float[np.ndarray, " labels"]
    l2: float
    """Strength of the regularisation, as in `fit_probe`."""

    method = "linear"
    settings = ("l2",)
    tensors = ("weight", "bias")

    def logits(
        self, vectors: Float[np.ndarray, "images embed"]
    ) -> Float[np.ndarray, "images labels"]:
        return vectors.astype(np.float64) @ self.weight.T + self.bias

    def _check(self) -> None:
        if not self.weight.shape[0] == len(self.bias) == len(self.labels):
            raise ValueError(f"it has {len(self.labels)} labels for {len(self.weight)} rows")


@dataclass(frozen=True, kw_only=True)
class TipAdapter(Probe):
    """Zero-shot classification, with votes of the pictures that a picture is near to
    (Tip-Adapter, Zhang et al. 2022, arXiv 2207.09519):

        scale * vectors @ texts.T + alpha * exp(-beta * (1 - vectors @ keys.T)) @ one_hot(values)
    """

    texts: Float[np.ndarray, "labels embed"]
    """Unit vectors of the classes' sentences."""
    keys: Float[np.ndarray, "pictures embed"]
    """Vectors of the pictures that it was fitted to, or what training has made of them."""
    values: Int[np.ndarray, " pictures"]
    """The number of the class of each."""
    scale: float
    """The model's factor of cosines: 100 in CLIP."""
    alpha: float
    """Weight of the pictures' votes."""
    beta: float
    """How fast a vote fades with distance."""

    method = "tip"
    settings = ("scale", "alpha", "beta")
    tensors = ("texts", "keys", "values")

    def logits(
        self, vectors: Float[np.ndarray, "images embed"]
    ) -> Float[np.ndarray, "images labels"]:
        return self.scale * vectors @ self.texts.T + self.alpha * self.votes(vectors)

    def votes(
        self, vectors: Float[np.ndarray, "images embed"]
    ) -> Float[np.ndarray, "images labels"]:
        """The sum of the votes for each class."""
        one_hot = np.eye(len(self.labels), dtype=np.float32)[self.values]
        votes = np.empty((len(vectors), len(self.labels)), np.float32)
        for start in range(0, len(vectors), CHUNK):
            some = slice(start, start + CHUNK)
            votes[some] = np.exp(self.beta * (vectors[some] @ self.keys.T - 1)) @ one_hot
        return votes

    def _check(self) -> None:
        classes, pictures = len(self.labels), len(self.keys)
        if len(self.texts) != classes or self.values.shape != (pictures,):
            raise ValueError(f"it has {classes} labels for {len(self.texts)} rows of texts")
        if pictures and not 0 <= self.values.min() <= self.values.max() < classes:
            raise ValueError(f"its values are not all numbers of {classes} labels")


METHODS: dict[str, type[Probe]] = {one.method: one for one in (LinearProbe, TipAdapter)}


def check_replaceable(folder: Path) -> None:
    """Raises ConfigError if writing a probe to `folder` would remove anything but a probe."""
    if not folder.exists():
        return
    inside = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else [folder.name]
    if others := [name for name in inside if not folder.is_dir() or name not in (FILE, TENSORS)]:
        raise ConfigError(
            Text(
                f"{folder} holds {others[0]!r}, which no probe has; expected no such folder, or a "
                "probe that is to be replaced; choose another folder",
                f"{folder} 里有 {others[0]!r}，探针的文件夹里不会有它；应为尚不存在的文件夹，"
                "或要替换掉的探针；请换一个文件夹",
            )
        )


def fit_probe(
    vectors: Float[np.ndarray, "images embed"],
    targets: Int[np.ndarray, " images"],
    classes: int,
    l2: float,
) -> tuple[Float[np.ndarray, "classes embed"], Float[np.ndarray, " classes"]]:
    """Fits a multinomial logistic regression by L-BFGS in float64; returns its weight and bias.

    Minimises the sum of the cross-entropies + l2 / 2 * |weight|^2; the bias is not penalised. So l2
    is 1 / C of scikit-learn's LogisticRegression, which CLIP used.
    """
    import torch
    import torch.nn.functional as F

    x, y = torch.from_numpy(vectors).double(), torch.from_numpy(targets)
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MOST_STEPS,
        tolerance_grad=1e-6,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight.T + bias, y) + l2 / (2 * len(x)) * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach().numpy(), bias.detach().numpy()


def train_keys(adapter: TipAdapter, seed: int) -> Iterator[TipAdapter]:
    """Trains the keys to classify the pictures that they are the vectors of, as Tip-Adapter-F does,
    with alpha and beta as they are; yields the adapter after each epoch. The values are frozen, and
    so is the model, whose vectors are computed once: without the crops of the paper, a picture
    would always be next to its own key, so that its vote does not count. Keys stay unit vectors,
    else a large beta would let votes grow without end."""
    import torch
    import torch.nn.functional as F

    x, y = torch.from_numpy(adapter.keys), torch.from_numpy(adapter.values)
    zero_shot = adapter.scale * x @ torch.from_numpy(adapter.texts).T
    values = F.one_hot(y, len(adapter.labels)).to(x.dtype)
    keys = x.clone().requires_grad_()
    optimizer = torch.optim.AdamW([keys], lr=TIP_LR, eps=1e-4)
    steps = EPOCHS * -(-len(x) // TIP_BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    drawn = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=drawn).split(TIP_BATCH):
            votes = torch.exp(adapter.beta * (x[rows] @ F.normalize(keys).T - 1))
            votes = votes.scatter(1, rows[:, None], 0.0)
            loss = F.cross_entropy(zero_shot[rows] + adapter.alpha * votes @ values, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        yield replace(adapter, keys=F.normalize(keys.detach()).numpy())


def check_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The classes in order of their names. Raises ConfigError if there are fewer than two."""
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise ConfigError(
            Text(
                f"there are pictures of {', '.join(classes) or 'no class'} alone; expected at "
                "least two classes, or there is nothing to tell apart; add pictures of another",
                f"图片的类别只有：{'、'.join(classes) or '无'}；至少应有两个类别，否则无从区分；"
                "请加入另一类的图片",
            )
        )
    return classes
