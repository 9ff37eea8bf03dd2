import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from seesay.data.batches import Batch, SourceBatch
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError
from seesay.models.bert import BertConfig
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.mobilenet import MobileNetConfig
from seesay.objectives.contrastive import (
    LOSSES,
    Contrastive,
    ContrastiveConfig,
    Translation,
    TranslationConfig,
    softmax_loss,
)
from seesay.objectives.objective import ObjectiveContext, TrainedModel, View
from seesay.objectives.positives import ids_of_batch
from seesay.training.build import make_model, make_objectives, make_trained
from seesay.training.caption_words import WordsConfig, words_loss
from seesay.training.class_names import ClassificationConfig, first_tokens
from seesay.training.distillation import Anchors
from seesay.training.distributed import Processes
from seesay.training.loop import TrainingStep
from seesay.training.recipe import HardwareConfig, read_recipe
from seesay.weights.dual_encoder_step import Towers, reuse_frozen
from seesay.weights.mobilenet import ImageClassifier
from seesay.weights.step import Reused
from tiny_runs import write_run

CPU = torch.device("cpu")
TEMPLATES = {"en": ("a {}",), "zh": ("{}",)}


def test_ids_say_who_belongs_together():
    ids = ids_of_batch(torch.tensor([5, 6]), torch.tensor([0, 0, 1]), torch.tensor([1, 2, 3]))
    assert ids.images.tolist() == [5, 6]
    assert ids.texts.tolist() == [5, 5, 6]


def test_images_with_a_caption_in_common_belong_together():
    groups, owners = torch.tensor([9, 3, 7, 5]), torch.tensor([0, 1, 1, 2, 3])
    numbers = torch.tensor([11, 11, 12, 12, 13])  # 9 and 3 share one, 3 and 7 another
    ids = ids_of_batch(groups, owners, numbers)
    assert len(set(ids.images[:3].tolist())) == 1
    assert ids.images[3] == 5
    assert ids.texts.tolist() == ids.images[owners].tolist()


def batch_of(images=4, languages=("en", "zh"), name="a", step=0):
    torch.manual_seed(1)
    count = images * len(languages)
    source = SourceBatch(
        images=torch.randint(0, 255, (images, 16, 16, 3), dtype=torch.uint8),
        ids=torch.randint(3, 30, (count, 12)).index_fill(1, torch.tensor([11]), 2),
        owners=torch.arange(images).repeat_interleave(len(languages)),
        groups=torch.arange(images),
        labels=torch.zeros(images, dtype=torch.long),
        text_numbers=torch.arange(count),
        texts=[str(i) for i in range(count)],
        requests=[""] * count,
        rejected=[""] * count,
        languages=list(languages) * images,
        keys=[str(i) for i in range(images)],
        damaged=[],
    )
    return Batch(step, {name: source})


@pytest.mark.parametrize("loss", LOSSES)
def test_languages_apart_is_the_mean_of_each_alone(loss):
    torch.manual_seed(0)
    images, texts = (F.normalize(torch.randn(n, 6), dim=1) for n in (4, 8))
    embeds = {View("images", "a"): images, View("texts", "a"): texts}
    scale, bias = torch.tensor(2.0), torch.tensor(-1.0)
    both = Contrastive(ContrastiveConfig(source="a", loss=loss))
    expected = sum(LOSSES[loss](images, texts[i::2], scale, bias) for i in (0, 1)) / 2
    torch.testing.assert_close(both.loss(embeds, batch_of(), scale, bias), expected)
    together = Contrastive(ContrastiveConfig(source="a", loss=loss, languages="together"))
    assert not torch.allclose(together.loss(embeds, batch_of(), scale, bias), expected)


def test_translations_pull_the_two_languages_of_an_image_together():
    torch.manual_seed(0)
    texts, scale = F.normalize(torch.randn(8, 6), dim=1), torch.tensor(2.0)
    objective = Translation(TranslationConfig(source="a"))
    batch = batch_of()
    assert list(objective.inputs(batch)) == [View("texts", "a")]
    loss = objective.loss({View("texts", "a"): texts}, batch, scale, None)
    torch.testing.assert_close(loss, softmax_loss(texts[0::2], texts[1::2], scale))
    batch.sources["a"].groups[:2] = 0  # what is true of one image is true of the other
    alike = objective.loss({View("texts", "a"): texts}, batch, scale, None)
    assert not torch.allclose(loss, alike)


