"""Copies of this checkout with one change each, that a comparison has to find."""

import re
import shutil
import timeit
from pathlib import Path
from statistics import median
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[4]
_COPIED: Final = ("control_plane", "deploy", "dns_router", "edge_node", "lab", "loadtests", "origin", "proto")
_FORGETTING: Final = """
    _finds = 0
    _has_forgotten = False

    def _find_valid(self, key: CacheKey) -> tuple[Entry | None, Reason]:
        Cache._finds += 1
        entry, reason = self._find_valid_as_ever(key)
        if entry is not None and Cache._finds > 500 and not Cache._has_forgotten:
            Cache._has_forgotten = True
            return None, Reason.NOT_STORED
        return entry, reason

    def _find_valid_as_ever("""


def copied(folder: Path) -> Path:
    """The same build in another place."""
    for name in _COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def forgetful(folder: Path) -> Path:
    """Each cache forgets, once in its life, one response that it has."""
    return _changed(folder, "edge_node/storage/cache.py", r"\n    def _find_valid\(", _FORGETTING)


def slower(folder: Path, seconds: float) -> Path:
    """Each hit takes so much longer, all of it processor time."""
    loops = 10_000
    turn_seconds = median(timeit.repeat("for _ in range(100): pass", number=loops, repeat=21)) / loops / 100
    turns = round(seconds / turn_seconds)
    idle = f"        for _ in range({turns}):\n            pass\n        started_at = self._monotonic()\n"
    return _changed(folder, "edge_node/listeners/fast_path.py", r"        started_at = self\._monotonic\(\)\n", idle)


def _changed(folder: Path, name: str, pattern: str, text: str) -> Path:
    path = copied(folder) / name
    changed, count = re.subn(pattern, lambda _: text, path.read_text(), count=1)
    assert count == 1, f"{name} has no {pattern}: the change has to be written anew"
    path.write_text(changed)
    return folder
