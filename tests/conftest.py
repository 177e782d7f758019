"""What all tests share: how Hypothesis chooses its examples.

The same examples in every run, so that a change that breaks something is told apart from an example nobody had tried before.
To look for new ones, as one should now and then: `CDNLAB_NEW_EXAMPLES=1 make test`; what it finds becomes an `@example`.
"""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("new", derandomize=False)
settings.load_profile("new" if os.environ.get("CDNLAB_NEW_EXAMPLES") else "same")

_NEW_OBJECTS = 20_000
_FIRST = ("simulation", "lab", "control_plane", "system", "integration", "property", "fuzz")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long and waits much comes first, so that no process is left alone with it at the end."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    folders = item.path.relative_to(Path(__file__).parent).parts
    return next((turn for turn, name in enumerate(_FIRST) if name in folders), len(_FIRST))


def pytest_collection_finish() -> None:
    """The collector need not look at thousands of tests again and again, nor at a few hundred new objects at once."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
