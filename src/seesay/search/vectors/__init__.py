"""Vector indexes, built from the vectors of a collection and rebuildable at any time.

Others use `VectorIndex` with its `IndexStatus` and `Ranking`; `engine_in_use`, `use_engine` and
`reached`, which choose an engine; and `generations`, for what is on disk. A new engine is a file
beside `faiss.py` and a line in `engines.py`.
"""
