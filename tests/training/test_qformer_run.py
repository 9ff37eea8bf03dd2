"""Whole runs of BLIP-2's first stage: a Q-Former that learns about coloured squares."""

import numpy as np
import pytest
import torch

import seesay
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError, WeightsError
from seesay.evaluation.retrieval import Retrieval
from seesay.inference.matcher import Matcher, load_matcher
from seesay.models.blip2 import Blip2Matcher
from seesay.objectives.objective import View
from seesay.training import run as run_module
from seesay.training.build import make_model, make_objectives, make_trained
from seesay.training.checks import first_batch
from seesay.training.distributed import Processes
from seesay.training.loop import TrainingStep
from seesay.training.recipe import read_recipe
from seesay.training.run import _Run, train
from seesay.training.run_log import read_log
from tiny_qformer import write_qformer_run
from tiny_runs import same, weights

CPU = torch.device("cpu")
EXACT = "hardware.precision=float64"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queries")
    write_qformer_run(folder)
    return folder


@pytest.fixture
def recipe(folder, tmp_path):
    settings = (f"run.folder={tmp_path / 'queries'}",)
    return lambda *more: read_recipe(folder / "queries.toml", (*settings, *more))


@pytest.fixture(scope="module")
def trained(folder):
    measures = f"evaluation.retrieval={{ path = '{folder}/squares.jsonl', format = 'table' }}"
    settings = ("run.steps=25", "hardware.reuse=true", measures, "evaluation.every=1000")
    return train(read_recipe(folder / "queries.toml", (*settings, "checkpoint.every=1000")))


def parts_of(recipe):
    """A run's model, its objectives and its first batch."""
    bundle = make_model(recipe, "made")
    objectives = make_objectives(recipe, bundle, CPU)
    return bundle, objectives, first_batch(_Run(recipe, Processes(0, 1, CPU))._batches)


def step_of(recipe, bundle, objectives, micro_batch=None):
    trained, shared = make_trained(bundle, recipe.hardware, Processes(0, 1, CPU))
    return TrainingStep(trained, shared, objectives, micro_batch)


def test_every_loss_falls(trained, folder):
    steps = [row for row in read_log(folder / "queries" / "log.jsonl") if "loss" in row]
    for name in ("contrastive", "matching", "captions"):
        first, last = (np.mean([row[name] for row in part]) for part in (steps[:5], steps[-5:]))
        assert last < first, name
    assert steps[-1]["scale"] > 0


def test_a_frozen_tower_keeps_its_bytes(trained, folder):
    before, after = weights(folder / "tower"), weights(trained.folder)
    tower = {name: one for name, one in after.items() if name.startswith("image.")}
    assert tower
    for name, one in tower.items():
        assert torch.equal(one, before[name]), name


