"""From files to committed vectors, as often as one likes, however a run ends.

`index`, `watch`, `fill` and `remove` are what collections call, with IndexOptions, IndexProgress,
IndexReport and FillReport.
"""
