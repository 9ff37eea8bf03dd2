"""The catalogue of vision-language models: its numbers are those of the published configs, and a
mistake in it is told exactly."""

import re
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from generate import assistants_page
from published_assistants import ASSISTANTS
from seesay.data.token_budget import A4_AT_150_DPI, SCHEMES, picture_cost
from seesay.errors import ConfigError, UnknownModelError
from seesay.models.blip import BlipCaptioner, BlipMatcher
from seesay.models.decoder import Decoder
from seesay.models.t5 import T5
from seesay.weights import catalog
from seesay.weights.catalog import (
    AssistantEntry,
    find,
    find_assistant,
    nearest,
    published_assistants,
    published_models,
    read_assistants,
    require_assistant,
    require_embedding,
    unknown_model,
)

ENTRIES = published_assistants()
PHOTO = (1024, 768)
FULL = """
[tasks]
ocr = ["Reading"]
[licences]
"Free" = { commercial = "yes" }
[[family]]
family = "X"
licence = "Free"
languages = ["en"]
files = "hf"
tower = "T"
connector = "C"
language_model = "L"
scheme = ""
checkpoints = [
  { alias = "x", repo = "me/x", megabytes = 4, parameters_m = 2, photo_tokens = 1, page_tokens = 1, context = 10, depth = 1, key_heads = 1, head_dim = 5, figures = { "S" = { "Reading" = 50 } } },
]
"""  # noqa: E501


