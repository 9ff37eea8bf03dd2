"""Models ready for use.

`load`: load. `embedder`: Embedder. `text_embedder`: load_texts. `embeddings`: Embeddings, Failure.
`classifier`: ZeroShotClassifier. `probe`: LinearProbe. `generation`: beam_search, caption.
`vector_files`: save_vectors.
"""
