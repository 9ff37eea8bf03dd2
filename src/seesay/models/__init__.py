"""Tensors in, tensors out: each model with its config, and nothing about files or texts.

`dual_encoder`: DualEncoder, made of one image tower (`vit`, `resnet`, `mobilenet`, `fastvit`), one
text tower (`text_encoder`, `bert`, `mean_text`) and, if it writes captions, a `captioner`.
"""
