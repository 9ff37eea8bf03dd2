"""BLIP-2 and InstructBLIP give the numbers of transformers', from the image tower to the tokens
they write."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from decoder_references import close, outputs
from reference_parts import IMAGE, TINY, layers, randomise
from rule_slips import unnoticed
from seesay.errors import ConfigError, WeightsError
from seesay.inference.generation import beam_search
from seesay.models.blip2 import Blip2, Blip2Config, Blip2Matcher, Blip2MatcherConfig
from seesay.models.cache import KeyValueCache
from seesay.models.decoder import DecoderConfig
from seesay.models.qformer import QFormerConfig
from seesay.models.t5 import T5
from seesay.models.vit import VitConfig
from seesay.weights.blip2 import (
    KNOWN,
    LAVIS_RULES,
    MATCHER_RULES,
    QFORMER_DEFAULTS,
    load_blip2,
    read,
)
from seesay.weights.settings import every_setting
from seesay.weights.tensors import Rules, blank_model, load_weights

QUERIES, WORDS, PIECES = 4, 61, 40
PICTURE = WORDS - 1  # the token that marks an image's places
QFORMER = dict(TINY, vocab_size=PIECES, max_position_embeddings=16, cross_attention_frequency=2)
OPT = dict(
    model_type="opt",
    vocab_size=WORDS,
    hidden_size=24,
    word_embed_proj_dim=24,
    ffn_dim=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=64,
)
FLAN = dict(
    model_type="t5",
    vocab_size=WORDS,
    d_model=24,
    d_kv=8,
    d_ff=48,
    num_layers=3,
    num_decoder_layers=3,
    num_heads=4,
    feed_forward_proj="gated-gelu",
    decoder_start_token_id=0,
)
VICUNA = dict(
    model_type="llama",
    vocab_size=WORDS,
    hidden_size=24,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=64,
    pad_token_id=0,
)


@dataclass
class Reference:
    """A published model, where it lies, and what else it reads."""

    folder: Path
    model: nn.Module
    begin: int
    """The language model's first token."""
    end: int
    instructed: bool

    @property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.folder / "model.safetensors")


def saved(folder: Path, name: str, **config: Any) -> nn.Module:
    import transformers

    family = "InstructBlip" if name.startswith("Instruct") else "Blip2"
    build = getattr(transformers, f"{family}Config")
    theirs = getattr(transformers, name)(
        build(vision_config=IMAGE, num_query_tokens=QUERIES, **config)
    )
    head = getattr(getattr(theirs, "language_model", None), "lm_head", None)
    if head is not None and config["text_config"]["model_type"] == "t5":  # Flan-T5's is its own
        head.weight = nn.Parameter(torch.empty(WORDS, 24))
        theirs.language_model.config.tie_word_embeddings = False
    randomise(theirs)
    with torch.no_grad():
        for module in theirs.modules():  # about 1, so that attention tells tokens apart
            if "Norm" in type(module).__name__:
                module.weight.add_(1.0)
    theirs.save_pretrained(folder)
    return theirs


def blip2_opt(folder: Path) -> Reference:
    options = dict(qformer_config=QFORMER, text_config=OPT, image_token_index=PICTURE)
    model = saved(folder, "Blip2ForConditionalGeneration", **options)
    return Reference(folder, model, begin=2, end=2, instructed=False)


def blip2_t5(folder: Path) -> Reference:
    options = dict(qformer_config=QFORMER, text_config=FLAN, image_token_index=PICTURE)
    model = saved(folder, "Blip2ForConditionalGeneration", **options)
    return Reference(folder, model, begin=7, end=1, instructed=False)


def instructblip_vicuna(folder: Path) -> Reference:
    options = dict(qformer_config=QFORMER, text_config=VICUNA, image_token_index=PICTURE)
    model = saved(folder, "InstructBlipForConditionalGeneration", **options)
    return Reference(folder, model, begin=1, end=2, instructed=True)


def instructblip_t5(folder: Path) -> Reference:
    options = dict(qformer_config=QFORMER, text_config=FLAN, image_token_index=PICTURE)
    model = saved(folder, "InstructBlipForConditionalGeneration", **options)
    return Reference(folder, model, begin=7, end=1, instructed=True)


