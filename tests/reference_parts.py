"""What the tiny models of the published implementations have in common: their sizes, random
parameters, texts and vocabulary."""

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
    images: Tensor | None = None
    """Pictures in the tower's own form, where that is no square."""
    pad: int | None = None
    """What the text tower hides, where what the implementations compute at its place differs."""
    gradients: torch.dtype = torch.float32
    """The precision in which gradients are compared; rounding in the many batch norms of a FastViT
    comes to 3e-5 in float32."""
    published: Callable[[str], str] = str
    """A parameter's name -> what the published files call it, where transformers has moved on."""
    caption_logits: Callable[[Tensor, Tensor], Tensor] | None = None
    """Of images and the texts so far, where the model writes captions."""


def layers(ours: str, theirs: str, count: int = TINY["num_hidden_layers"]) -> dict[str, str]:
    """The modules of a stack that correspond, by our names."""
    return {f"{ours}.{i}": f"{theirs}.{i}" for i in range(count)}


def randomise(model: nn.Module, norms: float = 0.0) -> nn.Module:
    """Random values everywhere, of a size that keeps the signal alive through every layer. `norms`
    is added to the weights of the norms: what attends to the result of attention needs it, or sees
    the same everywhere."""
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.15
            if parameter.ndim == 4:
                spread = (2 / parameter[0].numel()) ** 0.5
            parameter.copy_(spread * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.RMSNorm):
                module.weight.add_(1.0 if isinstance(module, nn.BatchNorm2d) else norms)
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
