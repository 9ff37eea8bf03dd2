"""The catalogue says what it must, and a mistake in it is told exactly."""

import re
import tomllib
from pathlib import Path

import pytest

from generate import checkpoints_page
from seesay.errors import ConfigError
from seesay.weights import catalog
from seesay.weights.catalog import (
    BUILT_IN,
    default_model,
    find,
    nearest,
    published_models,
    read_catalog,
)

ENTRIES = list(published_models().values())
FULL = {
    "alias": "x",
    "repo": "me/x",
    "megabytes": 1,
    "parameters_m": 1,
    "image_size": 224,
    "licence": "MIT",
    "languages": ["en"],
}


def written(folder: Path, *entries: dict[str, object], family: str = 'family = "X"') -> Path:
    path = folder / "catalog.toml"
    rows = (", ".join(f"{key} = {value(v)}" for key, v in entry.items()) for entry in entries)
    inner = ", ".join(f"{{{row}}}" for row in rows)
    path.write_text(f"[[family]]\n{family}\ncheckpoints = [{inner}]\n", encoding="utf-8")
    return path


def value(given: object) -> str:
    if isinstance(given, str):
        return f'"{given}"'
    if isinstance(given, list):
        return f"[{', '.join(value(item) for item in given)}]"
    return str(given).lower()


def test_every_family_that_seesay_reads_is_there():
    expected = {"OpenAI CLIP", "LAION CLIP", "DataComp CLIP", "MetaCLIP", "DFN CLIP", "SigLIP"}
    expected |= {"SigLIP 2", "Chinese-CLIP", "Taiyi-CLIP", "EVA-02-CLIP", "seesay", "EVA-01-CLIP"}
    expected |= {"FG-CLIP 2", "MetaCLIP 2", "LAION XLM-R", "NLLB-CLIP", "M-CLIP", "AltCLIP"}
    expected |= {"PE-Core", "MobileCLIP2", "TinyCLIP", "BiomedCLIP"}
    expected |= {"BGE", "multilingual E5", "Qwen3-Embedding"}
    assert {entry.family for entry in ENTRIES} == expected


@pytest.mark.parametrize(
    ("alias", "top1", "prompts"),
    [
        ("clip-rn50", 59.8, "en"),
        ("clip-b32", 63.3, "en"),
        ("clip-l14-336", 76.6, "en"),
        ("laion-bigg14", 80.1, "en"),
        ("datacomp-l14", 79.2, "en"),
        ("metaclip-b16", 70.8, "en"),
        ("siglip-so400m-384", 83.1, "en"),
        ("siglip2-b16-224", 78.2, "en"),
        ("siglip2-g-384", 85.0, "en"),
        ("eva02-l14-336", 80.4, "en"),
        ("eva01-g14-plus", 79.3, "en"),
        ("laion-xlm-r-h14", 77.0, "en"),
        ("nllb-clip-siglip-so400m", 51.8, "en"),
        ("tinyclip-8m", 41.1, "en"),
        ("chinese-clip-rn50", 33.5, "zh"),
        ("chinese-clip-h14", 59.6, "zh"),
    ],
)
def test_figures_are_the_published_ones(alias, top1, prompts):
    assert (published_models()[alias].top1, published_models()[alias].prompts) == (top1, prompts)


def test_models_are_recommended_for_both_languages_for_chinese_and_for_english():
    families = {entry.family: entry.recommended_en for entry in ENTRIES if entry.recommended_en}
    assert families["SigLIP 2"].startswith("Both languages")
    assert families["Chinese-CLIP"].startswith("Chinese")
    for family in ("OpenAI CLIP", "SigLIP", "EVA-02-CLIP"):
        assert families[family].startswith("English")


def test_what_may_not_be_used_commercially_says_so():
    for entry in ENTRIES:
        if entry.family in ("MetaCLIP", "DFN CLIP"):
            assert re.search("non-commercial|research only", entry.licence)


def test_size_fits_the_number_of_parameters():
    for entry in ENTRIES:
        if not entry.built_in and not entry.image_half:
            assert 1.9 < entry.megabytes / entry.parameters_m < 4.1, entry.alias


def test_aliases_and_repositories_are_each_there_once():
    names = [name.casefold() for e in ENTRIES for name in {e.alias, e.repo} if name]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9.-]+", entry.alias) for entry in ENTRIES)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", e.repo) for e in ENTRIES if not e.built_in)


def test_each_checkpoint_is_one_line_of_the_file():
    text = Path(catalog.__file__).with_name("catalog.toml").read_text(encoding="utf-8")
    assert len(re.findall(r"^  \{ alias = .* \},$", text, re.MULTILINE)) == len(ENTRIES)
    assert sum(len(f["checkpoints"]) for f in tomllib.loads(text)["family"]) == len(ENTRIES)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.built_in], ids=lambda e: e.alias)
