"""Copies of the control plane's database, and putting one in place: `python -m control_plane.backup`, which `cdnlab backup` and `cdnlab restore` run.

A copy is one file, made with SQLite's own backup, so that it is of one moment however much is written meanwhile. It carries a mark, and whoever opens it becomes
another log (`store.py`), also when it was put in place by hand: what nodes have applied since is not in it, and no index of it may be compared with theirs.
"""

import argparse
import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from control_plane.database import DATABASE_NAME
from control_plane.store import COPY_MARK

BUSY_SECONDS = 5.0
"""How long a writer may keep the database."""

_TABLES = frozenset({"meta", "documents", "log", "resources", "nodes", "receipts"})


class BackupError(Exception):
    """Nothing has been changed; the message says why."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy holds, for people."""

    log_id: str
    """Of the log that it was made of; never the one of a control plane that is started on it."""
    head_index: int
    distributions: int


def take(folder: Path, file: Path) -> Contents:
    """Copy the database in `folder`, also of a control plane that runs, to a file that is not there yet. Raises BackupError."""
    source = folder / DATABASE_NAME
    if not source.is_file():
        raise BackupError(f"{folder} holds no database of a control plane")
    if not file.parent.is_dir():
        raise BackupError(f"{file.parent} is no folder")
    if file.exists():
        raise BackupError(f"{file} is there already")
    return _copy(source, file)


def check(file: Path) -> Contents:
    """What `put` would put in place. Raises BackupError for what is no database of a control plane."""
    if not file.is_file():
        raise BackupError(f"{file} is no file")
    with _translated(file), _opened(file) as database:
        return _read_contents(database, file)


def put(file: Path, folder: Path) -> Contents:
    """Have a copy of `file` in place of the database in `folder`, which no process may have open. Killed anywhere it leaves the one or the other. Raises BackupError."""
    check(file)
    target = folder / DATABASE_NAME
    unfinished = target.with_suffix(".restored")
    with _translated(folder):
        unfinished.unlink(missing_ok=True)
        contents = _copy(file, unfinished)
        _fold_write_ahead_log(target)
        unfinished.replace(target)
        _flush_folder(folder)
    return contents


def _copy(source: Path, target: Path) -> Contents:
    """A whole and marked copy, on the disk when this returns; none when it raises."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        with _translated(source), _opened(source) as original:
            original.execute("BEGIN")  # what is read and what is copied are of one moment
            contents = _read_contents(original, source)
            with _translated(target):
                unfinished.unlink(missing_ok=True)
                _write_marked(original, unfinished)
                unfinished.replace(target)
                _flush_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return contents


def _read_contents(database: sqlite3.Connection, path: Path) -> Contents:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= _TABLES:
        raise BackupError(f"{path} is a database, but not of a control plane")
    (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        raise BackupError(f"{path} is damaged: {state}")
    (log_id,) = database.execute("SELECT value FROM meta WHERE key = 'log_id'").fetchone() or ("",)
    (head_index,) = database.execute('SELECT coalesce(max("index"), 0) FROM log').fetchone()
    (distributions,) = database.execute("SELECT count(*) FROM documents WHERE kind = 'distribution'").fetchone()
    return Contents(log_id, head_index, distributions)


def _write_marked(original: sqlite3.Connection, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as copy:
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing of it in another
        copy.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, '')", (COPY_MARK,))
        copy.commit()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _fold_write_ahead_log(path: Path) -> None:
    """Whatever lies in the write-ahead log of a database would be read into the one that takes its place."""
    with contextlib.suppress(sqlite3.Error), _opened(path) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Never created: a missing file is an error."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", BUSY_SECONDS, uri=True)) as database:
        yield database


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(f"{path} cannot be used as a database: {error}") from error
    except OSError as error:
        raise BackupError(f"{path} cannot be used: {(error.strerror or str(error)).lower()}") from error


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _carry_out(flags: argparse.Namespace) -> Contents:
    match flags.command:
        case "take":
            return take(flags.state_dir, flags.file)
        case "put":
            return put(flags.file, flags.state_dir)
        case _:
            return check(flags.file)


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 with the contents as JSON on standard output, 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m control_plane.backup", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    taking = commands.add_parser("take", help="copy the database of a control plane, which may run")
    putting = commands.add_parser(
        "put", help="put a copy in place of the database of a control plane that does not run"
    )
    checking = commands.add_parser("check", help="see whether a copy could be put in place")
    for command in (taking, putting):
        command.add_argument("--state-dir", required=True, type=Path, metavar="DIR", help="of the control plane")
    for command in (taking, putting, checking):
        command.add_argument("--file", required=True, type=Path, metavar="FILE", help="the copy")
    flags = parser.parse_args(arguments)
    try:
        contents = _carry_out(flags)
    except BackupError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(contents)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
