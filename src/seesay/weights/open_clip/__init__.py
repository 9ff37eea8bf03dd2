"""Checkpoints in open_clip's layout: open_clip_config.json beside one safetensors file."""

from seesay.weights.open_clip.layout import read
from seesay.weights.open_clip.positions import fit_positions

__all__ = ["fit_positions", "read"]
