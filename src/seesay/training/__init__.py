"""Training: from a recipe to a model.

What other rooms use: `run.train` and `run.Trained`; `recipe.read_recipe`, `recipe.Recipe` and the
table `recipe.OBJECTIVES`; `recipe_reference` for the settings; `sweep` and `sweep_report`.
"""
