"""Conditions on units, answered by SQLite where few units match and by arrays where many do."""
