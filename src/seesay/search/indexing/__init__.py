"""Turns files into committed vectors; safe to run any number of times, however a run ends.

`index`, `watch`, `fill` and `remove` are what collections call, with IndexOptions, IndexProgress,
IndexReport and FillReport.
"""
