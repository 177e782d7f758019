"""Where runs leave their results: runs/NAME, the newest last in the alphabet."""

import errno
import os
import time
from pathlib import Path

from lab.errors import LabError, UsageError

RUNS = Path("runs")
LATEST = "latest"


def new_run_directory(kind: str, parent: Path = RUNS) -> Path:
    """A folder that does not exist yet, named by the time and by what is run."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}"
    number = 1
    while (path := parent / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return path


def make_run_directory(path: Path) -> None:
    """Before anything is begun for it. LabError when the system refuses."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    except OSError as error:
        raise LabError(
            f"the results cannot be written to {path}: {error.strerror}; give another folder with --run"
        ) from error


def find_run(name: str) -> Path:
    """A folder as given, a name under runs/, or the newest. UsageError when there is none."""
    names = sorted(path.name for path in RUNS.iterdir() if path.is_dir()) if RUNS.is_dir() else []
    if name == LATEST and names:
        return RUNS / names[-1]
    for path in (RUNS / name, Path(name)):
        if name != LATEST and path.is_dir():
            return path
    raise UsageError(f"no run {name!r}: there are {', '.join(names) or 'none in runs/'}")
