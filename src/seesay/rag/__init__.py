"""Question -> evidence -> answer with citations -> verification.

`answer.ask` does all of it; `conversation` completes follow-up questions; `computing` answers
from tables.
"""
