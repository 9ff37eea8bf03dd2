"""Training: from a recipe to a model.

Used by other packages: `run.train` and `run.Trained`; `recipe.read_recipe`, `recipe.Recipe` and the
table `recipe.OBJECTIVES`; `recipe_reference` for the settings; `sweep` and `sweep_report`.
"""
