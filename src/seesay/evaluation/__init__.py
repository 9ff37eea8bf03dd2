"""Evaluation: measures of a model and their reports.

Used by other packages: `measure.evaluate`, `measure.Measure` and the table `measure.MEASURES`;
`suites.read_suite`, `running.run_suite` and `answer_store.AnswerStore` for published sets;
`zero_shot.evaluate_zero_shot`, `probing.train_probe`, `interpolation.measure_alphas`; `pages` for
tables and pages.
"""
