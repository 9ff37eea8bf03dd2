"""Put EfficientNet-Lite2 and seesay-text together, as `recipes/seesay-base.toml` trains them.

    python tools/seesay_base.py efficientnet-lite2-9656183e.pth classes.json FOLDER

`classes.json` names the 1,000 classes of ImageNet in both languages. Before any training, a picture
lies where the names of the classes lie that the classifier takes it for: the vector of its tower
holds the classifier's probabilities, and the map into the common space holds a name's vector for
each class. Vectors of texts are turned and stretched until those of the names are uncorrelated,
since E5's all lie close together.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from seesay.data.sources import read_classes
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import Tokenizer
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.mobilenet import EFFICIENTNET_LITE2, MobileNet
from seesay.weights.bundle import Bundle, load_bundle
from seesay.weights.hub import locate
from seesay.weights.mobilenet import ImageClassifier, load_classifier
from seesay.weights.saving import save_bundle

SIZE = 224  # pixels; the classifier was trained at 260, and is a third slower there
SCALE = 20.0
LEAST = 0.1  # of the mean variance, is added to all: directions without any are not blown up
TEMPERATURE = 2.0
"""Divides the classifier's logits: a picture of what it does not know lies among several names."""
ANCHORS = 4.0  # objective.predictions.anchors of the recipe
BATCH = 100


def joined(classifier: ImageClassifier, texts: Bundle[DualEncoder]) -> DualEncoder:
    """Both towers, with maps that are still to be set."""
    text, tower = texts.model, replace(EFFICIENTNET_LITE2, classes=1000)
    config = DualEncoderConfig(
        image=tower,
        text=text.config.text,
        embed_dim=text.config.embed_dim,
        image_bias=True,
        text_bias=True,
        scale_init=SCALE,
    )
    model = DualEncoder(config).eval()
    assert isinstance(model.image, MobileNet)
    trained = classifier.model
    weights = trained.tower.state_dict()
    for name, tensor in trained.classifier.state_dict().items():
        weights[f"classifier.{name}"] = tensor / TEMPERATURE
    model.image.load_state_dict(weights)
    model.text.load_state_dict(text.text.state_dict())
    return model


@torch.no_grad()
def set_maps(model: DualEncoder, names: list[Tensor]) -> None:
    """`names` are the vectors of the classes' names, one tensor for each language."""
    both = torch.cat(names)
    variance, axes = torch.linalg.eigh(torch.cov((both - both.mean(0)).T))
    whiten = axes * (variance + LEAST * variance.mean()).rsqrt() @ axes.T
    model.text_proj.weight.copy_(whiten)
    model.text_proj.bias.copy_(-whiten @ both.mean(0))
    places = torch.stack([model.project_texts(vectors) for vectors in names]).mean(0)
    places = ANCHORS * F.normalize(places, dim=1)
    model.image_proj.weight.zero_()
    model.image_proj.weight[:, EFFICIENTNET_LITE2.dim :] = places.T
    model.image_proj.bias.zero_()


@torch.inference_mode()
def vectors_of(model: DualEncoder, tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """What the text tower gives for each text."""
    ids = torch.from_numpy(tokenizer.encode(texts).ids)
    assert len(ids) == len(texts), "a name takes more than one window"
    return torch.cat([model.text(model.text.trim(part)) for part in ids.split(BATCH)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("classifier", type=Path)
    parser.add_argument("classes", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    classifier, texts = load_classifier(args.classifier), load_bundle(locate("seesay-text").folder)
    model, classes = joined(classifier, texts), read_classes(str(args.classes))
    languages = [[row[language] for row in classes] for language in ("en", "zh")]
    set_maps(model, [vectors_of(model, texts.tokenizer, names) for names in languages])
    transform = ImageTransformConfig(size=SIZE, mean=classifier.mean, std=classifier.std)
    name = args.folder.name
    save_bundle(args.folder, replace(texts, model=model, transform=transform, name=name))


if __name__ == "__main__":
    main()
