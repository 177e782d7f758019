"""A cache node, edge or regional: serves viewers (or edges) from its snapshot and its entries."""

import os
import sys
from pathlib import Path

from edge_node import code_loader

_folder = code_loader.folder_to_use(Path(__file__).parent, os.environ)
IS_COMPILED = _folder is not None
if _folder is not None:
    __path__.insert(0, str(_folder / __name__))
    sys.path.append(str(_folder))  # for the one shared library that all of them are in
