"""What all tests share: how Hypothesis chooses its examples, and which tests come first and together.

The same examples in every run, so that a change that breaks something is told apart from an example nobody had tried before.
To look for new ones, as one should now and then: `CDNLAB_NEW_EXAMPLES=1 make test`; what it finds becomes an `@example`.
"""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", derandomize=False, deadline=None)
# No deadline for an example: how long one takes on a busy machine says nothing about the code; every test has a timeout.
settings.load_profile("new" if os.environ.get("CDNLAB_NEW_EXAMPLES") else "same")

_NEW_OBJECTS = 20_000
_FIRST = ("system", "lab", "loadtests", "control_plane", "integration", "simulation", "property", "fuzz")
"""What takes long comes first, so that no process is left alone with it at the end."""
_WAITS = "integration"
_SYSTEM = "system"
"""The folder of tests of the whole system."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait for programs and files that compute are mixed, so that there is always somebody who has something to compute."""
    items.sort(key=_turn)
    files: dict[bool, dict[Path, int]] = {True: {}, False: {}}
    for item in items:
        of_its_kind = files[_WAITS in item.path.parts]
        of_its_kind.setdefault(item.path, len(of_its_kind))

    def share_before(item: pytest.Item) -> float:
        of_its_kind = files[_WAITS in item.path.parts]
        return of_its_kind[item.path] / len(of_its_kind)

    items.sort(key=share_before)


def _turn(item: pytest.Item) -> tuple[int, float]:
    """By folder; within it, those that want a lab with the same leases one after the other (tests/integration/system/conftest.py)."""
    folders = item.path.relative_to(Path(__file__).parent).parts
    turn = next((turn for turn, name in enumerate(_FIRST) if name in folders), len(_FIRST))
    return turn, getattr(getattr(item, "module", None), "LEASE_SECONDS", 0.0) if _SYSTEM in folders else 0.0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """With `--dist loadfile`."""
    return _FilesAndLabs(config, log) if config.getoption("dist") == "loadfile" else None


class _FilesAndLabs(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """A test process takes a file at a time, and the tests of the system, which share a lab, as if they were one file."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return _SYSTEM if _SYSTEM in Path(file).parts else file


def pytest_collection_finish() -> None:
    """The collector need not look at thousands of tests again and again, nor at a few hundred new objects at once."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
