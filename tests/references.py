"""Tiny models of the published implementations, every parameter random, saved as they publish them.

Default initialisation would hide swapped norms and biases: norms are 1 and biases 0.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

VOCAB = 99
EOS = VOCAB - 1
CONTEXT = 12
IMAGE_SIZE, PATCH = 32, 8
TINY = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
IMAGE = dict(TINY, image_size=IMAGE_SIZE, patch_size=PATCH)
TEXT = dict(TINY, vocab_size=VOCAB, max_position_embeddings=CONTEXT)


@dataclass
class Reference:
    """One published model: where its files lie, how it computes, and which modules correspond."""

    folder: Path
    model: nn.Module
    embed_images: Callable[[Tensor], Tensor]
    embed_texts: Callable[[Tensor], Tensor]
    """Both without normalisation."""
    stages: dict[str, str]
    """Our module name -> theirs, for every hidden state that is compared."""
    ids: Tensor
    image_folder: Path | None = None
    image_size: int = IMAGE_SIZE


def randomise(model: nn.Module) -> nn.Module:
    """Random values everywhere, of a size that keeps the signal alive through every layer."""
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.15
            if parameter.ndim == 4:
                spread = (2 / parameter[0].numel()) ** 0.5
            parameter.copy_(spread * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.add_(1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn_like(buffer))
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))
    return model.eval()


def clip_ids() -> Tensor:
    """Texts of different lengths: anything, the end mark, then padding that must not matter."""
    ids = torch.randint(3, EOS, (5, CONTEXT))
    for row, length in enumerate((12, 3, 7, 11, 2)):
        ids[row, length - 1] = EOS
        ids[row, length:] = 0
    return ids


def bert_ids() -> Tensor:
    ids = torch.randint(1, VOCAB, (5, CONTEXT))
    for row, length in enumerate((12, 3, 7, 11, 2)):
        ids[row, length:] = 0
    return ids


def write_tokenizer(folder: Path) -> None:
    """A vocabulary of 95 letters and signs between two marks: enough for a folder to load."""
    vocabulary = {"<pad>": 0, "<s>": 1, "<unk>": 2} | {chr(33 + i): 3 + i for i in range(95)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary | {"</s>": EOS}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", EOS)]
    )
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))


def _hf_stages(text_layers: str = "text_model.encoder.layers") -> dict[str, str]:
    stages = {}
    for i in range(TINY["num_hidden_layers"]):
        stages[f"image.blocks.{i}"] = f"vision_model.encoder.layers.{i}"
        stages[f"text.blocks.{i}"] = f"{text_layers}.{i}"
    return stages


def _hf(model: nn.Module, folder: Path, stages: dict[str, str], ids: Tensor) -> Reference:
    randomise(model)
    model.save_pretrained(folder)
    write_tokenizer(folder)

    def texts(ids: Tensor) -> Tensor:
        known = (
            "bert" in type(model.text_model).__name__.lower()
            or "chinese" in model.config.model_type
        )
        mask = {"attention_mask": (ids != 0).long()} if known else {}
        return model.get_text_features(input_ids=ids, **mask).pooler_output

    return Reference(
        folder=folder,
        model=model,
        embed_images=lambda images: model.get_image_features(pixel_values=images).pooler_output,
        embed_texts=texts,
        stages=stages,
        ids=ids,
    )


def openai_clip(folder: Path, activation: str = "quick_gelu", eos_token_id: int = EOS) -> Reference:
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config=dict(TEXT, hidden_act=activation, eos_token_id=eos_token_id, bos_token_id=1),
        vision_config=dict(IMAGE, hidden_act=activation),
        projection_dim=16,
    )
    return _hf(CLIPModel(config), folder, _hf_stages(), clip_ids())


def laion_clip(folder: Path) -> Reference:
    """LAION's and DataComp's variant: exact GELU."""
    return openai_clip(folder, activation="gelu")


def openai_clip_with_the_old_eos(folder: Path) -> Reference:
    """OpenAI's published configs carry eos_token_id 2 and mean the largest id."""
    return openai_clip(folder, eos_token_id=2)


def siglip(folder: Path) -> Reference:
    from transformers import SiglipConfig, SiglipModel

    # 36 px in patches of 8 leave 4 px over, as in so400m-patch14-384
    config = SiglipConfig(
        text_config=dict(TEXT, projection_size=32), vision_config=dict(IMAGE, image_size=36)
    )
    reference = _hf(
        SiglipModel(config), folder, _hf_stages(), torch.randint(0, VOCAB, (5, CONTEXT))
    )
    reference.image_size = 36
    return reference


