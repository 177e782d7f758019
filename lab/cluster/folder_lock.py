"""One command at a time changes the lab in a folder: an advisory lock (flock) on the folder itself, which ends with its holder.

The folder goes away with the lab, so whoever has waited for the lock looks whether it is still the same folder.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError

# Longer than taking a lab down lasts, which holds it longest.
WAIT_SECONDS = 15.0
_POLL_SECONDS = 0.02


@contextmanager
def folder_lock(path: Path, wait_seconds: float = WAIT_SECONDS) -> Iterator[bool]:
    """Whether the folder is there: where it is not, there is nothing to lock. LabError when another command holds it for too long."""
    descriptor = _acquire(path, time.monotonic() + wait_seconds)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def _acquire(path: Path, deadline: float) -> int | None:
    """An open descriptor that holds the lock; None when there is no folder."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        is_ours = False
        try:
            is_ours = _try_lock(descriptor) and _is_at(descriptor, path)
        finally:
            if not is_ours:
                os.close(descriptor)
        if is_ours:
            return descriptor
        if time.monotonic() >= deadline:
            raise LabError(f"another command is busy with the lab in {path}: wait for it, or end it")
        time.sleep(_POLL_SECONDS)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the folder that is locked is the one that has the name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