@cache
def implied(alias: str) -> dict[str, Any]:
    """The numbers of an entry, from the model that published configs describe."""
    model = ASSISTANTS[alias]()
    parameters = sum(one.numel() for one in model.parameters())
    sizes = {"parameters_m": millions(parameters), **tokens(ENTRIES[alias].scheme)}
    sizes["megabytes"] = millions(parameters * ENTRIES[alias].stored_bytes)
    for part in model.modules():
        if isinstance(part, Decoder):
            c = part.config
            linear = [one for one in part.blocks.modules() if isinstance(one, nn.Linear)]
            return sizes | {
                **{"depth": c.depth, "key_heads": c.key_heads, "head_dim": c.head_dim},
                "layers_m": millions(sum(one.weight.numel() for one in linear)),
                "head_m": millions(c.vocab_size * c.dim),
                "tied": c.tied,
            }
        if isinstance(part, T5):
            heads = {"key_heads": part.config.heads, "head_dim": part.config.head_dim}
            return sizes | heads | {"depth": part.config.decoder_depth}
    assert isinstance(model, BlipCaptioner | BlipMatcher)
    text = model.config.text
    patches = model.config.image.grid**2 + 1
    heads = {"key_heads": text.heads, "head_dim": text.dim // text.heads, "depth": text.depth}
    seen = {"photo_tokens": patches, "page_tokens": patches, "context": text.context}
    return sizes | heads | seen


def millions(number: int) -> int:
    return round(number / 1e6)


def tokens(scheme: str) -> dict[str, int]:
    if not scheme:
        return {}
    photo, page = (picture_cost(size, scheme).total for size in (PHOTO, A4_AT_150_DPI))
    return {"photo_tokens": photo, "page_tokens": page, "context": SCHEMES[scheme].context}


def mistakes(entry: AssistantEntry) -> list[str]:
    wanted = implied(entry.alias)
    return [name for name, value in wanted.items() if getattr(entry, name) != value]


def test_every_entry_has_a_published_config():
    assert ENTRIES.keys() == ASSISTANTS.keys()


@pytest.mark.parametrize("alias", ENTRIES)
def test_numbers_are_those_of_the_config_and_of_the_token_budget(alias):
    assert mistakes(ENTRIES[alias]) == []


@pytest.mark.parametrize(
    "name", ["parameters_m", "megabytes", "depth", "key_heads", "head_dim", "layers_m", "context"]
)
def test_a_wrong_number_is_a_mistake(name):
    for alias in ("llava-1.5-7b", "qwen3-vl-4b", "internvl2-2b", "flamingo-9b"):
        wrong = replace(ENTRIES[alias], **{name: getattr(ENTRIES[alias], name) + 1})
        assert mistakes(wrong) == [name]


@pytest.mark.parametrize(
    ("alias", "billions"),
    [
        ("qwen2.5-vl-7b", 8.292),
        ("qwen3-vl-2b", 2.128),
        ("qwen3-vl-4b", 4.438),
        ("qwen3-vl-8b", 8.767),
        ("qwen2-vl-2b", 2.21),
        ("internvl2.5-2b", 4.41 / 2),
    ],
)
def test_parameters_are_those_that_hubs_count(alias, billions):
    """From model cards, and the size of model.safetensors in bfloat16."""
    assert ENTRIES[alias].parameters_m / 1000 == pytest.approx(billions, abs=0.002)


class TestMemory:
    def test_it_is_weights_and_cache(self):
        cache = 2 * 32 * 32 * 128 * 4096  # keys and values, LLaVA 1.5's whole context
        entry = ENTRIES["llava-1.5-7b"]
        assert entry.memory("bfloat16") == 7063 * 10**6 * 2 + cache * 2
        assert entry.memory("float32") == 7063 * 10**6 * 4 + cache * 4
        assert entry.memory("bfloat16", 1) == 7063 * 10**6 * 2 + cache // 4096 * 2

    def test_int8_and_int4_make_layers_and_head_smaller(self):
        entry = ENTRIES["llava-1.5-7b"]
        rest = (7063 - 6476 - 131) * 2
        saved = {n: entry.memory("bfloat16") - entry.memory(n) for n in ("int8", "int4")}
        assert saved["int8"] == (7063 * 2 - rest - 6476 - 131) * 10**6
        assert saved["int4"] == round((7063 * 2 - rest - 6476 * 0.625 - 131) * 1e6)

    def test_a_tied_head_is_held_twice(self):
        entry = ENTRIES["qwen2-vl-2b"]
        assert entry.tied
        apart = replace(entry, tied=False)
        assert entry.memory("int8") - apart.memory("int8") == entry.head_m * 2 * 10**6

    def test_a_model_without_a_decoder_has_two_number_types(self):
        assert ENTRIES["blip2-flan-t5-xl"].number_types == ("float32", "bfloat16")
        assert ENTRIES["blip2-opt-2.7b"].number_types[-1] == "int4"


class TestEntries:
    def test_each_is_one_line_of_the_file(self):
        text = Path(catalog.__file__).with_name("catalog_assistants.toml").read_text("utf-8")
        assert len(re.findall(r"^  \{ alias = .* \},$", text, re.MULTILINE)) == len(ENTRIES)

    def test_names_are_there_once_in_both_catalogues(self):
        every = (*published_models().values(), *ENTRIES.values())
        names = [n.casefold() for e in every for n in {e.alias, e.repo, *other_form(e)} if n]
        assert len(names) == len(set(names))

    def test_what_may_be_used_commercially_is_never_a_guess(self):
        allowed = {e.licence for e in ENTRIES.values() if e.commercial == "yes"}
        assert allowed == {"Apache-2.0", "MIT", "BSD-3-Clause"}
        assert ENTRIES["qwen2.5-vl-3b"].commercial == "no"
        assert ENTRIES["internvl2.5-4b"].commercial == "unknown"
        assert all(e.terms_en for e in ENTRIES.values() if e.commercial in ("conditions", "no"))

    def test_every_figure_has_a_source_and_a_task_with_several_models(self):
        figures = [figure for entry in ENTRIES.values() for figure in entry.figures]
        assert all(figure.source and 0 < figure.score < 150 for figure in figures)
        for task in catalog.TASKS:
            assert sum(task in entry.tasks for entry in ENTRIES.values()) > 1

    @pytest.mark.parametrize("name", ["Qwen2-VL-2B", " qwen/qwen2-vl-2b-instruct "])
    def test_they_are_found_by_alias_or_hub_id(self, name):
        assert find_assistant(name) is ENTRIES["qwen2-vl-2b"]
        assert find(name) is None

    def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(self):
        assert nearest("qwen2-vl-2")[0] == "qwen2-vl-2b"
        assert "llava-1.5-7b" in str(unknown_model("llava1.5-7b"))

    def test_a_model_of_the_other_sort_is_refused_in_both_languages(self):
        with pytest.raises(ConfigError, match=r"answers questions.*seesay\.chat") as told:
            require_embedding("qwen2-vl-2b")
        assert "用来回答问题" in told.value.text.zh
        with pytest.raises(ConfigError, match=r"answers no questions.*seesay\.load") as told:
            require_assistant("clip-b32")
        assert "不回答问题" in told.value.text.zh
        require_embedding("clip-b32"), require_assistant("qwen2-vl-2b"), require_assistant("a/b")

    def test_an_index_refuses_one_by_name(self):
        from seesay.search.model import model_id

        with pytest.raises(ConfigError, match="makes no vectors"):
            model_id("qwen2-vl-2b")
        with pytest.raises(UnknownModelError):
            model_id("qwen2-vl-3b")


def other_form(entry: catalog.CatalogEntry) -> set[str]:
    return {entry.other_form} if isinstance(entry, AssistantEntry) else set()


class TestMistakes:
    def read(self, folder: Path, old: str = "", new: str = "") -> dict[str, AssistantEntry]:
        path = folder / "catalog.toml"
        assert old in FULL
        path.write_text(FULL.replace(old, new, 1) if old else FULL, encoding="utf-8")
        return read_assistants(path)

    def test_a_right_entry_is_read(self, tmp_path):
        (entry,) = self.read(tmp_path).values()
        assert (entry.commercial, entry.purpose) == ("yes", "assistant")
        (figure,) = entry.figures
        assert (figure.benchmark, figure.task, figure.score) == ("Reading", "ocr", 50.0)
        assert figure.source == "S"

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ('licence = "Free"', 'licence = "Dear"', "licence='Dear'; expected one of Free"),
            ('"Reading" = 50', '"Writing" = 50', "a figure on 'Writing'; expected one on Reading"),
            ("depth = 1", "depth = 0", "a size of 0"),
            ("depth = 1", "depths = 1", "a key 'depths'"),
            ("depth = 1, ", "", "no 'depth'"),
            ("head_dim = 5", "head_dim = 5, tied = 1", "tied=1"),
            ('files = "hf"', 'files = "zip"', "files='zip'"),
            ("head_dim = 5", 'head_dim = 5, terms_en = "a"', "terms in one language"),
        ],
    )
    def test_a_wrong_value_is_named(self, tmp_path, old, new, told):
        with pytest.raises(ConfigError, match=f"entry 'x' has {re.escape(told)}"):
            self.read(tmp_path, old, new)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_holds_every_model_and_every_figure_in_its_language(language):
    page = assistants_page(language)
    for entry in ENTRIES.values():
        rows = [line for line in page.splitlines() if line.startswith(f"| `{entry.alias}` |")]
        assert len(rows) == 2 + len(entry.tasks)
        assert f"{entry.memory('bfloat16') / 1e9:.1f}" in rows[1]
        assert all(any(f"{f.score:.1f}" in row for row in rows) for f in entry.figures)
        assert (entry.terms_zh if language == "zh" else entry.terms_en) in page.replace("\\", "")


def test_the_two_files_are_toml_that_others_can_read():
    path = Path(catalog.__file__).with_name("catalog_assistants.toml")
    assert set(tomllib.loads(path.read_text("utf-8"))["tasks"]) == set(catalog.TASKS)
