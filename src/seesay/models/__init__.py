"""Tensors in, tensors out: each model beside its config, and nothing about files or texts.

`dual_encoder`: DualEncoder, made of one image tower (`vit`, `resnet`, `mobilenet`, `fastvit`), one
text tower (`text_encoder`, `bert`, `mean_text`) and, where it writes, a `captioner`.
"""
