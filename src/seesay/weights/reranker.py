"""Published models that judge two texts together: rerankers, which are XLM-R with a classification
head (BAAI/bge-reranker-v2-m3) or Qwen3 answering yes or no (Qwen3-Reranker, arXiv 2506.05176), both
Apache-2.0; and entailment, XLM-R with three labels (joeddav/xlm-roberta-large-xnli and the smaller
multilingual-MiniLMv2-L6-mnli-xnli, both MIT).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

from tokenizers import Tokenizer as Backend

from seesay.data.model_files import read_json
from seesay.data.tokenizer import Tokenizer, TokenizerConfig, Tokens, framed, load_tokenizer
from seesay.data.vocabularies import read_vocabulary
from seesay.errors import WeightsError
from seesay.models.bert import BertClassifier, BertConfig
from seesay.models.decoder import DecoderConfig
from seesay.models.decoder_text import DecoderJudge, DecoderTextConfig
from seesay.text import Text
from seesay.weights.bundle import checked
from seesay.weights.chinese_clip import BERT_KNOWN, TEXT_DEFAULTS
from seesay.weights.decoders import KNOWN, DecoderBlueprint, read_decoder
from seesay.weights.settings import HUGGING_FACE, every_setting
from seesay.weights.tensors import (
    MOST_PARTS,
    Rules,
    blank_model,
    both,
    load_weights,
    read_tensors,
    with_prefix,
)
from seesay.weights.text_embedders import bert_text, bert_text_rules, is_text_embedder

RERANKERS = {
    "bge-reranker-v2-m3": "BAAI/bge-reranker-v2-m3",
    "qwen3-reranker-0.6b": "Qwen/Qwen3-Reranker-0.6B",
    "qwen3-reranker-4b": "Qwen/Qwen3-Reranker-4B",
    "qwen3-reranker-8b": "Qwen/Qwen3-Reranker-8B",
}
"""Repositories by their short names."""
ENTAILMENT = {
    "xlm-r-xnli": "joeddav/xlm-roberta-large-xnli",
    "minilm-xnli": "MoritzLaurer/multilingual-MiniLMv2-L6-mnli-xnli",
}
"""Those that tell whether one text follows from another."""
LABELS = ("entailment", "neutral", "contradiction")
CONTEXT = 512
"""Tokens of a pair for XLM-R, as on the model cards; longer texts are read in windows."""
JUDGE_CONTEXT = 8192
"""Tokens of a pair for Qwen3-Reranker, as on its model card; longer texts are cut."""
BERT_CLASS, JUDGE_CLASS = "XLMRobertaForSequenceClassification", "Qwen3ForCausalLM"

RULES: Rules = {
    **{name: rule for name, rule in bert_text_rules("roberta.").items() if name != "log_scale"},
    **both("classifier.dense", "dense"),
    **both("classifier.out_proj", "out"),
}

# The prompt of Qwen3-Reranker, as its model card has it.
_TASK = "Given a web search query, retrieve relevant passages that answer the query"
_BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
_AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def load_scorer(
    folder: Path,
) -> "tuple[BertClassifier | DecoderJudge, Tokenizer | JudgePrompt]":
    """Loads a reranker in evaluation mode. Raises WeightsError unless config and tensors match the
    model exactly."""
    published = read_json(folder / "config.json")
    kinds = published.get("architectures")
    if kinds == [JUDGE_CLASS] and not is_text_embedder(folder, published):
        return _load_judge(folder, published)
    if kinds == [BERT_CLASS] and _labels(published) == 1:
        return _load_bert(folder, published, 1)
    raise _another(
        folder, kinds, "which scores a query with a text", "给查询和文字打分的", RERANKERS
    )


def load_entailment(folder: Path) -> tuple[BertClassifier, Tokenizer, tuple[int, ...]]:
    """Loads a model of entailment in evaluation mode, with the columns of LABELS among its logits.
    Raises WeightsError unless config and tensors match the model exactly."""
    published = read_json(folder / "config.json")
    named = published.get("id2label") or {}
    columns = {str(name).lower(): number for number, name in named.items()}
    if published.get("architectures") != [BERT_CLASS] or columns.keys() != set(LABELS):
        what = f"{published.get('architectures')} {sorted(columns)}"
        en = f"with the labels {', '.join(LABELS)}"
        raise _another(folder, what, en, f"带有标签 {'、'.join(LABELS)} 的", ENTAILMENT)
    model, tokenizer = _load_bert(folder, published, len(LABELS))
    return model, tokenizer, tuple(int(columns[label]) for label in LABELS)


def _load_bert(
    folder: Path, published: dict[str, Any], labels: int
) -> tuple[BertClassifier, Tokenizer]:
    tensors = read_tensors(folder)
    text = checked(lambda: _config(published), folder, get_type_hints(BertConfig))
    model = blank_model(
        lambda config: BertClassifier(config, labels), text, MOST_PARTS * len(tensors)
    )
    load_weights(model, tensors, RULES)
    settings = TokenizerConfig(context=min(CONTEXT, text.context), pad_id=text.pad_id)
    return model.eval(), load_tokenizer(folder, settings)


def _config(published: dict[str, Any]) -> BertConfig:
    known = {**TEXT_DEFAULTS, "pad_token_id": 1, **published}
    with every_setting(known, "config.json", {**HUGGING_FACE, **BERT_KNOWN}) as settings:
        return bert_text(settings, settings["pad_token_id"] + 1)


def _labels(published: dict[str, Any]) -> int:
    """transformers writes the names of labels unless they are two without names."""
    named = published.get("id2label")
    return len(named) if isinstance(named, dict) else int(published.get("num_labels", 2))


class JudgePrompt:
    """A query and a text as a question for Qwen3-Reranker."""

    def __init__(self, backend: Backend, context: int) -> None:
        """Raises KeyError if the vocabulary lacks a token."""
        backend.no_padding()
        backend.no_truncation()
        known = backend.get_vocab()
        self.yes, self.no = known["yes"], known["no"]
        self.config = TokenizerConfig(context=context, pad_id=known["<|endoftext|>"])
        backend.encode_special_tokens = False
        self._before, self._after = (
            backend.encode(part, add_special_tokens=False).ids for part in (_BEFORE, _AFTER)
        )
        backend.encode_special_tokens = True  # of what people write, nothing is a special token
        self._backend = backend

    def encode_pairs(self, query: str, texts: Sequence[str]) -> Tokens:
        """Returns one row for each text."""
        room = self.config.context - len(self._before) - len(self._after)
        asked = (f"<Instruct>: {_TASK}\n<Query>: {query}\n<Document>: {text}" for text in texts)
        encoded = (self._backend.encode(one, add_special_tokens=False) for one in asked)
        contents = [[one.ids[:room]] for one in encoded]
        return framed(contents, self._before, self._after, self.config)


def _load_judge(folder: Path, published: dict[str, Any]) -> tuple[DecoderJudge, JudgePrompt]:
    tensors = read_tensors(folder)

    def read() -> DecoderBlueprint:
        with every_setting(published, "config.json", KNOWN) as config:
            return read_decoder(config, tensors)

    blueprint = checked(read, folder, {"model": DecoderConfig})
    context = min(JUDGE_CONTEXT, blueprint.model.context)
    try:
        prompt = JudgePrompt(read_vocabulary(folder), context)
    except KeyError as error:
        what = f"a vocabulary without {error}"
        raise _another(
            folder, what, "that answers yes or no", "以 yes 或 no 作答的", RERANKERS
        ) from None
    text = DecoderTextConfig(decoder=blueprint.model, context=context, pad_id=prompt.config.pad_id)
    model = blank_model(
        lambda config: DecoderJudge(config, prompt.yes, prompt.no), text, MOST_PARTS * len(tensors)
    )
    load_weights(model, tensors, with_prefix(blueprint.rules, "", "text.decoder."))
    return model.eval(), prompt


def _another(folder: Path, what: object, en: str, zh: str, choices: dict[str, str]) -> WeightsError:
    names = list(choices)
    return WeightsError(
        Text(
            f"{folder} holds {what!s:.120}, expected a model {en}. Choose {', '.join(names)}",
            f"{folder} 里的是 {what!s:.120}；应为{zh}模型。请选用 {'、'.join(names)}",
        )
    )
