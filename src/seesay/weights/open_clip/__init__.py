"""Checkpoints in open_clip's layout: open_clip_config.json beside one safetensors file."""

from seesay.weights.open_clip.layout import read

__all__ = ["read"]