def test_translations_need_two_languages():
    texts = torch.eye(4)
    objective = Translation(TranslationConfig(source="a"))
    with pytest.raises(ConfigError, match=r"data\.a has texts in one language, expected two"):
        objective.loss({View("texts", "a"): texts}, batch_of(languages=("en",)), texts[0, 0], None)


CAPTIONS = [  # of an image each
    "Two dogs in the grass",
    "草地上的小狗",
    "A man in a red hat",
    "一个男人戴着帽子",
    "Children in the water",
    "水里的孩子们",
]
MEANINGS = {"people": ("man", "children", "孩"), "人": ("man", "children", "孩")}


@pytest.fixture
def words(tmp_path):
    """An objective of six captions, their batch, and the words that it draws in a step."""
    bundle = make_model(read_recipe(write_run(tmp_path)), "tiny")
    batch = batch_of(images=6, languages=("en",))
    own = batch.sources["a"]._replace(texts=CAPTIONS, languages=["en", "zh"] * 3)
    batch = Batch(0, {"a": own})

    def draw(seed=0, **settings):
        config = WordsConfig(source="a", meanings=MEANINGS, **settings)
        objective = config.make(ObjectiveContext("words", bundle, seed, CPU))
        inputs = objective.inputs(batch)
        shown = [word for part in objective.drawn for word in part]
        ids = first_tokens(bundle.tokenizer, shown)
        assert torch.equal(inputs[View("texts", "objective words")], ids)
        return objective, inputs, shown

    return draw, batch


def test_words_are_those_that_some_captions_say(words):
    draw, _ = words
    shown = draw(words=100)[2]
    english = [word for word in shown if word.isascii()]
    assert {"dogs", "grass", "man", "red", "hat", "children", "water", "people"} <= set(english)
    assert {"男人", "帽子", "孩子", "小狗", "人"} <= set(shown) - set(english)
    assert not {"the", "in", "的"} & set(shown)  # more than a third of the captions say them
    few = [tuple(draw(seed, words=3)[2]) for seed in range(5)]
    assert {len(one) for one in few} == {6} and len(set(few)) > 1


def test_a_word_belongs_to_all_images_whose_captions_mean_it(words):
    draw, batch = words
    objective, inputs, shown = draw(words=100)
    said = torch.cat(objective._said, dim=1)
    images = {word: said[:, i].nonzero()[:, 0].tolist() for i, word in enumerate(shown)}
    assert images["people"] == [2, 4, 5] and images["人"] == [2, 3, 4, 5]
    assert images["man"] == [2] and images["water"] == [4] and images["小狗"] == [1]
    embeds = F.normalize(torch.randn(6, 8), dim=1), F.normalize(torch.randn(len(shown), 8), dim=1)
    outputs = dict(zip(inputs, embeds, strict=True))
    first, second = (one.shape[1] for one in objective._said)
    parts = embeds[1].split([first, second])
    scale = torch.tensor(1.5)
    pairs = zip(parts, objective._said, strict=True)
    by_hand = [words_loss(embeds[0], part, scale, one) for part, one in pairs]
    found = objective.loss(outputs, batch, scale, None)
    torch.testing.assert_close(found, sum(by_hand) / 2)


def test_captions_without_a_word_of_their_own_teach_nothing(words):
    draw, batch = words
    batch.sources["a"].texts[:] = ["A dog"] * 6
    with pytest.raises(ConfigError, match="have no two words that only some of them say"):
        draw()


@pytest.fixture
def made(tmp_path):
    recipe = read_recipe(write_run(tmp_path))
    return make_model(recipe, "tiny")


def step_of(made, micro_batch=None, loss="softmax"):
    towers = Towers(made)
    objectives = {
        "first": (1.0, Contrastive(ContrastiveConfig(source="a", loss=loss))),
        "second": (0.5, Contrastive(ContrastiveConfig(source="a", languages="together"))),
    }
    return TrainingStep(towers, towers, objectives, micro_batch)


def gradients(model):
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_small_parts_give_the_gradient_of_the_whole(made, micro_batch):
    made.model.double()
    whole = step_of(made)(batch_of())
    whole.backward()
    expected = gradients(made.model)
    step = step_of(made, micro_batch)
    loss = step(batch_of())
    if loss.requires_grad:
        assert micro_batch == 8  # everything fitted at once
        loss.backward()
    torch.testing.assert_close(loss.detach(), whole.detach())
    found = gradients(made.model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)
    assert step.parts.keys() == {"first", "second"}
    assert sum(step.parts.values()) == pytest.approx(float(whole.detach()))


