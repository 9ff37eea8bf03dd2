"""Objectives: the losses that train a model.

`objective` defines what an objective is. `contrastive` and `captioning` are complete objectives,
`distillation` holds the losses of objectives with a teacher; the rest is shared code.
"""
