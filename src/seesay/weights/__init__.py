"""From a name or a folder to a model, strictly: every tensor has its place and every setting a
meaning.

`bundle`: Bundle, Family, load_bundle. `saving`: save_bundle. `catalog`: find, published_models.
`hub`: locate. `interpolation`: interpolate. `mobilenet`: load_mobilenet, load_classifier.
"""
