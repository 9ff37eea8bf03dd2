"""BLIP gives the numbers of transformers', from the image tower to the tokens it writes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from decoder_references import close, outputs
from reference_parts import IMAGE, TEXT, VOCAB, layers, randomise
from rule_slips import unnoticed
from seesay.errors import ConfigError, WeightsError
from seesay.inference.generation import beam_search
from seesay.models.blip import BlipCaptioner, BlipConfig, BlipMatcher
from seesay.weights.blip import (
    CAPTIONER_RULES,
    MATCHER_RULES,
    SALESFORCE_CAPTIONER_RULES,
    SALESFORCE_MATCHER_RULES,
    TEXT_DEFAULTS,
    VISION_DEFAULTS,
    load_blip,
)
from seesay.weights.tensors import blank_model, load_weights

BEGIN, END, PAD = 5, 6, 0


def saved(folder: Path, name: str) -> nn.Module:
    import transformers

    config = transformers.BlipConfig(
        vision_config=IMAGE,
        text_config=dict(
            TEXT, bos_token_id=BEGIN, sep_token_id=END, eos_token_id=END, pad_token_id=PAD
        ),
        image_text_hidden_size=10,
    )
    model = randomise(getattr(transformers, name)(config), norms=1.0)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def captioner(tmp_path_factory) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("captioner")
    return folder, saved(folder, "BlipForConditionalGeneration")


@pytest.fixture(scope="module")
def matcher(tmp_path_factory) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("matcher")
    return folder, saved(folder, "BlipForImageTextRetrieval")


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(7, VOCAB, (3, 6))
    real = torch.ones(3, 6, dtype=torch.bool)
    real[1, 4:], real[2, 2:] = False, False
    return torch.randn(3, 3, 32, 32), ids.masked_fill(~real, PAD), real


CAPTIONER_STAGES = {
    **layers("image.blocks", "vision_model.encoder.layers"),
    "image.norm_out": "vision_model.post_layernorm",
    "text.norm_in": "text_decoder.bert.embeddings.LayerNorm",
    **layers("text.blocks", "text_decoder.bert.encoder.layer"),
}


@torch.no_grad()
def test_every_hidden_state_and_logit_of_a_captioner_matches(captioner):
    folder, theirs = captioner
    model = load_blip(folder)
    assert isinstance(model, BlipCaptioner)
    images, ids, real = inputs()
    mine = outputs(model, list(CAPTIONER_STAGES))
    expected = outputs(theirs, list(CAPTIONER_STAGES.values()))

    logits = model(model.patches(images), ids, real)
    result = theirs(pixel_values=images, input_ids=ids, attention_mask=real.long())

    for ours, name in CAPTIONER_STAGES.items():
        actual, wanted = mine[ours], expected[name]
        if ours.startswith("text"):
            actual, wanted = actual[real], wanted[real]
        elif name.endswith("post_layernorm"):
            wanted = theirs.vision_model(images).last_hidden_state
        close(actual, wanted)
    close(logits[real], result.logits[real])


@torch.no_grad()
def test_a_captioner_writes_the_same_tokens(captioner):
    folder, theirs = captioner
    model = load_blip(folder)
    images, _, _ = inputs()
    expected = theirs.generate(images, max_length=10, do_sample=False, num_beams=1)

    patches, begin = model.patches(images), torch.full((3, 1), BEGIN)
    options = dict(length=10, end_ids=(END,), pad_id=PAD)
    written = beam_search(lambda ids, _: (model(patches, ids)[:, -1], None), begin, **options)

    width = min(written.shape[1], expected.shape[1])
    assert width > 3
    assert torch.equal(written[:, :width], expected[:, :width])


@torch.no_grad()
def test_a_matcher_compares_and_judges_alike(matcher):
    folder, theirs = matcher
    model = load_blip(folder)
    assert isinstance(model, BlipMatcher)
    images, ids, real = inputs()
    options = dict(pixel_values=images, input_ids=ids, attention_mask=real.long())
    judged, compared = theirs(**options), theirs(**options, use_itm_head=False)

    patches = model.patches(images)
    close(model(patches, ids, real), judged.itm_score)
    close(model.embed_images(patches) @ model.embed_texts(ids, real).T, compared.itm_score)


@torch.no_grad()
def test_padding_and_neighbours_change_no_row(captioner, matcher):
    images, ids, real = inputs()
    for folder, _ in (captioner, matcher):
        model = load_blip(folder)
        patches = model.patches(images)
        together = model(patches, ids, real)[2:]
        alone = model(patches[2:], ids[2:, :2], real[2:, :2])
        close(together[:, :2] if together.ndim == 3 else together, alone)


def test_every_slip_in_a_rule_table_is_noticed(captioner, matcher):
    images, ids, real = inputs()

    def numbers(model: nn.Module) -> dict[str, Tensor]:
        patches = model.patches(images)
        result = {"text": model(patches, ids)}
        if isinstance(model, BlipMatcher):
            result |= {"image": model.embed_images(patches), "words": model.embed_texts(ids, real)}
        return result

    for (folder, _), rules in ((captioner, CAPTIONER_RULES), (matcher, MATCHER_RULES)):
        tensors = load_file(folder / "model.safetensors")
        assert unnoticed(load_blip(folder), tensors, rules, numbers) == []


def salesforce(name: str) -> str:
    """The name of a tensor in the original file (transformers, convert_blip_original_pytorch)."""
    for new, old in (
        ("vision_model.encoder.layers", "visual_encoder.blocks"),
        ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
        ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
        ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
        ("vision_model.post_layernorm", "visual_encoder.norm"),
        ("self_attn.projection", "attn.proj"),
        ("self_attn.qkv", "attn.qkv"),
        (".layer_norm", ".norm"),
    ):
        name = name.replace(new, old)
    return name


@torch.no_grad()
def test_salesforces_own_files_give_the_same_model(captioner, matcher):
    images, ids, _ = inputs()
    for (folder, _), rules in (
        (captioner, SALESFORCE_CAPTIONER_RULES),
        (matcher, SALESFORCE_MATCHER_RULES),
    ):
        expected = load_blip(folder)
        tensors = load_file(folder / "model.safetensors")
        model = blank_model(type(expected), expected.config).eval()
        load_weights(model, {salesforce(name): one for name, one in tensors.items()}, rules)
        close(model(model.patches(images), ids), expected(expected.patches(images), ids))


def test_a_file_that_holds_the_words_twice_is_read_and_one_that_differs_is_refused(
    captioner, tmp_path
):
    folder, _ = captioner
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    words = tensors["text_decoder.bert.embeddings.word_embeddings.weight"]
    bias = tensors["text_decoder.cls.predictions.bias"]
    copies = {"weight": words.clone(), "bias": bias.clone()}
    twice = {f"text_decoder.cls.predictions.decoder.{k}": v for k, v in copies.items()}
    save_file(tensors | twice, tmp_path / "model.safetensors")
    load_blip(tmp_path)
    twice["text_decoder.cls.predictions.decoder.weight"][0, 0] += 1
    save_file(tensors | twice, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"predictions\.decoder\.weight"):
        load_blip(tmp_path)


def test_a_model_that_answers_questions_is_refused_by_what_it_is(captioner, tmp_path):
    folder, _ = captioner
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    tensors["text_encoder.embeddings.LayerNorm.weight"] = torch.ones(32)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="neither the single text decoder"):
        load_blip(tmp_path)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("text_config", "rotary", True), ("vision_config", "use_rope", True)],
)
def test_a_setting_that_changes_the_numbers_is_refused(captioner, tmp_path, section, name, value):
    folder, _ = captioner
    config = json.loads((folder / "config.json").read_text())
    config[section][name] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    with pytest.raises(WeightsError, match=name):
        load_blip(tmp_path)


def test_defaults_are_those_of_transformers():
    from transformers import BlipTextConfig, BlipVisionConfig

    for ours, theirs in ((VISION_DEFAULTS, BlipVisionConfig()), (TEXT_DEFAULTS, BlipTextConfig())):
        assert ours == {name: getattr(theirs, name) for name in ours}


def test_a_matcher_needs_a_space():
    with pytest.raises(ConfigError, match="embed_dim=None"):
        blank_model(BlipMatcher, BlipConfig())
