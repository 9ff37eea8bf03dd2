"""Which of the model configs that open_clip ships are read, and why the others are not.

A config that moves from one list to the other, or is new, is a change to look at: shapes are
compared in test_configs.py, numbers of each kind of model in test_parity.py and test_settings.py.
"""

import json
from importlib import resources

import pytest

from seesay.errors import WeightsError
from seesay.weights import open_clip

ACCEPTED = """
    EVA01-g-14 EVA01-g-14-plus EVA02-B-16 EVA02-L-14 EVA02-L-14-336 MobileCLIP-B MobileCLIP-S1
    MobileCLIP-S2 MobileCLIP2-B MobileCLIP2-L-14 MobileCLIP2-S0 MobileCLIP2-S2 MobileCLIP2-S3
    MobileCLIP2-S4 PE-Core-B-16 PE-Core-L-14-336 PE-Core-S-16-384 PE-Core-T-16-384
    PE-Core-bigG-14-448 RN101 RN101-quickgelu RN50 RN50-quickgelu RN50x16 RN50x16-quickgelu RN50x4
    RN50x4-quickgelu RN50x64 RN50x64-quickgelu ViT-B-16 ViT-B-16-SigLIP ViT-B-16-SigLIP-256
    ViT-B-16-SigLIP-384 ViT-B-16-SigLIP-512 ViT-B-16-SigLIP-i18n-256 ViT-B-16-SigLIP2
    ViT-B-16-SigLIP2-256 ViT-B-16-SigLIP2-384 ViT-B-16-SigLIP2-512 ViT-B-16-plus ViT-B-16-plus-240
    ViT-B-16-quickgelu ViT-B-32 ViT-B-32-256 ViT-B-32-SigLIP2-256 ViT-B-32-plus-256
    ViT-B-32-quickgelu ViT-H-14 ViT-H-14-378 ViT-H-14-378-quickgelu ViT-H-14-CLIPA
    ViT-H-14-CLIPA-336 ViT-H-14-quickgelu ViT-H-14-worldwide ViT-H-14-worldwide-378
    ViT-H-14-worldwide-quickgelu ViT-H-16 ViT-L-14 ViT-L-14-280 ViT-L-14-336
    ViT-L-14-336-quickgelu ViT-L-14-CLIPA ViT-L-14-CLIPA-336 ViT-L-14-quickgelu ViT-L-14-worldwide
    ViT-L-14-worldwide-quickgelu ViT-L-16 ViT-L-16-320 ViT-L-16-SigLIP-256 ViT-L-16-SigLIP-384
    ViT-L-16-SigLIP2-256 ViT-L-16-SigLIP2-384 ViT-L-16-SigLIP2-512 ViT-M-16 ViT-M-32 ViT-M-32-alt
    ViT-S-16 ViT-S-16-alt ViT-S-32 ViT-S-32-alt ViT-SO400M-14-SigLIP ViT-SO400M-14-SigLIP-378
    ViT-SO400M-14-SigLIP-384 ViT-SO400M-14-SigLIP2 ViT-SO400M-14-SigLIP2-378
    ViT-SO400M-16-SigLIP-i18n-256 ViT-SO400M-16-SigLIP2-256 ViT-SO400M-16-SigLIP2-384
    ViT-SO400M-16-SigLIP2-512 ViT-bigG-14 ViT-bigG-14-CLIPA ViT-bigG-14-CLIPA-336
    ViT-bigG-14-quickgelu ViT-bigG-14-worldwide ViT-bigG-14-worldwide-378 ViT-e-14 ViT-g-14
    ViT-gopt-16-SigLIP2-256 ViT-gopt-16-SigLIP2-384 coca_ViT-B-32 coca_ViT-L-14 nllb-clip-base
    nllb-clip-base-siglip nllb-clip-large nllb-clip-large-siglip roberta-ViT-B-32
    xlm-roberta-base-ViT-B-32 xlm-roberta-large-ViT-H-14
"""
# What the error names -> the configs
REFUSED = {
    "eva02_enormous_patch14_clip_224": "EVA02-E-14-plus EVA02-E-14",
    "model_cfg.vision_cfg.ls_init_value": "ViT-M-16-alt",
    "vitamin_base_224": "ViTamin-B-LTT ViTamin-B",
    "vitamin_large_256": "ViTamin-L-256",
    "vitamin_large_336": "ViTamin-L-336",
    "vitamin_large_384": "ViTamin-L-384",
    "vitamin_large_224": "ViTamin-L",
    "vitamin_large2_256": "ViTamin-L2-256",
    "vitamin_large2_336": "ViTamin-L2-336",
    "vitamin_large2_384": "ViTamin-L2-384",
    "vitamin_large2_224": "ViTamin-L2",
    "vitamin_small_224": "ViTamin-S-LTT ViTamin-S",
    "vitamin_xlarge_256": "ViTamin-XL-256",
    "vitamin_xlarge_336": "ViTamin-XL-336",
    "vitamin_xlarge_384": "ViTamin-XL-384",
    "model_cfg.vision_cfg.attentional_pool": "coca_base",
    "roberta-base": "coca_roberta-ViT-B-32",
    "convnext_base": "convnext_base convnext_base_w convnext_base_w_320",
    "convnext_large": "convnext_large convnext_large_d convnext_large_d_320",
    "convnext_small": "convnext_small",
    "convnext_tiny": "convnext_tiny",
    "convnext_xlarge": "convnext_xlarge",
    "convnext_xxlarge": "convnext_xxlarge convnext_xxlarge_320",
    "google/mt5-base": "mt5-base-ViT-B-32",
    "google/mt5-xl": "mt5-xl-ViT-H-14",
    "swin_base_patch4_window7_224": "swin_base_patch4_window7_224",
    "vit_medium_patch16_gap_256": "vit_medium_patch16_gap_256",
    "vit_relpos_medium_patch16_cls_224": "vit_relpos_medium_patch16_cls_224",
}


def shipped() -> dict[str, dict]:
    import open_clip as reference

    folder = resources.files(reference) / "model_configs"
    return {
        file.name.removesuffix(".json"): json.loads(file.read_text()) for file in folder.iterdir()
    }


def test_every_shipped_config_is_read_or_refused_by_name():
    accepted, refused = [], {}
    for name, config in sorted(shipped().items()):
        try:
            open_clip.read({"model_cfg": config})
            accepted.append(name)
        except WeightsError as error:
            refused[name] = str(error)
    assert sorted(accepted) == sorted(ACCEPTED.split())
    expected = {name: word for word, names in REFUSED.items() for name in names.split()}
    assert sorted(refused) == sorted(expected)
    for name, message in refused.items():
        assert expected[name] in message and "seesay models list" in message


@pytest.mark.parametrize("name", ["ViT-H-14-worldwide", "ViT-L-14-worldwide"])
def test_metaclip_2_is_pooled_at_the_end_mark_of_its_own_tokenizer(name):
    """They were pooled at the largest id, which no text has, so all texts had one vector."""
    config = shipped()[name]
    text = open_clip.read({"model_cfg": config}).model.text
    assert (text.pool, text.eos_id) == ("eos", config["text_cfg"]["eos_id"])
