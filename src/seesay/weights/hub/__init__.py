"""From the name of a model to a local folder: the catalogue, two hubs, or any folder."""

from seesay.weights.hub.fetch import IMAGE_HALF, Located, in_cache, is_repository, locate, resolve

__all__ = ["IMAGE_HALF", "Located", "in_cache", "is_repository", "locate", "resolve"]