WRITERS: dict[str, Callable[[Path], Reference]] = {
    one.__name__: one for one in (blip2_opt, blip2_t5, instructblip_vicuna, instructblip_t5)
}


@pytest.fixture(scope="module", params=WRITERS)
def writer(request, tmp_path_factory) -> Reference:
    torch.manual_seed(0)
    return WRITERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def matcher(tmp_path_factory) -> Reference:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("matcher")
    qformer = dict(QFORMER, use_qformer_text_input=True)
    options = dict(qformer_config=qformer, text_config=OPT, image_text_hidden_size=10)
    model = saved(folder, "Blip2ForImageTextRetrieval", **options)
    return Reference(folder, model, begin=2, end=2, instructed=False)


@dataclass
class Inputs:
    images: Tensor
    ids: Tensor
    real: Tensor
    written: Tensor
    instruction: Tensor
    instruction_real: Tensor

    @property
    def instructed(self) -> tuple[Tensor, Tensor]:
        return self.instruction, self.instruction_real

    def theirs(self, reference: Reference) -> dict[str, Tensor]:
        """The same for transformers, whose prompts mark the places of the image."""
        places = torch.full((len(self.ids), QUERIES), PICTURE)
        options = dict(
            pixel_values=self.images,
            input_ids=torch.cat([places, self.ids], dim=1),
            attention_mask=torch.cat([torch.ones_like(places), self.real.long()], dim=1),
        )
        if reference.instructed:
            options["qformer_input_ids"] = self.instruction
            options["qformer_attention_mask"] = self.instruction_real.long()
        return options


def inputs(begin: int = 2) -> Inputs:
    torch.manual_seed(1)
    real = torch.ones(3, 6, dtype=torch.bool)
    real[1, 4:], real[2, 2:] = False, False
    ids = torch.randint(8, PICTURE, (3, 6))
    ids[:, 0] = begin
    instruction_real = torch.ones(3, 5, dtype=torch.bool)
    instruction_real[0, 3:] = False
    return Inputs(
        torch.randn(3, 3, 32, 32),
        ids.masked_fill(~real, 0),
        real,
        torch.cat([torch.zeros(3, 1).long(), torch.randint(8, PICTURE, (3, 4))], dim=1),
        torch.randint(1, PIECES, (3, 5)),
        instruction_real,
    )


def seen_by(model: Blip2, given: Inputs, rows: slice = slice(None)) -> Tensor:
    instruction = [one[rows] for one in given.instructed]
    reads = model.config.qformer.vocab_size is not None
    return model.image_tokens(given.images[rows], *(instruction if reads else ()))


STAGES = {
    **layers("image.blocks", "vision_model.encoder.layers"),
    **layers("qformer.blocks", "qformer.encoder.layer"),
    "project": "language_projection",
}


@torch.no_grad()
def test_every_hidden_state_and_logit_matches(writer):
    model = load_blip2(writer.folder)
    assert isinstance(model, Blip2)
    given = inputs(writer.begin)
    writes = isinstance(model.language, T5)
    mine, theirs = outputs(model, list(STAGES)), outputs(writer.model, list(STAGES.values()))

    seen = seen_by(model, given)
    logits = model(seen, given.ids, given.real, given.written if writes else None)
    options = {"decoder_input_ids": given.written} if writes else {}
    result = writer.model(**given.theirs(writer), **options)

    for ours, name in STAGES.items():
        actual, expected = mine[ours], theirs[name]
        if ours.startswith("qformer") and writer.instructed:
            real = torch.cat([torch.ones(3, QUERIES, dtype=torch.bool), given.instruction_real], 1)
            actual, expected = actual[real], expected[real]
        close(actual, expected)
    if writes:
        close(logits, result.logits)
    else:
        close(logits[given.real], result.logits[:, QUERIES:][given.real])


# Beam search here never writes padding.
GREEDY = dict(do_sample=False, num_beams=1, suppress_tokens=[0])


