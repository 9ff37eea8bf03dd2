"""Conversations about pictures, from and to the files that fine-tuning toolkits read.

`conversation` holds one and counts its placeholders, `rows` and `files` read the toolkits' formats,
`records` turns our own records into conversations and back, `layouts` and `configurations` write
what each toolkit reads, and `converting` does the work from end to end.
"""
