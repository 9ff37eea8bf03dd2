"""Read a published config without overlooking a setting: each is read, known to have no effect, or
refused by name, like tensors (tensors.py).

    with every_setting(published, "config.json", KNOWN) as config:
        text = config.section("text_config", TEXT_DEFAULTS)
        width = text["hidden_size"]
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from seesay.errors import WeightsError
from seesay.text import Text

Known = Mapping[str, str | tuple[Any, ...]]
"""Settings that are not read. The key is a path (`vision_cfg.patch_dropout`) or a name, which holds
in every section; the value says why the setting changes no number, or lists the only values with
which it changes none."""


class Settings(Mapping[str, Any]):
    """One section of a config. Looking up a setting marks it as read; a dictionary in it is a
    section of its own."""

    def __init__(
        self,
        source: str,
        place: str,
        published: Mapping[str, Any],
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """`source` is the file, `place` the path of the section in it, with a dot behind it."""
        self._source, self._place = source, place
        self._published = published
        self._values = {**(defaults or {}), **published}
        self._read: set[str] = set()
        self._sections: dict[str, Settings] = {}

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        value = self._values[name]
        if not isinstance(value, dict):
            return value
        if name not in self._sections:
            self._sections[name] = self._part(name, value)
        return self._sections[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def section(self, name: str, defaults: Mapping[str, Any] | None = None) -> "Settings":
        """A section that may be missing, or null, completed by the family's defaults.

        Old Hugging Face configs hold it twice, and then `{name}_dict` wins (transformers,
        CLIPConfig).
        """
        self._read |= {name, f"{name}_dict"}
        halves = (self._values.get(name) or {}, self._values.get(f"{name}_dict") or {})
        self._sections[name] = self._part(name, {**halves[0], **halves[1]}, defaults)
        return self._sections[name]

    def complete(self, defaults: Mapping[str, Any]) -> None:
        """Fill in what the file leaves out, once it has said of which family it is."""
        self._values = {**defaults, **self._published}

    def one_of(self, name: str, default: Any, *others: Any) -> Any:
        """Checks a setting for which seesay supports only the default and these values."""
        return self.require(name, default, (default, *others))

    def require(self, name: str, default: Any, allowed: tuple[Any, ...]) -> Any:
        """The same if the default need not be among them."""
        if (value := self.get(name, default)) not in allowed:
            raise self.refusal(name, value, *allowed)
        return value

    def refusal(self, name: str, value: Any, *expected: Any) -> WeightsError:
        """Returns the error for a setting or value that seesay does not support."""
        english = " or ".join(map(repr, expected)) or "only settings that it has"
        chinese = " 或 ".join(map(repr, expected)) or "seesay 有的设置"
        return WeightsError(
            Text(
                f"{self._source} sets {self._place}{name} to {value!r:.60}, which seesay does not "
                f"have; expected {english}, as any other may change every number. Choose another "
                "model (seesay models list), or remove the setting if it has no effect",
                f"{self._source} 把 {self._place}{name} 设为 {value!r:.60}，seesay 没有；应为 "
                f"{chinese}，其他值可能改变每一个数。请换一个模型（seesay models list），"
                "如果这项设置不起作用，也可以删掉",
            )
        )

    def ignore(self, *names: str) -> None:
        """Mark settings that have no effect, given the values of others."""
        self._read |= set(names)

    def _part(
        self, name: str, published: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> "Settings":
        return Settings(self._source, f"{self._place}{name}.", published, defaults)

    def unread(self) -> Iterator[tuple[str, Any]]:
        """The path and the value of each published setting that nothing has looked up."""
        for name, value in self._published.items():
            if name not in self._read:
                yield name, value
        for name, section in self._sections.items():
            for path, value in section.unread():
                yield f"{name}.{path}", value


@contextmanager
def every_setting(published: Mapping[str, Any], source: str, known: Known) -> Iterator[Settings]:
    """The settings of `source`. Raises WeightsError at the end for those that were neither read
    nor are known; names that begin with `_` are notes of the program that wrote the file."""
    settings = Settings(source, "", published)
    yield settings
    for path, value in settings.unread():
        name = path.rpartition(".")[2]
        rule = known.get(path, known.get(name, ()))
        if not isinstance(rule, str) and value not in rule and not name.startswith("_"):
            raise settings.refusal(path, value, *rule)


def _each(names: str, why: str | tuple[Any, ...]) -> dict[str, str | tuple[Any, ...]]:
    return dict.fromkeys(names.split(), why)


# transformers writes the attributes of every config class into config.json, also those of models
# that generate text (configuration_utils.py of versions 4 and 5).
HUGGING_FACE: Known = {
    **_each("model_type architectures transformers_version", "names the class"),
    **_each("torch_dtype dtype use_bfloat16", "number type of the file"),
    **_each("id2label label2id num_labels problem_type finetuning_task", "names of outputs"),
    **_each("task_specific_params tokenizer_class prefix", "for pipelines"),
    **_each(
        "output_attentions output_hidden_states output_past return_dict use_cache torchscript "
        "tf_legacy_loss",
        "what else is returned",
    ),
    **_each(
        "attention_dropout dropout hidden_dropout_prob attention_probs_dropout_prob "
        "classifier_dropout gradient_checkpointing",
        "for training",
    ),
    **_each("initializer_factor initializer_range logit_scale_init_value", "replaced by weights"),
    **_each("tie_word_embeddings tie_encoder_decoder chunk_size_feed_forward", "for memory"),
    **_each(
        "bos_token_id pad_token_id eos_token_id sep_token_id decoder_start_token_id "
        "forced_bos_token_id forced_eos_token_id",
        "the tokenizer has it",
    ),
    **_each(
        "bad_words_ids begin_suppress_tokens diversity_penalty do_sample early_stopping "
        "encoder_no_repeat_ngram_size exponential_decay_length_penalty length_penalty max_length "
        "min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences "
        "output_scores remove_invalid_values repetition_penalty return_dict_in_generate "
        "suppress_tokens temperature top_k top_p typical_p",
        "for generation",
    ),
    **_each("pruned_heads", ({}, None)),
    **_each("is_decoder is_encoder_decoder add_cross_attention", (False,)),
    **_each("cross_attention_hidden_size", (None,)),
    **_each("num_channels", (3,)),
}
