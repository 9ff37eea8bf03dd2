"""BLIP-2's Q-Former in its first stage, as training calls it and in seesay's own layout: images and
texts, compared and judged through a frozen image tower. Published matchers are read as well."""

from collections.abc import Mapping
from dataclasses import replace
from math import log
from pathlib import Path

import torch
from torch import Tensor, nn

from seesay.data.tokenizer import Tokenizer
from seesay.models.blip2 import Blip2Matcher, Blip2MatcherConfig
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.vit import VitConfig
from seesay.objectives.captioning import caption_losses
from seesay.objectives.contrastive import clamp_scale
from seesay.objectives.objective import TrainedModel, View
from seesay.objectives.tiled import at_least_float32
from seesay.text import Text
from seesay.weights.bundle import Blueprint, Bundle, Family
from seesay.weights.step import Pixels, computing_in, is_frozen, reuse_features, row_keys
from seesay.weights.vlm_step import SPREAD, picture_misfits, text_misfits

States = tuple[Tensor, ...]


class TrainedMatcher(TrainedModel):
    """Wraps a matcher for training, which needs a single forward call."""

    def __init__(self, bundle: Bundle[Blip2Matcher], autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = bundle.model
        self._pixels = Pixels(bundle.transform, self.model.image)
        self._pad_id = bundle.tokenizer.config.pad_id
        self._autocast = autocast

    def forward(self, inputs: Mapping[View, Tensor]) -> tuple[Tensor, ...]:
        """Returns, for each view, the vectors of each image or text, the summed caption loss of
        each image, or the logits of each text's pairs, in float32 or wider."""
        with computing_in(self._autocast, inputs):
            patches = self._patches(inputs)
            states = {
                view.source: self.model.qformer.look(seen)
                for view, seen in patches.items()
                if view.role == "images"
            }
            outputs = [self._output(view, rows, patches, states) for view, rows in inputs.items()]
        return tuple(map(at_least_float32, outputs))

    def scalars(self) -> Mapping[str, nn.Parameter | None]:
        """The scale of the contrastive logits."""
        return {"log_scale": self.model.log_scale, "bias": None}

    def keep_in_range(self) -> None:
        """Clamps the scale, as CLIP does."""
        if self.model.log_scale is not None:
            clamp_scale(self.model.log_scale)

    def figures(self) -> Mapping[str, float]:
        """The scale."""
        if self.model.log_scale is None:
            return {}
        return {"scale": float(self.model.log_scale.detach().exp())}

    def _patches(self, inputs: Mapping[View, Tensor]) -> dict[View, Tensor]:
        """Returns what the queries attend to, for each view of images. The tower is frozen, and
        sees an image once, however often it stands in the batch."""
        views = [view for view in inputs if view.role in ("images", "pictures")]
        found: dict[View, Tensor] = {}
        for source in dict.fromkeys(view.source for view in views):
            own = [view for view in views if view.source == source]
            rows = [inputs[view].flatten(0, -4) for view in own]
            together = torch.cat(rows)
            keys = row_keys(together)
            first = {key: row for row, key in reversed([*enumerate(keys)])}
            features = self._look(together[list(first.values())])
            order = {key: place for place, key in enumerate(first)}
            index = torch.tensor([order[key] for key in keys], dtype=torch.long)
            parts = features[index.to(features.device)].split([len(one) for one in rows])
            found |= dict(zip(own, parts, strict=True))
        return found

    @torch.no_grad()
    def _look(self, images: Tensor) -> Tensor:
        return self.model.patches(self._pixels(images, self.model.match.weight.dtype))

    def _output(
        self,
        view: View,
        rows: Tensor,
        patches: Mapping[View, Tensor],
        states: Mapping[str, States],
    ) -> Tensor:
        if view.role == "images":
            return self.model.project_queries(states[view.source][-1])
        if view.role == "texts":
            ids = self._trimmed(rows)
            return self.model.embed_texts(ids, ids != self._pad_id)
        if view.role == "captions":
            return self._caption_losses(states[view.source], rows)
        if view.role == "pairs":
            return self._judge(patches[View("pictures", view.source)], rows)
        return self.model.match.weight.new_zeros(len(rows), 0)  # the pairs' result says it all

    def _judge(self, patches: Tensor, rows: Tensor) -> Tensor:
        """Returns the logits of each text with its own image, the same with another image, and its
        image with another text: (texts 3 2)."""
        own, other = patches.unflatten(0, (-1, 2)).unbind(1)
        ids = self._trimmed(rows.flatten(0, 1)).unflatten(0, (-1, 2))
        texts = torch.cat([ids[:, 0], ids[:, 0], ids[:, 1]])
        logits = self.model(torch.cat([own, other, own]), texts, texts != self._pad_id)
        return logits.unflatten(0, (3, -1)).transpose(0, 1)

    def _caption_losses(self, states: States, rows: Tensor) -> Tensor:
        """Returns each image's summed loss; images with fewer captions are padded."""
        count, most = rows.shape[:2]
        places = (rows != self._pad_id).any(-1).flatten().nonzero()[:, 0]
        ids = rows.flatten(0, 1)[places].clone()
        following = ids[:, 1:].clone()
        begin_id = self.model.config.begin_id
        assert begin_id is not None  # objectives check it
        ids[:, 0] = begin_id
        images = places // most
        of_texts = tuple(state[images] for state in states)
        # Padding follows the text, which is causal: it needs no mask.
        logits = self.model.caption_logits(of_texts, ids[:, :-1])
        losses = caption_losses(logits, following, self._pad_id)
        return losses.new_zeros(count).index_add(0, images, losses)

    def _trimmed(self, ids: Tensor) -> Tensor:
        """The ids without the columns that are padding in every row."""
        return ids[:, : int((ids != self._pad_id).sum(1).max()) if len(ids) else 1]


def misfits(blueprint: Blueprint, tokenizer: Tokenizer) -> list[Text]:
    """Returns contradictions between the model, the image preparation and the tokenizer."""
    model: Blip2MatcherConfig = blueprint.model
    return [
        *picture_misfits(model.image, blueprint.transform.size),
        *text_misfits(
            blueprint,
            tokenizer,
            Text("Q-Former", "Q-Former "),
            words=model.qformer.vocab_size or 0,
            context=model.qformer.context,
        ),
    ]


def build(config: Blip2MatcherConfig, initial: Mapping[str, float]) -> Blip2Matcher:
    """Creates a model whose Q-Former and word head are initialised as in BERT."""
    scale = initial.get("scale_init", config.scale_init)
    model = Blip2Matcher(replace(config, scale_init=scale))
    modules = [*model.qformer.modules(), *(model.head.modules() if model.head else ())]
    for module in modules:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=SPREAD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def extend(model: Blip2Matcher, initial: Mapping[str, float]) -> None:
    """Adds the scale that the contrastive loss needs to a published model, which has none."""
    scale = initial.get("scale_init")
    if model.log_scale is None and scale is not None:
        model.config = replace(model.config, scale_init=scale)
        model.log_scale = nn.Parameter(torch.full_like(model.match.bias[0].detach(), log(scale)))


def reuse(model: Blip2Matcher, folder: Path | None) -> None:
    """Keeps the frozen tower's output for each image, in float16, in a folder or in memory."""
    if is_frozen(model.image):
        reuse_features(model.image, folder)


def step(bundle: Bundle[Blip2Matcher], autocast: torch.dtype | None) -> TrainedMatcher:
    return TrainedMatcher(bundle, autocast)


FAMILY = Family(
    name="qformer",
    model=Blip2Matcher,
    config=Blip2MatcherConfig,
    parts={"vit": VitConfig, "mobilenet": MobileNetConfig},
    misfits=misfits,
    build=build,
    extend=extend,
    step=step,
    reuse=reuse,
)
