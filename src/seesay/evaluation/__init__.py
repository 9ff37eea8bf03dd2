"""Evaluation: measures of a model and their reports.

What other rooms use: `measure.evaluate`, `measure.Measure` and the table `measure.MEASURES`;
`zero_shot.evaluate_zero_shot`, `probing.train_probe`, `interpolation.measure_alphas`; `pages` for
tables and pages.
"""