def next_logits(model: Blip2, seen: Tensor, ids: Tensor, real: Tensor):
    """What beam search asks for, with a cache: the whole prompt first, then one token."""
    embeds, mask = model.prompt(seen, ids, real)
    language = model.language
    if isinstance(language, T5):
        encoded = language.encode(embeds, mask)

    def step(rows: Tensor, cache: KeyValueCache | None) -> tuple[Tensor, KeyValueCache]:
        last = language.embed(rows[:, -1:])
        if isinstance(language, T5):
            cache = cache or KeyValueCache()
            hidden = language(last, encoded, mask, cache)
        elif cache is None:
            cache = KeyValueCache()
            hidden = language(embeds, cache=cache, mask=mask)
            place = QUERIES + real.sum(1) - 1
            hidden = hidden[torch.arange(len(place)), place][:, None]
        else:
            hidden = language(last, cache=cache)
        return language.logits(hidden)[:, -1], cache

    return step


@torch.no_grad()
def test_the_same_tokens_are_written_to_prompts_of_different_lengths(writer):
    model, given = load_blip2(writer.folder), inputs(writer.begin)
    seen, new = seen_by(model, given), 8
    writes = isinstance(model.language, T5)
    begin = torch.zeros(3, 1).long() if writes else given.ids[:, -1:]
    mine = beam_search(
        next_logits(model, seen, given.ids, given.real),
        begin,
        length=1 + new,
        end_ids=(writer.end,),
        pad_id=0,
    )[:, 1:]
    for row in range(3):  # alone, since transformers pads on the left
        length = int(given.real[row].sum())
        options = given.theirs(writer)
        prompt = {name: value[row : row + 1] for name, value in options.items()}
        prompt["input_ids"] = prompt["input_ids"][:, : QUERIES + length]
        prompt["attention_mask"] = prompt["attention_mask"][:, : QUERIES + length]
        written = writer.model.generate(
            **prompt, **GREEDY, max_new_tokens=new, eos_token_id=writer.end
        )[0]
        written = written[1:] if writes else written[-new:]
        stop = (written == writer.end).nonzero()
        count = int(stop[0]) if len(stop) else len(written)
        assert mine[row, :count].tolist() == written[:count].tolist()
        assert count > 2


@torch.no_grad()
def test_padding_and_neighbours_change_no_row(writer):
    model, given = load_blip2(writer.folder), inputs(writer.begin)
    together = model(seen_by(model, given), given.ids, given.real, given.written)
    row = slice(2, 3)
    alone = model(seen_by(model, given, row), given.ids[row, :2], None, given.written[row])
    close(together[row, : alone.shape[1]], alone)


def test_every_slip_in_the_rules_of_a_writer_is_noticed(writer):
    given = inputs(writer.begin)

    def numbers(model: Blip2) -> dict[str, Tensor]:
        seen = seen_by(model, given)
        written = given.written if isinstance(model.language, T5) else None
        return {"seen": seen, "logits": model(seen, given.ids, None, written)}

    model = load_blip2(writer.folder)
    assert unnoticed(model, writer.tensors, rules_of(writer), numbers, most=40) == []


def rules_of(reference: Reference) -> Rules:
    published = json.loads((reference.folder / "config.json").read_text())
    with every_setting(published, "config.json", KNOWN) as config:
        return read(config, reference.tensors).rules


@torch.no_grad()
def test_a_matcher_compares_and_judges_alike(matcher):
    model = load_blip2(matcher.folder)
    assert isinstance(model, Blip2Matcher)
    given = inputs()
    ids, real = given.instruction, given.instruction_real
    options = dict(pixel_values=given.images, input_ids=ids, attention_mask=real.long())
    judged = matcher.model(**options, use_image_text_matching_head=True)
    compared = matcher.model(**options)

    patches = model.patches(given.images)
    close(model(patches, ids, real), judged.logits_per_image)
    images, texts = model.embed_images(patches), model.embed_texts(ids, real)
    close(images, compared.image_embeds)
    close(texts, compared.text_embeds)
    for row in range(3):  # transformers compares image i with text i's place in the batch
        cosines = compared.image_embeds[row] @ compared.text_embeds.T
        close(model.similarity(images, texts)[row], cosines.amax(0))


