"""The measures of a model, the same for training, the command line and Python.

A measure is a frozen config, so that a recipe can hold it as [evaluation.NAME]. A new one is a file
with such a class, and a line in MEASURES.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from seesay.errors import ConfigError, DataError
from seesay.evaluation.answers import Answers, needs_other
from seesay.evaluation.captions import Captions
from seesay.evaluation.composition import Composition
from seesay.evaluation.probing import ProbeAccuracy
from seesay.evaluation.retrieval import Retrieval
from seesay.evaluation.zero_shot import ZeroShot
from seesay.inference.answer_classifier import AnswerClassifier
from seesay.inference.answer_writer import AnswerWriter
from seesay.inference.embedder import Embedder
from seesay.inference.matcher import Matcher
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.inference.assistant import LocalAssistant


@runtime_checkable
class Measure(Protocol):
    def names(self) -> Sequence[str]:
        """The names of its values, in order; known before anything is read."""

    def check(self) -> None:
        """Read the data, once. Raises DataError if it cannot be used."""

    def measure(self, model: Any) -> Iterator[tuple[str, float]]:
        """Yields the name and value of each figure; higher is better, but for what stands beside
        one, such as chance. The model is an Embedder, a Matcher, an AnswerClassifier, or the
        LocalAssistant for those in OF_ASSISTANTS and for Composition, which all but a classifier
        can be measured by."""


MEASURES: dict[str, type[Measure]] = {
    "retrieval": Retrieval,
    "zero_shot": ZeroShot,
    "probe": ProbeAccuracy,
    "answers": Answers,
    "captions": Captions,
    "composition": Composition,
}
"""Measures by the name of their section of [evaluation]."""
OF_ASSISTANTS = (Answers, Captions)
"""Measures of a model that answers; all others are of one that makes vectors. `Answers` is of an
AnswerClassifier too, `Retrieval` of a Q-Former, and `Composition` of all that compare."""


def measure_names(measures: Iterable[Measure]) -> list[str]:
    """Returns the names of all values. Raises ConfigError if two are the same."""
    names = [name for measure in measures for name in measure.names()]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise ConfigError(
            Text(
                f"two measures give {', '.join(twice[:3])}, so that one value would hide the "
                "other; expected different names: evaluate the measures one by one",
                f"有两项评测都给出 {'、'.join(twice[:3])}，会互相覆盖；名称应各不相同；请分开评测",
            )
        )
    return names


def check_measures(measures: Mapping[str, Measure]) -> None:
    """Raises DataError, naming the section of [evaluation], if its data cannot be used."""
    for section, measure in measures.items():
        try:
            measure.check()
        except DataError as error:
            where = f"[evaluation.{section}] "
            raise DataError(Text(where + error.text.en, where + error.text.zh)) from None


def fits(measure: Measure, model: Any) -> bool:
    """Whether the measure is of models of this kind."""
    if isinstance(measure, Composition):
        return isinstance(model, Embedder | Matcher | AnswerWriter)
    if isinstance(model, Matcher):
        return isinstance(measure, Retrieval)
    if isinstance(model, AnswerClassifier):
        return isinstance(measure, Answers)
    return isinstance(measure, OF_ASSISTANTS) is not isinstance(model, Embedder)


def evaluate(
    model: "Embedder | LocalAssistant | Matcher | AnswerClassifier", measures: Sequence[Measure]
) -> dict[str, float]:
    """Returns each value by name. All data is checked before the model sees any of it.

    Raises ConfigError if two values have the same name or a measure needs another kind of model,
    DataError if the data of a measure cannot be used.
    """
    measure_names(measures)
    wrong = [one for one in measures if not fits(one, model)]
    if wrong:
        raise needs_other([name for one in wrong for name in one.names()], type(model).__name__)
    for measure in measures:
        measure.check()
    return {name: value for measure in measures for name, value in measure.measure(model)}