def test_a_built_in_model_is_as_large_as_the_catalogue_says(entry):
    megabytes = sum(path.stat().st_size for path in entry.built_in.iterdir()) / 1e6
    assert megabytes == pytest.approx(entry.megabytes, rel=0.1, abs=1)


@pytest.mark.parametrize(
    "name",
    [
        "clip-b32",
        " CLIP-B32 ",
        "openai/CLIP-vit-base-patch32",
        "AI-ModelScope/clip-vit-base-patch32",
    ],
)
def test_a_model_is_found_by_alias_or_hub_id_in_any_case(name):
    assert find(name) is published_models()["clip-b32"]


@pytest.mark.parametrize("name", ["", " ", "clip", "openai/"])
def test_a_part_of_a_name_finds_nothing(name):
    assert find(name) is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("clip_b32", "clip-b32"),
        ("siglip2-l16-257", "siglip2-l16-256"),
        ("opnai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("chinese-clip-vit-huge-patch14", "OFA-Sys/chinese-clip-vit-huge-patch14"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(typed, meant):
    assert nearest(typed)[0] == meant


def test_a_name_like_nothing_is_answered_with_nothing():
    assert nearest("中文") == []


class TestMistakes:
    def test_a_right_entry_is_read(self, tmp_path):
        (entry,) = read_catalog(written(tmp_path, FULL)).values()
        assert (entry.family, entry.name, entry.languages) == ("X", "me/x", ("en",))

    def test_an_entry_may_replace_what_its_family_says(self, tmp_path):
        path = written(tmp_path, FULL, family='family = "X"\nlicence = "GPL"')
        assert read_catalog(path)["x"].licence == "MIT"

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"size": 3}, "a key 'size'; expected alias, family"),
            ({"megabytes": "1"}, "megabytes='1'; expected <class 'int'>"),
            ({"megabytes": True}, "megabytes=True"),
            ({"megabytes": 0}, "the numbers"),
            ({"languages": []}, r"languages=\(\)"),
            ({"languages": ["de"]}, r"languages=\('de',\)"),
            ({"languages": "en"}, "languages='en'"),
            ({"layout": "onnx"}, "layout='onnx'"),
            ({"prompts": "fr", "top1": 1.0, "source": "s"}, "prompts='fr'"),
            ({"top1": 70.0}, "top1=70.0, source=''; expected both or none"),
            ({"top1": 170.0, "source": "s"}, "the numbers"),
            ({"top1": "70", "source": "s"}, "top1='70'"),
            ({"revision": "abc"}, "revision='abc'; expected main or a 40-digit commit"),
            ({"recommended_en": "me"}, "a recommendation in one language"),
            ({"image_half": "y"}, "a reference to 'y'"),
            ({"tokenizer": "y"}, "a reference to 'y'"),
        ],
    )
    def test_a_wrong_value_is_named(self, tmp_path, change, told):
        with pytest.raises(ConfigError, match=f"entry 'x' has {told}"):
            read_catalog(written(tmp_path, FULL | change))

    def test_a_missing_value_is_named(self, tmp_path):
        with pytest.raises(ConfigError, match="entry 'x' has no 'licence'"):
            read_catalog(written(tmp_path, {k: v for k, v in FULL.items() if k != "licence"}))

    def test_two_entries_of_one_name_are_refused(self, tmp_path):
        with pytest.raises(ConfigError, match="two checkpoints of this name"):
            read_catalog(written(tmp_path, FULL, FULL))

    @pytest.mark.parametrize("text", ["[[family]]\n", "x = [", "family = 1", "", "[family]\na = 1"])
    def test_a_file_of_another_kind_is_refused(self, tmp_path, text):
        (tmp_path / "catalog.toml").write_text(text)
        with pytest.raises(ConfigError, match="is no catalogue"):
            read_catalog(tmp_path / "catalog.toml")


def test_the_page_of_checkpoints_says_their_terms_in_its_own_language():
    noted = [entry for entry in catalog.published_models().values() if entry.licence_zh]
    assert noted
    pages = {language: checkpoints_page(language) for language in ("en", "zh")}
    for entry in noted:
        assert entry.licence in pages["en"] and entry.licence not in pages["zh"]
        assert entry.licence_zh in pages["zh"] and entry.licence_zh not in pages["en"]


def test_the_default_model_can_be_named(monkeypatch):
    monkeypatch.setenv("SEESAY_MODEL", "clip-b32")
    assert default_model() == "clip-b32"
    monkeypatch.setenv("SEESAY_MODEL", "")
    assert default_model() == BUILT_IN
