"""One file for each revision, in order: see `control_plane/migrations/__init__.py`."""