def chinese_clip(folder: Path) -> Reference:
    from transformers import ChineseCLIPConfig, ChineseCLIPModel

    config = ChineseCLIPConfig(text_config=TEXT, vision_config=IMAGE, projection_dim=16)
    stages = _hf_stages("text_model.encoder.layer")
    return _hf(ChineseCLIPModel(config), folder, stages, bert_ids())


def taiyi(folder: Path) -> Reference:
    from transformers import BertConfig, BertForSequenceClassification

    image = openai_clip(folder / "image")
    config = BertConfig(**TEXT, num_labels=16)
    text = randomise(BertForSequenceClassification(config))
    (folder / "text").mkdir()
    text.save_pretrained(folder / "text")
    write_tokenizer(folder / "text")
    stages = {ours: theirs for ours, theirs in image.stages.items() if ours.startswith("image")}
    pair = nn.ModuleDict({"clip": image.model, "text": text})
    return Reference(
        folder=folder / "text",
        image_folder=folder / "image",
        model=pair,
        embed_images=image.embed_images,
        embed_texts=lambda ids: text(input_ids=ids, attention_mask=(ids != 0).long()).logits,
        stages={ours: f"clip.{theirs}" for ours, theirs in stages.items()}
        | {f"text.blocks.{i}": f"text.bert.encoder.layer.{i}" for i in range(3)},
        ids=bert_ids(),
    )


OPEN_CLIP_TEXT = dict(context_length=CONTEXT, vocab_size=VOCAB, width=32, heads=4, layers=3)


def _open_clip(folder: Path, model: nn.Module, config: dict, stages: dict[str, str]) -> Reference:
    from safetensors.torch import save_file

    randomise(model)
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    write_tokenizer(folder)
    return Reference(
        folder=folder,
        model=model,
        embed_images=model.encode_image,
        embed_texts=model.encode_text,
        stages=stages,
        ids=clip_ids(),
        image_size=config["vision_cfg"]["image_size"],
    )


def open_clip_vit(folder: Path) -> Reference:
    import open_clip

    vision = dict(image_size=IMAGE_SIZE, patch_size=PATCH, width=32, layers=3, head_width=8)
    config = dict(embed_dim=16, quick_gelu=True, vision_cfg=vision, text_cfg=OPEN_CLIP_TEXT)
    stages = {f"image.blocks.{i}": f"visual.transformer.resblocks.{i}" for i in range(3)}
    stages |= {f"text.blocks.{i}": f"transformer.resblocks.{i}" for i in range(3)}
    return _open_clip(folder, open_clip.CLIP(**config), config, stages)


def open_clip_resnet(folder: Path) -> Reference:
    import open_clip

    vision = dict(image_size=64, layers=[2, 1, 1, 2], width=8, head_width=32, patch_size=None)
    config = dict(embed_dim=16, vision_cfg=vision, text_cfg=OPEN_CLIP_TEXT)
    stages = {f"image.stages.{i}": f"visual.layer{i + 1}" for i in range(4)}
    stages |= {f"text.blocks.{i}": f"transformer.resblocks.{i}" for i in range(3)}
    return _open_clip(folder, open_clip.CLIP(**config), config, stages)


def _with_timm(folder: Path, trunk: nn.Module, config: dict, pooled: str) -> Reference:
    """open_clip around a tiny timm tower: its own builder knows only the published sizes."""
    import open_clip

    text = open_clip.model._build_text_tower(config["embed_dim"], config["text_cfg"])
    model = nn.Module()
    model.visual = nn.Module()
    model.visual.trunk = trunk
    model.text = text
    model.logit_scale = nn.Parameter(torch.zeros(()))
    if "init_logit_bias" in config:
        model.logit_bias = nn.Parameter(torch.zeros(()))
    model.encode_image = lambda images: trunk(images)
    model.encode_text = lambda ids: text(ids)
    stages = {f"image.blocks.{i}": f"visual.trunk.blocks.{i}" for i in range(3)}
    stages |= {f"text.blocks.{i}": f"text.transformer.resblocks.{i}" for i in range(3)}
    return _open_clip(folder, model, config, stages | {"image": pooled})


def open_clip_siglip(folder: Path) -> Reference:
    from timm.models.vision_transformer import VisionTransformer

    trunk = VisionTransformer(
        img_size=IMAGE_SIZE,
        patch_size=PATCH,
        embed_dim=32,
        depth=3,
        num_heads=4,
        mlp_ratio=2,
        class_token=False,
        global_pool="map",
        num_classes=0,
        act_layer="gelu_tanh",
    )
    text = dict(
        OPEN_CLIP_TEXT,
        no_causal_mask=True,
        proj_bias=True,
        pool_type="last",
        norm_kwargs={"eps": 1e-6},
        act_kwargs={"approximate": "tanh"},
    )
    name = "vit_base_patch8_siglip_32"  # see shrink
    vision = dict(image_size=IMAGE_SIZE, timm_model_name=name, timm_pool="map", timm_proj="none")
    config = dict(
        embed_dim=32, init_logit_bias=-10, custom_text=True, vision_cfg=vision, text_cfg=text
    )
    return _with_timm(folder, trunk, config, "visual.trunk")


