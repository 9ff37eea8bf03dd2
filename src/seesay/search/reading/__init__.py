"""From the bytes of a file to passages, in processes of their own, since no file is trusted.

`registry.READERS` lists the kinds of files, each of which has a module here; `process.read` reads
one file, and `messages` is what crosses the pipe: ListedFile, ReadSettings, ReadResult, Passage.
"""
