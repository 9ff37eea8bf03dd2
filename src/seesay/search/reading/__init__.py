"""Turns the bytes of a file into passages, in separate processes, since no file is trusted.

`registry.READERS` lists the kinds of files, each with a module here; `process.read` reads one file,
and `messages` defines what crosses the pipe: ListedFile, ReadSettings, ReadResult, Passage.
"""
