"""Objectives: what a model is trained for.

`objective` says what an objective is. `contrastive` and `captioning` are whole objectives,
`distillation` holds the losses of those with a teacher; the rest is shared by the losses.
"""
