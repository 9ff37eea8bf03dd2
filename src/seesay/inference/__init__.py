"""Models ready for use.

`embedder`: load, Embedder, Embeddings, Failure. `text_embedder`: load_texts. `classifier`:
ZeroShotClassifier. `probe`: Probe. `detector`: load_detector. `generation`: beam_search,
caption. `answer`: Answer, Assistant. `remote`: RemoteAssistant. `vector_files`: save_vectors.
"""
