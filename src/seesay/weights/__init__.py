"""Loads models from a name or a folder, strictly: every tensor must have a place and every setting
a meaning.

`bundle`: Bundle, Family, load_bundle. `saving`: save_bundle. `catalog`: find, published_models.
`hub`: locate. `interpolation`: interpolate. `mobilenet`: load_mobilenet, load_classifier.
"""
