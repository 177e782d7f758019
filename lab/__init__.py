"""The laboratory: starts and drives the other programs as black boxes."""
