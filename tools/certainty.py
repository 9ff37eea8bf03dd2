"""Fit how sure an assistant's answers are, and what pictures it knows, on questions with answers.

    python tools/certainty.py MODEL --asked PATH [QUESTIONS] --seen PATH

MODEL is a folder in seesay's own layout; its `certainty.safetensors` is written. `--asked`, which
may be repeated, names records with questions that the model was not trained on, and a file of
`seesay data vqa` for them; every second record is fitted, the others tell whether it holds.
`--seen`, which may be repeated, names records whose pictures the model was trained on.
"""

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.numpy import save_file

import seesay
from seesay.data.images import open_image
from seesay.data.sources import RecordsConfig, format_of
from seesay.evaluation.data_sets import iterate_records
from seesay.inference.assistant import LocalAssistant
from seesay.inference.certainty import DOUBT, FILE, LONGEST, Certainty, read_certainty
from seesay.inference.visual_inputs import PictureInputs

MOST = 1500  # records of each source
KEPT = 64  # directions of the pictures' rows
FARTHEST = 0.999  # quantile of the distances of pictures that were not learnt from but are alike
BANDS = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)


def records(path: str, added: str | None = None) -> RecordsConfig:
    return RecordsConfig(path=path, format=format_of(path), added=added, stop=MOST)


def answers(
    assistant: LocalAssistant, config: RecordsConfig
) -> Iterator[tuple[float, float, bool, int]]:
    """Yields mean and least log probability of each short answer, whether it is right, and the
    number of its record."""
    for number, record in enumerate(iterate_records(config)):
        asked = [one for some in record.questions.values() for one in some]
        asked = [one for one in asked if one.answer]
        if not asked:
            continue
        questions = [one.question for one in asked]
        task = assistant._task(LONGEST, 0.0)
        inputs = assistant._inputs([open_image(record.image)])
        requests = [
            assistant._prompt(assistant._conversation([record.image], one)[1], inputs)
            for one in questions
        ]
        for one, given in zip(asked, assistant._all(requests, task), strict=True):
            logs = [token.log_probability for token in given.tokens or ()]
            if given.finish_reason == "stop" and logs:
                right = given.text.strip().lower() == one.answer.strip().lower()
                yield sum(logs) / len(logs), min(logs), right, number


def means(assistant: LocalAssistant, config: RecordsConfig) -> Float[np.ndarray, "pictures dim"]:
    """Returns the mean row of each picture."""
    inputs = assistant.files.inputs
    assert isinstance(inputs, PictureInputs)
    found = []
    for record in iterate_records(config):
        picture = inputs.picture(open_image(record.image), alone=True)
        with torch.no_grad():
            inputs.see([picture])
        found.append(inputs.means_of([picture.digest])[0])
    return np.stack(found)


def fit(x: Float[np.ndarray, "answers 2"], right: Float[np.ndarray, " answers"]) -> list[float]:
    """Logistic regression by Newton's method, with a little weight decay."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    weights = np.zeros(3)
    for _ in range(50):
        found = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (found - right) + 1e-3 * weights
        hessian = (x * (found * (1 - found))[:, None]).T @ x + 1e-3 * np.eye(3)
        weights -= np.linalg.solve(hessian, gradient)
    return [float(one) for one in weights]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--asked", nargs="+", action="append", required=True)
    parser.add_argument("--seen", action="append", required=True)
    options = parser.parse_args()
    (options.model / FILE).unlink(missing_ok=True)
    assistant = seesay.chat(options.model)
    table = np.array(
        [one for given in options.asked for one in answers(assistant, records(*given))]
    )
    x, right, fitted = table[:, :2], table[:, 2], table[:, 3] % 2 == 0
    mean_weight, least_weight, bias = fit(x[fitted], right[fitted])

    seen = np.concatenate([means(assistant, records(path)) for path in options.seen])
    center = seen.mean(axis=0)
    spreads, directions = np.linalg.eigh(np.cov(seen - center, rowvar=False))
    whitening = directions[:, -KEPT:] / np.sqrt(spreads[-KEPT:])
    numbers = {"mean_weight": mean_weight, "least_weight": least_weight, "bias": bias}
    arrays = {
        "center": center.astype(np.float16),
        "whitening": np.ascontiguousarray(whitening.astype(np.float16)),
    }
    certainty = Certainty(center=center, whitening=whitening, farthest=np.inf, **numbers)
    held_out = np.concatenate([means(assistant, records(given[0])) for given in options.asked])
    numbers["farthest"] = float(np.quantile(certainty.distances(held_out), FARTHEST))
    save_file(arrays, options.model / FILE, {name: str(one) for name, one in numbers.items()})

    judged = read_certainty(options.model)
    assert judged is not None
    told = 1 / (1 + np.exp(-(x @ [judged.mean_weight, judged.least_weight] + judged.bias)))
    print(f"{len(x):,} answers, half of them fitted: {numbers}")
    for low, high in pairwise(BANDS):
        inside = (told >= low) & (told < high) & ~fitted
        share = right[inside].mean() if inside.any() else float("nan")
        print(f"  told {low:.0%} to {high:.0%}: {inside.sum():6,} answers, {share:.0%} right")
    sure = (told >= DOUBT) & ~fitted
    print(
        f"sure of {sure.sum() / (~fitted).sum():.0%}, of which {right[sure].mean():.0%} are right"
    )


if __name__ == "__main__":
    main()
