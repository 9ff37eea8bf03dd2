"""How much a request may hold: one table for the routes and for the tools of assistants.

What these let through is read, embedded or compared within seconds; a longer text is a mistake or
an attack, and is refused before anything is done with it. `ServerConfig` has the limits that
whoever runs a server may set.
"""

MAX_WORDS = 4000
"""Characters of a query."""
MAX_UNWANTED = 16
"""Things that must not be seen."""
MAX_UNWANTED_WORDS = 1000
"""Characters of each."""
MAX_IMAGES = 8
"""Pictures to look for."""
MAX_CLASSIFIED = 32
"""Pictures to classify."""
MAX_LABELS = 128
"""Labels to classify them by."""
MAX_PATHS = 32
"""Files and folders to index, or to remove."""
MAX_PATH = 4096
"""Characters of each."""
MAX_UNITS = 64
"""Units to be like, or unlike."""
MAX_CONDITIONS = 32
"""Conditions on metadata, and folders."""
MAX_CONDITION = 1000
"""Characters of each."""
MAX_NAME = 200
"""Characters of the name of a collection or model."""
MAX_DATE = 10
"""Characters of a day, month or year: 2024-05-31."""
