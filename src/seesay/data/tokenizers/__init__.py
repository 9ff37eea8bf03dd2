"""Texts in, rows of token ids out, for every kind of vocabulary that checkpoints carry."""

from seesay.data.tokenizers.tokenizer import (
    Clean,
    Role,
    Tokenizer,
    TokenizerConfig,
    Tokens,
    load_tokenizer,
)

__all__ = ["Clean", "Role", "Tokenizer", "TokenizerConfig", "Tokens", "load_tokenizer"]
