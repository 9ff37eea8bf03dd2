"""Make a text embedder for Chinese and English from multilingual-e5-small.

    python tools/seesay_text.py e5-small-q4.bin FOLDER --words words-en.tsv words-zh.tsv
    python tools/seesay_text.py e5-small-q4.bin FOLDER --whole

The first command keeps the part of the vocabulary that the two languages use and stores the weights
exactly in 8 bits; the second keeps everything in float32. Each line of a word list is a word, a tab
and its frequency (`word_lists.py`).
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from e5_file import E5File, read_e5
from pruned_vocabulary import pruned_pieces
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import TokenizerConfig, load_tokenizer
from seesay.models.bert import BertConfig
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.weights.bundle import Bundle
from seesay.weights.saving import save_bundle
from seesay.weights.tensors import blank_model, load_weights

TEMPERATURE = 0.01
"""The temperature that E5 was trained with (arXiv 2402.05672)."""
NEVER = -1000.0
"""Score of special tokens, so that "<s>" in a text is spelt out."""
TILDE, PRIVATE = "\uff5e", "\ue000"

TENSORS = {
    "emb.word": "token_embed.weight",
    "emb.pos": "positions",
    "emb.type": "types",
    "emb.ln.w": "norm_in.weight",
    "emb.ln.b": "norm_in.bias",
}
PARTS = {
    "q": "attention.query",
    "k": "attention.key",
    "v": "attention.value",
    "ao": "attention.out",
    "aln": "norm1",
    "fi": "mlp.up",
    "fo": "mlp.down",
    "oln": "norm2",
}
KINDS = {"w": "weight", "b": "bias"}


def bundle_of(file: E5File, kept: list[int], name: str) -> Bundle[DualEncoder]:
    """Builds the model with the tokens of these ids, renumbered in order."""
    number = {old: new for new, old in enumerate(kept)}
    text = BertConfig(
        vocab_size=len(kept),
        context=file.context,
        dim=file.dim,
        depth=file.depth,
        heads=file.heads,
        hidden=file.hidden,
        norm_eps=file.norm_eps,
        token_types=file.token_types,
        pool="mean",
        pad_id=number[file.pad],
    )
    config = DualEncoderConfig(
        image=None,
        text=text,
        embed_dim=file.dim,
        project_text=False,
        scale_init=1 / TEMPERATURE,
    )
    model = blank_model(DualEncoder, config)
    tensors = {f"text.{our_name(name)}": torch.tensor(v) for name, v in file.tensors.items()}
    tensors["text.token_embed.weight"] = tensors["text.token_embed.weight"][kept].clone()
    tensors["log_scale"] = torch.tensor(1 / TEMPERATURE).log()
    load_weights(model, tensors)
    described = TokenizerConfig(
        context=file.context,
        pad_id=number[file.pad],
        query_prefix="query:",
        passage_prefix="passage:",
    )
    with TemporaryDirectory() as folder:
        tokenizer_of(file, kept).save(str(Path(folder) / "tokenizer.json"))
        tokenizer = load_tokenizer(Path(folder), described)
    return Bundle(
        model=model.eval(), tokenizer=tokenizer, transform=ImageTransformConfig(), name=name
    )


def our_name(name: str) -> str:
    if name in TENSORS:
        return TENSORS[name]
    layer, part, kind = name.split(".")
    return f"blocks.{layer.removeprefix('l')}.{PARTS[part]}.{KINDS[kind]}"


def tokenizer_of(file: E5File, kept: list[int]) -> Tokenizer:
    """XLM-R's unigram vocabulary. Its normalisation is SentencePiece's nmt_nfkc, a few replacements
    followed by NFKC, except that the full-width tilde stays."""
    scores = [float(file.scores[i]) or NEVER for i in kept]  # special tokens have 0
    vocab = [(file.pieces[i], score) for i, score in zip(kept, scores, strict=True)]
    backend = Tokenizer(Unigram(vocab, unk_id=kept.index(file.unknown), byte_fallback=False))
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.Replace(TILDE, PRIVATE),
            normalizers.NFKC(),
            normalizers.Replace(PRIVATE, TILDE),
            normalizers.Replace(Regex(r"\A +| +\z"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    first, last = file.pieces[file.first], file.pieces[file.last]
    names = [first, file.pieces[file.pad], last, file.pieces[file.unknown]]
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=None,
        special_tokens=[(name, backend.token_to_id(name)) for name in (first, last)],
    )
    return backend


def frequencies(path: Path) -> dict[str, float]:
    """Reads the frequency of each word in a list."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {word: float(count) for word, _, count in (line.rpartition("\t") for line in lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--words", type=Path, nargs="+", default=[])
    args = parser.parse_args()
    file = read_e5(args.source)
    everything = list(range(len(file.pieces)))
    if args.whole:
        save_bundle(args.folder, bundle_of(file, everything, args.folder.name))
        return
    whole = tokenizer_of(file, everything)
    kept = pruned_pieces(file, whole, [frequencies(path) for path in args.words])
    save_bundle(args.folder, bundle_of(file, kept, args.folder.name), torch.int8)
    size = (args.folder / "model.safetensors").stat().st_size
    print(f"{len(kept):,} of {len(everything):,} pieces, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
