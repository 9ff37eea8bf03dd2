"""Models ready for use.

`load`: load. `embedder`: Embedder. `text_embedder`: load_texts. `embeddings`: Embeddings, Failure.
`classifier`: ZeroShotClassifier. `probe`: LinearProbe. `detector`: load_detector. `generation`:
beam_search, caption. `vector_files`: save_vectors.
"""
