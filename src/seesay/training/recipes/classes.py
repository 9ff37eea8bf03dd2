"""The lists of class names that a recipe points at, read before anything large is."""

from seesay.data.batches_config import read_classes
from seesay.training.recipes.recipe import Recipe
from seesay.training.teachers.distillation import DistillationConfig
from seesay.training.teachers.predictions import PredictionsConfig


def check_classes(recipe: Recipe) -> None:
    """Raises DataError, naming the setting's file, where a list of class names cannot be read."""
    evaluation = (recipe.evaluation.retrieval, recipe.evaluation.zero_shot)
    files = [one.classes for one in (*recipe.data.values(), *evaluation) if one is not None]
    taught = (DistillationConfig, PredictionsConfig)
    files += [o.classes for o in recipe.objective.values() if isinstance(o, taught)]
    for file in dict.fromkeys(files):
        if file is not None:
            read_classes(file)