def matcher_numbers(model: Blip2Matcher) -> dict[str, Tensor]:
    given = inputs()
    ids, patches = given.instruction, model.patches(given.images)
    return {
        "match": model(patches, ids),
        "images": model.embed_images(patches),
        "texts": model.embed_texts(ids),
    }


def test_every_slip_in_the_rules_of_a_matcher_is_noticed(matcher):
    model = load_blip2(matcher.folder)
    assert unnoticed(model, matcher.tensors, MATCHER_RULES, matcher_numbers, most=100) == []


def lavis(name: str) -> str:
    """The name of a tensor in LAVIS's file (transformers, convert_blip_2_original_to_pytorch)."""
    for new, old in (
        ("vision_model.encoder.layers", "visual_encoder.blocks"),
        ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
        ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
        ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
        ("vision_model.post_layernorm", "ln_vision"),
        ("self_attn.projection", "attn.proj"),
        ("self_attn.qkv", "attn.qkv"),
        (".layer_norm", ".norm"),
        ("attention.attention", "attention.self"),
        ("qformer.layernorm", "Qformer.bert.embeddings.LayerNorm"),
        ("qformer.encoder", "Qformer.bert.encoder"),
        ("vision_projection", "vision_proj"),
        ("text_projection", "text_proj"),
    ):
        name = name.replace(new, old)
    return f"Qformer.bert.{name}" if name.startswith("embeddings") else name


@torch.no_grad()
def test_lavis_own_file_gives_the_same_matcher(matcher):
    expected = load_blip2(matcher.folder)
    published = {lavis(name): tensor for name, tensor in matcher.tensors.items()}
    keys = []
    for name in list(published):  # EVA's keys have no bias, and the file has the other two apart
        if name.endswith("attn.qkv.bias"):
            query, key, value = published.pop(name).chunk(3)
            layer = name.removesuffix("qkv.bias")
            published |= {f"{layer}q_bias": query, f"{layer}v_bias": value}
            keys.append(key)
    published |= {"temp": torch.tensor(0.07), "Qformer.cls.predictions.bias": torch.ones(PIECES)}
    image = VitConfig(**{**vars(expected.config.image), "key_bias": False})
    config = Blip2MatcherConfig(image=image, qformer=expected.config.qformer, embed_dim=10)
    model = blank_model(Blip2Matcher, config).eval()
    load_weights(model, published, LAVIS_RULES)
    for name, value in matcher_numbers(model).items():  # a key's bias changes no number
        close(value, matcher_numbers(expected)[name])
    assert keys


def test_a_setting_that_changes_the_numbers_is_refused(matcher, tmp_path):
    config = json.loads((matcher.folder / "config.json").read_text())
    config["qformer_config"]["position_embedding_type"] = "relative_key"
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(matcher.folder / "model.safetensors")
    with pytest.raises(WeightsError, match="position_embedding_type"):
        load_blip2(tmp_path)


def test_defaults_are_those_of_transformers():
    from transformers import Blip2QFormerConfig, InstructBlipQFormerConfig

    for theirs in (Blip2QFormerConfig(), InstructBlipQFormerConfig()):
        assert {name: getattr(theirs, name) for name in QFORMER_DEFAULTS} == QFORMER_DEFAULTS


TOWER = VitConfig(image_size=32, patch_size=8, dim=16, depth=1, heads=2, hidden=32)
NARROW = QFormerConfig(queries=2, dim=16, depth=1, heads=2, hidden=32, image_dim=8)
FITTING = QFormerConfig(queries=2, dim=16, depth=1, heads=2, hidden=32, image_dim=16, vocab_size=9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"qformer": NARROW}, "qformer.image_dim=8"),
        ({"qformer": replace(NARROW, image_dim=16)}, r"qformer\.vocab_size=None"),
        ({"embed_dim": 0}, "embed_dim=0"),
        ({"begin_id": 9}, "begin_id=9"),
        ({"scale_init": 0.0}, "scale_init=0.0"),
    ],
)
def test_parts_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Blip2MatcherConfig(**{"image": TOWER, "qformer": FITTING, **settings})
    with pytest.raises(ConfigError, match=r"qformer\.image_dim=8"):
        Blip2Config(image=TOWER, qformer=NARROW, language=DecoderConfig())
