"""A linear probe: which class a picture belongs to, learned on a model's frozen vectors.

Logistic regression on the unit vectors that `Embedder.embed_images` returns, so a probe also works
on vectors that are already stored. (CLIP's own figures rest on the features before the projection
into the shared space; Radford et al. 2021, appendix A.3.)
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
class LinearProbe:
    """A linear classifier with a row of `weight` per class, for the model that it was fitted on."""

    labels: tuple[str, ...]
    weight: Float[np.ndarray, "labels embed"]
    bias: Float[np.ndarray, " labels"]
    l2: float
    """Strength of the regularisation, as in `fit_probe`."""
    model: str
    """Name of the model."""
    fingerprint: str
    """Fingerprint of the model's weights."""

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
        logits = vectors.astype(np.float64) @ self.weight.T + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def save(self, folder: Path, report: dict[str, Any] | None = None) -> None:
        """Write the probe as probe.json, including `report`, and probe.safetensors. Replaces an
        existing probe; raises ConfigError if the folder contains anything else."""
        from safetensors.numpy import save_file

        check_replaceable(folder)
        described = {
            "format": FORMAT,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "l2": self.l2,
            "labels": self.labels,
            "report": report or {},
        }
        with write_whole_folder(folder, replace=True) as unfinished:
            text = json.dumps(described, indent=1, ensure_ascii=False)
            (unfinished / FILE).write_text(f"{text}\n", encoding="utf-8")
            save_file({"weight": self.weight, "bias": self.bias}, unfinished / TENSORS)

    @classmethod
    def load(cls, folder: Path) -> "LinearProbe":
        """Load a probe that `save` wrote. Raises WeightsError if the folder holds no complete
        probe."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        described = read_json(folder / FILE)
        try:
            tensors = load_file(folder / TENSORS)
            if described["format"] != FORMAT:
                raise ValueError(f"it is of format {described['format']!r}")
            probe = cls(
                labels=tuple(map(str, described["labels"])),
                weight=tensors["weight"],
                bias=tensors["bias"],
                l2=float(described["l2"]),
                model=str(described["model"]),
                fingerprint=str(described["fingerprint"]),
            )
            if not probe.weight.shape[0] == len(probe.bias) == len(probe.labels):
                raise ValueError(f"it has {len(probe.labels)} labels for {len(probe.weight)} rows")
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
