"""Where the writers of a run put their files, and who may touch them: whoever makes the run holds them until it is over, also when it is killed."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.history.reader import HISTORY_FOLDER

RAW_FOLDER: Final = "raw"
_LOCK = ".lock"


class RunGoesOnError(LabError):
    """The files are still being written."""


def raw_folder(run_directory: Path) -> Path:
    """Of all writers of a run, each with a folder of its own."""
    return run_directory / HISTORY_FOLDER / RAW_FOLDER


def has_raw_files(run_directory: Path) -> bool:
    """Whether there is something to archive."""
    return any(each.suffix in (".tsv", ".blocks") for each in raw_folder(run_directory).glob("*/*"))


def forget_run_before(run_directory: Path) -> None:
    """A folder may be used again: nothing of the history that is there is to be judged with the next one. For who holds it."""
    for table in (run_directory / HISTORY_FOLDER).glob("*.parquet"):
        table.unlink()
    for writer in raw_folder(run_directory).iterdir():
        if writer.is_dir():
            shutil.rmtree(writer)


@contextmanager
def held(run_directory: Path) -> Iterator[Path]:
    """The raw folder, for one process: who makes the run, or who archives it. RunGoesOnError when another one has it; OSError where it cannot be made.

    The lock is the system's, and ends with the process.
    """
    folder = raw_folder(run_directory)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunGoesOnError(
                f"the run in {run_directory} goes on: its folder and its history are free when it is over"
            ) from error
        yield folder