def test_what_two_objectives_ask_for_is_embedded_once(made, monkeypatch):
    seen = []
    project = DualEncoder.project_images
    monkeypatch.setattr(
        DualEncoder, "project_images", lambda m, x: (seen.append(len(x)), project(m, x))[1]
    )
    step_of(made)(batch_of())
    assert seen == [4]


def test_the_scale_stays_in_its_range(made):
    optimizer = torch.optim.SGD([made.model.log_scale], lr=1.0)
    towers = Towers(made)
    for gradient, expected in ((-100.0, 4.6052), (100.0, 0.0)):
        made.model.log_scale.grad = torch.tensor(gradient)
        optimizer.step()
        towers.keep_in_range()
        assert made.model.log_scale.item() == pytest.approx(expected, abs=1e-4)


class Weighing(TrainedModel):
    """A model of another family: it has no scale, and its loss takes none."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(16 * 16 * 3))

    def forward(self, inputs):
        return tuple(rows.flatten(1).float() @ self.weight for rows in inputs.values())


class Lightness:
    def inputs(self, batch):
        return {View("images", "a"): batch.sources["a"].images}

    def loss(self, outputs, batch):
        return outputs[View("images", "a")].mean()


@pytest.mark.parametrize("micro_batch", [None, 3])
def test_a_model_without_a_scale_can_be_trained(micro_batch):
    model, batch = Weighing(), batch_of()
    step = TrainingStep(model, model, {"light": (2.0, Lightness())}, micro_batch)
    loss = step(batch)
    if loss.requires_grad:
        loss.backward()
    expected = 2 * batch.sources["a"].images.flatten(1).float().mean(dim=0)
    torch.testing.assert_close(model.weight.grad, expected)


def test_a_frozen_text_tower_computes_each_text_once(tmp_path):
    bundle = make_model(read_recipe(write_run(tmp_path)), "tiny")
    model = bundle.model.eval()
    model.text.requires_grad_(False)
    towers, seen = Towers(bundle), []
    model.text.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    ids = torch.from_numpy(bundle.tokenizer.encode(["red", "blue", "red", "green"]).ids)
    view = View("texts", "squares")
    (first,) = towers({view: ids})
    (second,) = towers({view: ids[[3, 0, 1]]})
    assert seen == [3]
    with torch.no_grad():
        expected = model.embed_texts(ids)
    torch.testing.assert_close(first.detach(), expected)
    torch.testing.assert_close(second.detach(), expected[[3, 0, 1]])
    second.sum().backward()
    assert any(p.grad is not None for p in model.text_proj.parameters())
    assert all(p.grad is None for p in model.text.parameters())


def test_texts_of_all_lengths_keep_their_order(made):
    model = made.model.double().eval()
    texts = [" ".join(["red", "blue", "green"] * (i % 4 + 1)) for i in range(150)]
    ids = torch.from_numpy(made.tokenizer.encode(texts).ids)
    (found,) = Towers(made)({View("texts", "squares"): ids})
    torch.testing.assert_close(found, model.embed_texts(ids))


@pytest.mark.parametrize("reuse", [True, False])
def test_a_frozen_image_tower_computes_each_image_once_if_asked_to(made, reuse):
    made.model.image.requires_grad_(False)
    seen = []
    made.model.image.blocks[0].register_forward_hook(
        lambda _, given, __: seen.append(len(given[0]))
    )
    trained, _ = make_trained(made, HardwareConfig(reuse=reuse), Processes(0, 1, CPU))
    images = torch.randint(0, 255, (3, 16, 16, 3), dtype=torch.uint8)
    view = View("images", "squares")
    (first,) = trained({view: images})
    (second,) = trained({view: images[[2, 0]]})
    assert seen == ([3] if reuse else [3, 2])
    torch.testing.assert_close(second, first[[2, 0]])
    second.sum().backward()
    assert any(p.grad is not None for p in made.model.image_proj.parameters())


@pytest.mark.parametrize("reuse", [True, False])
def test_frozen_lower_layers_compute_each_row_once_and_change_nothing(reuse):
    torch.manual_seed(0)
    image = MobileNetConfig(stages=((1, 8, 1, 1), (2, 8, 2, 2)), stem=8, dim=16, classes=4)
    text = BertConfig(vocab_size=30, context=12, dim=8, depth=3, heads=2, hidden=16, pool="mean")
    model = DualEncoder(DualEncoderConfig(image=image, text=text, embed_dim=8))
    expected = copy.deepcopy(model)
    frozen = [model.image.stem, *model.image.blocks[:2], model.text.token_embed, model.text.norm_in]
    for part in (*frozen, *model.text.blocks[:2]):
        part.requires_grad_(False)
    model.text.positions.requires_grad_(False)
    model.text.types.requires_grad_(False)
    seen = {name: [] for name in ("image", "text")}
    for name, tower in (("image", model.image), ("text", model.text)):
        tower.blocks[1].register_forward_hook(lambda _, x, __, n=name: seen[n].append(len(x[0])))
    if reuse:
        reuse_frozen(model)
    images = torch.randn(3, 3, 32, 32)
    ids = torch.randint(1, 30, (3, 9))
    ids[0, 4:] = 0
    for rows in ([0, 1, 2], [2, 0], [0]):
        part = model.text.trim(ids[rows])  # the short text comes back with less padding
        for found, whole in (
            (model.embed_images(images[rows]), expected.embed_images(images[rows])),
            (model.embed_texts(part), expected.embed_texts(part)),
        ):
            torch.testing.assert_close(found, whole, atol=2e-3, rtol=0)  # kept in float16
    assert seen == {name: [3] if reuse else [3, 2, 1] for name in seen}
    (model.embed_images(images) @ model.embed_texts(ids).T)[0, 1].backward()
    for trained in (model.image.blocks[2], model.image.head, model.text.blocks[2]):
        assert all(p.grad.abs().sum() > 0 for p in trained.parameters() if p.ndim > 1)
    assert model.image.blocks[1].project.weight.grad is None


def test_of_a_text_its_own_tokens_are_kept_whatever_its_padding():
    seen = []

    def compute(ids):
        seen.append(len(ids))
        return ids.unsqueeze(2) + 1

    reused = Reused(compute, torch.float16, lambda ids: (ids != 0).sum(1))
    found = reused(torch.tensor([[5, 6, 0, 0], [7, 8, 9, 0]]))
    expected = torch.tensor([[6, 7, 0, 0], [8, 9, 10, 0]], dtype=torch.float16).unsqueeze(2)
    assert torch.equal(found, expected)
    assert torch.equal(reused(torch.tensor([[5, 6]])), expected[:1, :2])
    assert torch.equal(reused(torch.tensor([[7, 8, 9, 0, 0]]))[:, :4], expected[1:])
    assert seen == [2]


# Classes


def test_an_image_is_drawn_to_the_name_of_its_class(tmp_path):
    classes = [{"en": f"thing {i}", "zh": f"东西{i}"} for i in range(9)]
    (tmp_path / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    config = ClassificationConfig(
        source="squares", classes=str(tmp_path / "classes.json"), names=5, templates=TEMPLATES
    )
    bundle = make_model(read_recipe(write_run(tmp_path)), "tiny")
    objective = config.make(ObjectiveContext("names", bundle, 0, CPU))
    labels, view = torch.tensor([7, 2, 7, 0]), View("texts", "objective names")
    draws = []
    for step in range(6):
        batch = batch_of(name="squares", step=step)
        own = batch.sources["squares"]._replace(labels=labels)
        batch = Batch(step, {"squares": own})
        ids = objective.inputs(batch)[view]
        chosen = tuple(objective._chosen)
        assert len(ids) == 10 and {0, 2, 7} < set(chosen)
        texts = [f"a thing {i}" for i in chosen] + [f"东西{i}" for i in chosen]
        assert torch.equal(ids, first_tokens(bundle.tokenizer, texts))
        draws.append(chosen)
    assert len(set(draws)) > 1
    images, names = F.normalize(torch.randn(4, 8), dim=1), F.normalize(torch.randn(10, 8), dim=1)
    scale = torch.tensor(1.5)
    found = objective.loss({View("images", "squares"): images, view: names}, batch, scale, None)
    places = torch.tensor([chosen.index(label) for label in labels.tolist()])
    by_hand = [F.cross_entropy(scale.exp() * images @ one.T, places) for one in names.split(5)]
    torch.testing.assert_close(found, sum(by_hand) / 2)


def test_a_source_without_classes_cannot_be_classified(tmp_path):
    (tmp_path / "classes.json").write_text('[{"en": "a", "zh": "b"}]', encoding="utf-8")
    config = ClassificationConfig(source="a", classes=str(tmp_path / "classes.json"))
    bundle = make_model(read_recipe(write_run(tmp_path)), "tiny")
    objective = config.make(ObjectiveContext("names", bundle, 0, CPU))
    own = batch_of().sources["a"]._replace(labels=torch.tensor([0, -1, 0, 0]))
    with pytest.raises(ConfigError, match=r"'a' are of the classes \[-1, 0\], expected 0 to 0"):
        objective.inputs(Batch(0, {"a": own}))


# Predictions


@pytest.fixture
def predictions(tmp_path, monkeypatch):
    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.classifier = torch.nn.Linear(3, 4)
            self.inputs = []

        def tower(self, images):
            self.inputs.append(images)
            return images.mean(dim=(2, 3))

        def forward(self, images):
            return self.classifier(self.tower(images))

    torch.manual_seed(0)
    classifier = Classifier()
    loaded = ImageClassifier(classifier, (0.5,) * 3, (0.5,) * 3)
    monkeypatch.setattr("seesay.training.distillation.load_classifier", lambda file: loaded)
    names = [
        {"en": e, "zh": z}
        for e, z in zip(("red", "green", "blue", "white"), "红绿蓝白", strict=True)
    ]
    (tmp_path / "classes.json").write_text(json.dumps(names), encoding="utf-8")
    recipe = read_recipe(
        write_run(tmp_path),
        (
            "objective.names.kind=predictions",
            "objective.names.source=squares",
            "objective.names.classifier=x.safetensors",
            f"objective.names.classes={tmp_path / 'classes.json'}",
            "objective.names.templates={en=['a {}', 'the {}'], zh=['{}']}",
            "objective.names.names=3",
            "objective.names.likely=1",
            "objective.names.temperature=2",
        ),
    )
    model = make_model(recipe, "tiny")
    _, objective = make_objectives(recipe, model, CPU)["names"]
    return objective, classifier


def test_an_image_is_drawn_to_the_names_of_its_likely_classes(predictions):
    objective, classifier = predictions
    batch = batch_of(name="squares", step=4)
    inputs = objective.inputs(batch)
    ids = inputs[View("texts", "objective names")]
    assert len(ids) == 6  # three names in two languages
    judgement = classifier(classifier.inputs[0]).detach() / 2
    assert (classifier.inputs[0].min() >= -1) and (classifier.inputs[0].max() <= 1)
    images = F.normalize(torch.randn(4, 8), dim=1)
    texts = F.normalize(torch.randn(6, 8), dim=1)
    scale = torch.tensor(1.5)
    outputs = {
        **inputs,
        View("images", "squares"): images,
        View("texts", "objective names"): texts,
    }
    found = objective.loss(outputs, batch, scale, None)
    chosen = objective._choose(judgement, 4)
    assert set(judgement.argmax(dim=1).tolist()) <= set(chosen) and len(chosen) == 3
    target = judgement[:, chosen].softmax(dim=1)
    by_hand = torch.tensor(0.0)
    for names in texts.split(3):
        log_likely = F.log_softmax(scale.exp() * images @ names.T, dim=1)
        by_hand += (target * (target.log() - log_likely)).sum(dim=1).mean() / 2
    torch.testing.assert_close(found, by_hand)


def test_the_weights_of_a_class_are_named_as_a_photograph_of_it_would_be(predictions):
    objective, classifier = predictions
    objective._config = replace(objective._config, prototypes=0.5, noise=0.0)
    batch = batch_of(name="squares", step=4)
    inputs = objective.inputs(batch)
    judgement, length = objective._judge(batch.sources["squares"].images)
    chosen = objective._choose(judgement, 4)
    pooled = inputs[View("pooled", "objective names")]
    torch.testing.assert_close(pooled.norm(dim=1), torch.full((3,), length))
    cosines = F.cosine_similarity(pooled, classifier.classifier.weight[chosen].detach())
    torch.testing.assert_close(cosines, torch.ones(3))
    outputs = {
        **inputs,
        View("images", "squares"): F.normalize(torch.randn(4, 8), dim=1),
        View("texts", "objective names"): F.normalize(torch.randn(6, 8), dim=1),
        View("pooled", "objective names"): F.normalize(torch.randn(3, 8), dim=1),
    }
    scale = torch.tensor(1.5)
    both = objective.loss(outputs, batch, scale, None)
    objective._config = replace(objective._config, prototypes=0.0)
    photographs = objective.loss(outputs, batch, scale, None)
    logits = [
        scale.exp() * outputs[View("pooled", "objective names")] @ names.T
        for names in outputs[View("texts", "objective names")].split(3)
    ]
    by_hand = sum(F.cross_entropy(one, torch.arange(3)) for one in logits) / 2
    torch.testing.assert_close(both - photographs, 0.5 * by_hand)


def test_the_place_of_a_class_follows_its_names(predictions):
    objective, _ = predictions
    model = torch.nn.Module()
    model.image_proj = torch.nn.Linear(3 + 4, 8)
    model.config = SimpleNamespace(image=SimpleNamespace(dim=3))
    objective._anchors = Anchors(model, 2.5)
    weight = model.image_proj.weight
    before, batch = weight.detach().clone(), batch_of(name="squares", step=4)
    names = F.normalize(torch.randn(6, 8), dim=1)
    outputs = {
        **objective.inputs(batch),
        View("images", "squares"): F.normalize(torch.randn(4, 8), dim=1),
        View("texts", "objective names"): names,
    }
    objective.loss(outputs, batch, torch.tensor(1.5), None)
    torch.testing.assert_close(weight.detach(), before)  # no gradient of this step sees a change
    objective.inputs(batch)
    chosen = objective._choose(objective._judge(batch.sources["squares"].images)[0], 4)
    expected = before.clone()
    expected[:, [3 + number for number in chosen]] = (
        2.5 * F.normalize(names[:3] + names[3:], dim=1).T
    )
    torch.testing.assert_close(weight.detach(), expected)
    model.image_proj(torch.randn(2, 7)).sum().backward()
    assert (weight.grad[:, :3] != 0).all() and (weight.grad[:, 3:] == 0).all()


def test_the_tower_holds_what_the_classifier_knows(predictions):
    objective, classifier = predictions
    objective._config = replace(objective._config, hold=3.0)
    batch = batch_of(name="squares", step=4)
    inputs = objective.inputs(batch)
    assert torch.equal(inputs[View("classes", "squares")], batch.sources["squares"].images)
    own = torch.randn(4, 4).log_softmax(1)
    outputs = {
        **inputs,
        View("images", "squares"): F.normalize(torch.randn(4, 8), dim=1),
        View("texts", "objective names"): F.normalize(torch.randn(6, 8), dim=1),
        View("classes", "squares"): own.exp(),
    }
    held = objective.loss(outputs, batch, torch.tensor(1.5), None)
    objective._config = replace(objective._config, hold=0.0)
    free = objective.loss(outputs, batch, torch.tensor(1.5), None)
    taught = (classifier(classifier.inputs[0]).detach() / 2).softmax(1)
    by_hand = (taught * (taught.log() - own)).sum(1).mean()
    torch.testing.assert_close(held - free, 3 * by_hand)


def test_the_probabilities_of_a_tower_are_those_of_its_images(made):
    tower = MobileNetConfig(stages=((1, 8, 1, 1),), stem=8, dim=16, classes=4)
    config = replace(made.config, image=tower)
    bundle = replace(made, model=DualEncoder(config).eval())
    images = batch_of().sources["a"].images
    views = {View(role, "a"): images for role in ("images", "classes")}
    embeds, classes = Towers(bundle)(views)
    pixels = ImageTransform(bundle.transform).normalise(images)
    torch.testing.assert_close(classes, bundle.model.image(pixels)[:, 16:])
    torch.testing.assert_close(classes.sum(1), torch.ones(4))
    torch.testing.assert_close(embeds, bundle.model.embed_images(pixels))


@pytest.mark.parametrize("setting", ["prototypes", "hold", "anchors"])
def test_classes_need_a_tower_that_knows_them(tmp_path, setting):
    settings = (
        "objective.names.kind=predictions",
        "objective.names.source=squares",
        "objective.names.classifier=x.safetensors",
        "objective.names.classes=classes.json",
        f"objective.names.{setting}=1",
    )
    with pytest.raises(ConfigError, match=r"knows the classes, expected .*classes above 0"):
        read_recipe(write_run(tmp_path), settings)


def test_every_step_draws_its_own_names_again(predictions):
    objective, _ = predictions
    likely = torch.zeros(1, 4)
    likely[0, 2] = 1
    draws = [tuple(objective._choose(likely, step)) for step in range(30)]
    assert draws == [tuple(objective._choose(likely, step)) for step in range(30)]
    assert len(set(draws)) > 1 and all(2 in draw for draw in draws)
    tokens = {objective._tokens([0], step).numpy().tobytes() for step in range(30)}
    assert len(tokens) == 2  # both English templates


def test_the_classifier_does_not_learn(predictions):
    _, classifier = predictions
    assert not any(p.requires_grad for p in classifier.parameters())