def test_the_finished_folder_is_read_strictly(trained, tmp_path):
    from safetensors.torch import load_file, save_file

    made = load_matcher(trained.folder)
    assert (
        isinstance(made.model, Blip2Matcher)
        and made.model.config.begin_id == made.tokenizer.vocab_size
    )
    for name in ("seesay.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((trained.folder / name).read_bytes())
    tensors = load_file(trained.folder / "model.safetensors")
    del tensors["match.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"match\.bias"):
        load_matcher(tmp_path)
    with pytest.raises(ConfigError, match=r"expected a dual encoder: .* seesay.inference.matcher"):
        seesay.load(trained.folder)
    with pytest.raises(ConfigError, match="is a DualEncoder, expected a model with a match"):
        load_matcher("seesay-mini")


def test_the_second_run_begins_from_the_first(trained, recipe, folder):
    measures = f"evaluation.retrieval={{ path = '{folder}/squares.jsonl', format = 'table' }}"
    again = train(recipe("run.steps=1", f"model={{ start = '{trained.folder}' }}", measures))
    assert again.before == trained.measured


@torch.no_grad()
def by_hand(model, own, pixels, ids, numbers):
    """All three losses pair by pair, through the joint pass of queries and text under each mask."""
    patches, count = model.patches(pixels), model.config.qformer.queries
    owners, real = own.owners.tolist(), ids != 0
    read = [
        model.qformer(patches[i : i + 1], ids[t : t + 1], real[t : t + 1], "contrastive")[0]
        for t, i in enumerate(owners)
    ]
    texts = torch.stack([model.text_proj(one[count]) for one in read])
    of_image = {i: model.image_proj(one[:count]) for i, one in zip(owners, read, strict=True)}
    images = torch.stack([of_image[i] for i in range(len(pixels))])
    texts, images = (one / one.norm(dim=-1, keepdim=True) for one in (texts, images))
    logits = model.log_scale.exp() * torch.stack([(one @ texts.T).max(0).values for one in images])
    contrastive = []
    for language in ("en", "zh"):
        some = [t for t, one in enumerate(own.languages) if one == language]
        for table in (logits[:, some], logits[:, some].T):
            right = torch.arange(len(some))
            loss = torch.nn.functional.cross_entropy(table, right, label_smoothing=0.1)
            contrastive.append(loss)

    def judged(image, text):
        both = model.qformer(patches[image][None], ids[text][None], real[text][None], "matching")
        return model.match(both[0, :count]).mean(0).log_softmax(-1)

    matching = []
    for t, (other_image, other_text) in enumerate(zip(*numbers, strict=True)):
        matching += [-judged(owners[t], t)[1], -judged(other_image, t)[0]]
        matching.append(-judged(owners[t], other_text)[0])
    writing = []
    for t, i in enumerate(owners):
        written = ids[t][real[t]][None].clone()
        following = written[0, 1:].tolist()
        written[0, 0] = model.config.begin_id
        both = model.qformer(patches[i][None], written, None, "captioning")[:, count:]
        logs = model.head(both, model.qformer.token_embed.weight)[0].log_softmax(-1)
        writing += [-logs[place, token] for place, token in enumerate(following)]
    return [torch.stack(one).mean().item() for one in (contrastive, matching, writing)]


def test_the_losses_are_those_of_each_pair_under_its_mask(recipe):
    settings = recipe(EXACT, "objective.captions.weight=0.5", "data.squares.batch=6")
    bundle, objectives, batch = parts_of(settings)
    step = step_of(settings, bundle, objectives)
    loss = step(batch).detach()
    own = batch.sources["squares"]
    _, matching = objectives["matching"]
    pixels = ImageTransform(bundle.transform).normalise(own.images).double()
    numbers = [one.tolist() for one in matching.negatives]
    expected = by_hand(bundle.model.eval(), own, pixels, own.ids, numbers)
    parts = [step.parts[name] / objectives[name][0] for name in step.parts]
    torch.testing.assert_close(parts, expected)
    torch.testing.assert_close(float(loss), expected[0] + expected[1] + 0.5 * expected[2])


def test_a_negative_is_never_another_caption_of_the_picture_and_speaks_its_language(recipe):
    settings = recipe("data.squares.captions=2", "data.squares.batch=6")
    bundle, objectives, batch = parts_of(settings)
    step, (_, matching) = step_of(settings, bundle, objectives), objectives["matching"]
    own, drawn = batch.sources["squares"], set()
    captions = {i: set() for i in range(6)}
    for text, owner in zip(own.texts, own.owners.tolist(), strict=True):
        captions[owner].add(text)
    for number in range(12):
        step(batch._replace(step=number))
        for t, (image, text) in enumerate(
            zip(*(n.tolist() for n in matching.negatives), strict=True)
        ):
            assert own.texts[t] not in captions[image]
            assert own.texts[text] not in captions[int(own.owners[t])]
            assert own.languages[text] == own.languages[t]
            drawn.add((t, image, text))
    assert len(drawn) > len(own.texts)  # another one in other steps
    pairs = matching.draw(*drawn_by(step, matching, batch))
    assert torch.equal(pairs[View("pairs", "squares")][:, 0], own.ids)
    assert torch.equal(pairs[View("pictures", "squares")][:, 0], own.images[own.owners])


def drawn_by(step, matching, batch):
    given = matching.compared(batch)
    outputs = dict(zip(given, step._shared(given), strict=True))
    return {v: one.detach() for v, one in outputs.items()}, batch, *step._model.scalars().values()


def test_a_single_picture_is_only_a_match(recipe):
    settings = recipe("data.squares.batch=1", "data.squares.languages=['en']")
    bundle, objectives, batch = parts_of(settings)
    step = step_of(settings, bundle, objectives)
    step(batch).backward()
    assert objectives["matching"][1].negatives == (torch.tensor([-1]), torch.tensor([-1]))
    assert step.parts["contrastive"] == 0 and 0 < step.parts["matching"] < 2


@pytest.mark.parametrize("micro_batch", [1, 5])
def test_small_parts_give_the_gradient_of_the_whole(recipe, micro_batch):
    settings = recipe("data.squares.batch=6", "data.squares.captions=2", EXACT)
    gradients = []
    for size in (None, micro_batch):
        bundle, objectives, batch = parts_of(settings)
        loss = step_of(settings, bundle, objectives, size)(batch)
        if loss.requires_grad:
            loss.backward()
        gradients.append({n: p.grad for n, p in bundle.model.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, msg=name)


def test_an_image_goes_through_the_tower_once(recipe):
    settings = recipe()
    bundle, objectives, batch = parts_of(settings)
    step, seen = step_of(settings, bundle, objectives), []
    bundle.model.image.patch_embed.register_forward_hook(lambda *given: seen.append(len(given[2])))
    step(batch)
    assert seen == [8, 8]  # to draw, and to learn


KINDS = {"contrastive": "query-contrastive", "matching": "matching", "captions": "captioning"}


@pytest.mark.parametrize("name", KINDS)
def test_each_objective_trains_alone(recipe, name):
    alone = f"objective={{ {name} = {{ kind = '{KINDS[name]}', source = 'squares' }} }}"
    begun = make_model(recipe(alone), "begun").model
    trained = {n for n, p in begun.named_parameters() if p.requires_grad}
    ended, before = weights(train(recipe(alone, "run.steps=2")).folder), begun.state_dict()
    moved = {n for n in ended if not torch.equal(before[n], ended[n])}
    assert moved == trained and not any(n.startswith("image.") for n in moved)
    heads = {"contrastive": "log_scale", "matching": "match.weight", "captions": "head.bias"}
    assert heads[name] in moved


def test_a_resumed_run_ends_as_an_uninterrupted_one(recipe, tmp_path, monkeypatch):
    whole = train(recipe())

    class KilledError(BaseException):
        pass

    after = run_module._Run._after_step

    def dying(run, done):
        after(run, done)
        if done.number == 2:
            raise KilledError

    elsewhere = f"run.folder={tmp_path / 'killed'}"
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(run_module._Run, "_after_step", dying)
        train(recipe(elsewhere))
    resumed = train(recipe(elsewhere), resume=True)
    assert same(weights(whole.folder), weights(resumed.folder))


# Measuring


def test_recall_counts_the_nearest_query_and_judges_the_first_again(trained, folder):
    matcher = load_matcher(trained.folder)
    where = {"path": str(folder / "squares.jsonl"), "format": "table", "languages": ("en",)}
    records = Retrieval(**where).records
    images = matcher.look([record.image for record in records])
    captions = [(i, text) for i, one in enumerate(records) for text in one.captions["en"]]
    owners = np.array([owner for owner, _ in captions])
    texts = matcher.read([text for _, text in captions])
    cosines = np.array([[(one @ text).max() for text in texts.vectors] for one in images.vectors])
    every = np.indices(cosines.shape).reshape(2, -1)
    judged = cosines + matcher.judge(images, texts, *every).reshape(cosines.shape)
    for rerank, scores in ((0, cosines), (len(texts.ids), judged)):
        found = seesay.evaluate(matcher, [Retrieval(**where, rerank=rerank)])
        first = scores.argmax(0) == owners
        assert found["en_text_to_image_r1"] == pytest.approx(first.mean())
        assert found["en_image_to_text_r1"] == pytest.approx(
            (owners[scores.argmax(1)] == np.arange(len(images.vectors))).mean()
        )


def test_measures_of_other_models_are_refused(trained, folder):
    matcher = Matcher(load_matcher(trained.folder).bundle)
    probe = seesay.ZeroShot(path=str(folder / "squares.jsonl"), format="table")
    with pytest.raises(
        ConfigError, match=r"cannot be measured with Matcher; .* retrieval or composition for a Q-"
    ):
        seesay.evaluate(matcher, [probe])
    again = Retrieval(path=str(folder / "squares.jsonl"), format="table", rerank=3)
    with pytest.raises(ConfigError, match="rerank=3 needs a matching head"):
        seesay.evaluate(seesay.load("seesay-mini"), [again])


# Building


def test_a_q_former_starts_from_a_bert(folder, recipe):
    text = (
        "model.architecture.text={ kind = 'bert', vocab_size = 31, context = 12, dim = 16, "
        "depth = 3, heads = 2, hidden = 32, pad_id = 0 }"
    )
    bert = make_model(read_recipe(folder / "recipe.toml", (text,)), "bert")
    seesay.save(folder / "bert", bert)
    start = f"model={{ qformer = {{ tower = '{folder}/tower', text = '{folder}/bert', "
    made = make_model(recipe(start + "depth = 2, queries = 3 } }"), "made")
    ids = torch.from_numpy(made.tokenizer.encode(["a red square", "something blue at the top"]).ids)
    theirs = bert.model.text.eval().lower(ids, 2)
    real = ids != 0
    torch.testing.assert_close(made.model.qformer.read(ids, real)[real], theirs[real])
    block = made.model.qformer.blocks[0]
    assert torch.equal(block.mlp.up.weight, block.mlp_text.up.weight)
    assert made.model.config.begin_id == 31 and made.model.config.qformer.context == 12
    with pytest.raises(ConfigError, match="depth=4 is more than the 3 layers"):
        make_model(recipe(start + "depth = 4 } }"), "made")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["model.vocabulary.written=false"], r"expected one, .* model\.vocabulary\.written = true"),
        (["model.qformer.depth=1"], "depth=1 cannot be built"),
        (["model.qformer.heads=3"], "dim=32 does not split into heads=3"),
        (["model.qformer.size=32"], r"model\.qformer\.tower=.*its tower is a VitConfig"),
        (["model.qformer.context=9"], "context=9 is set, which model.tokenizer brings"),
        (["model.qformer={ text = 'seesay-text' }"], "qformer brings its own tokenizer"),
        (["model.qformer.text='seesay-text'"], "dim=32, heads=2, hidden=64 is set, which text="),
        (["model.transform={ size = 16 }"], "qformer brings its own transform"),
        (["model.assistant={}"], "assistant brings its own qformer"),
        (["objective.matching.kind=contrastive"], "trains image, .* and this model has"),
        (["optimizer.freeze=['tower']"], "no part 'tower'"),
    ],
)
def test_a_recipe_that_fits_no_model_is_refused(recipe, settings, expected):
    with pytest.raises(ConfigError, match=expected):
        make_model(recipe(*settings), "made")


@pytest.mark.parametrize("kind", ["query-contrastive", "matching"])
def test_another_model_is_told_what_it_lacks(folder, kind):
    with pytest.raises(ConfigError, match=r"expected a model that has one: add \[model.qformer\]"):
        read_recipe(folder / "recipe.toml", (f"objective.pairs.kind={kind}",))
