"""Models ready for use.

`embedder`: load, Embedder, Embeddings, Failure. `text_embedder`: load_texts. `classifier`:
ZeroShotClassifier. `probe`: LinearProbe. `generation`: beam_search, caption. `vector_files`:
save_vectors.
"""