def eva02_clip(folder: Path) -> Reference:
    from timm.models.eva import Eva

    trunk = Eva(
        img_size=IMAGE_SIZE,
        patch_size=PATCH,
        embed_dim=32,
        depth=3,
        num_heads=4,
        num_classes=16,
        qkv_fused=False,
        mlp_ratio=2,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(16, 16),
        global_pool="token",
    )
    name = "eva02_base_patch8_clip_32"  # see shrink
    vision = dict(image_size=IMAGE_SIZE, timm_model_name=name, timm_pool="token", timm_proj=None)
    config = dict(embed_dim=16, custom_text=True, vision_cfg=vision, text_cfg=OPEN_CLIP_TEXT)
    reference = _with_timm(folder, trunk, config, "visual.trunk")
    del reference.stages["image"]  # theirs ends in the shared space, ours before it
    return reference


def _cn_clip(folder: Path, name: str, **vision) -> Reference:
    from cn_clip.clip.model import CLIP

    text = dict(
        vocab_size=VOCAB,
        text_attention_probs_dropout_prob=0.1,
        text_hidden_act="gelu",
        text_hidden_dropout_prob=0.1,
        text_hidden_size=32,
        text_initializer_range=0.02,
        text_intermediate_size=64,
        text_max_position_embeddings=CONTEXT,
        text_num_attention_heads=4,
        text_num_hidden_layers=3,
        text_type_vocab_size=2,
    )
    model = randomise(CLIP(embed_dim=16, **text, **vision))
    folder.mkdir(exist_ok=True)
    wrapped = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 1, "name": "tiny", "state_dict": wrapped}, folder / f"clip_cn_{name}.pt")
    write_tokenizer(folder)
    return Reference(
        folder=folder,
        model=model,
        embed_images=model.encode_image,
        embed_texts=model.encode_text,
        stages={f"text.blocks.{i}": f"bert.encoder.layer.{i}" for i in range(3)},
        ids=bert_ids(),
        image_size=vision["image_resolution"],
    )


def cn_clip_resnet(folder: Path) -> Reference:
    return _cn_clip(
        folder,
        "rn50",
        image_resolution=64,
        vision_layers=[2, 1, 1, 2],
        vision_width=8,
        vision_patch_size=None,
        vision_head_width=32,
    )


def cn_clip_vit(folder: Path) -> Reference:
    return _cn_clip(
        folder,
        "vit-b-16",
        image_resolution=IMAGE_SIZE,
        vision_layers=3,
        vision_width=32,
        vision_patch_size=PATCH,
        vision_head_width=8,
    )


def shrink(monkeypatch) -> None:
    """Some layouts give only the name of a published size: let those names mean tiny models."""
    from seesay.models.bert import BertConfig
    from seesay.models.dual_encoder import DualEncoderConfig
    from seesay.models.resnet import ResNetConfig
    from seesay.models.vit import VitConfig
    from seesay.weights import cn_clip, timm_towers

    monkeypatch.setitem(timm_towers.SIGLIP_SIZES, "base", (32, 3, 4, 64))
    monkeypatch.setitem(timm_towers.EVA02_SIZES, "base", (32, 3, 4, 64))
    monkeypatch.setattr(timm_towers, "TANH_SIZES", {"base_patch8_siglip_32"})
    size = dict(dim=32, depth=3, heads=4)
    text = BertConfig(vocab_size=VOCAB, context=CONTEXT, hidden=64, **size)
    resnet = ResNetConfig(image_size=64, layers=(2, 1, 1, 2), width=8, heads=8, output_dim=16)
    vit = VitConfig(image_size=IMAGE_SIZE, patch_size=PATCH, hidden=128, **size)
    for name, image in (("rn50", resnet), ("vit-b-16", vit)):
        config = DualEncoderConfig(
            image=image, text=text, embed_dim=16, project_image=image is not resnet
        )
        monkeypatch.setitem(cn_clip.MODELS, name, config)


FAMILIES: dict[str, Callable[[Path], Reference]] = {
    "openai clip": openai_clip,
    "openai clip, old eos": openai_clip_with_the_old_eos,
    "laion clip": laion_clip,
    "siglip": siglip,
    "chinese-clip": chinese_clip,
    "taiyi-clip": taiyi,
    "open_clip vit": open_clip_vit,
    "open_clip resnet": open_clip_resnet,
    "open_clip siglip": open_clip_siglip,
    "eva-02-clip": eva02_clip,
    "cn_clip resnet": cn_clip_resnet,
    "cn_clip vit": cn_clip_vit,
}
