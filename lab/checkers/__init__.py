"""Judges what was seen in a run: pure functions from observations to an outcome with its evidence."""
