"""From the name of a model to a local folder: the catalogue, two hubs, or any folder."""

from seesay.weights.hub.fetch import Located, locate, resolve

__all__ = ["Located", "locate", "resolve"]
