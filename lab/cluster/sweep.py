"""Finds the processes of a lab by what they carry, not by what somebody managed to write down: a mark in their environment.

The mark is there from a process's first moment, so that one whose starter was interrupted before it could record it is found all the same.
Linux tells it from /proc, for processes of the same user; elsewhere nothing is found, and only what is recorded is known.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.cluster.process_identity import ProcessIdentity, identify

FOLDER_VARIABLE = "CDNLAB_STATE_FOLDER"
TOKEN_VARIABLE = "CDNLAB_LAB_TOKEN"  # noqa: S105 - no secret: it tells one lab from another
_PROC = Path("/proc")
# An environment is small; who has a larger one is none of ours.
_MAXIMUM_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Mark:
    """Which lab a process belongs to: the folder of its state, and a token that no other lab has, as a folder can be moved."""

    folder: str
    token: str

    def environment(self) -> dict[str, str]:
        return {FOLDER_VARIABLE: self.folder, TOKEN_VARIABLE: self.token}


@dataclass(frozen=True, slots=True)
class MarkedProcess:
    """A process of some lab, with the process that started it."""

    process: ProcessIdentity
    parent: int
    mark: Mark


def marked_processes(proc: Path = _PROC) -> list[MarkedProcess]:
    """Of all labs of this user on this machine. Containers, which have a file system of their own, are not looked into."""
    here = _namespace(proc / "self")
    return [
        MarkedProcess(identify(int(folder.name)), _parent(folder), mark)
        for folder in _folders(proc)
        if (mark := _mark(folder)) is not None and _namespace(folder) == here
    ]


def of_lab(marked: Iterable[MarkedProcess], folder: Path, token: str) -> list[MarkedProcess]:
    """Those of one lab; without a token, of whatever ran in the folder."""
    return [each for each in marked if (token and each.mark.token == token) or each.mark.folder == str(folder)]


def programs(marked: Iterable[MarkedProcess]) -> list[ProcessIdentity]:
    """Without the processes that others of them have started, which end with those."""
    listed = list(marked)
    pids = {each.process.pid for each in listed}
    return [each.process for each in listed if each.parent not in pids]


def _folders(proc: Path) -> Iterator[Path]:
    try:
        names = os.listdir(proc)
    except OSError:  # no such thing on this system
        return
    yield from (proc / name for name in names if name.isdigit())


def _mark(folder: Path) -> Mark | None:
    try:
        with (folder / "environ").open("rb") as file:
            text = file.read(_MAXIMUM_BYTES)
    except OSError:  # somebody else's, or gone
        return None
    if FOLDER_VARIABLE.encode() not in text:
        return None
    pairs = (variable.partition(b"=") for variable in text.split(b"\0"))
    values = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    if FOLDER_VARIABLE not in values:
        return None
    return Mark(values[FOLDER_VARIABLE], values.get(TOKEN_VARIABLE, ""))


def _namespace(folder: Path) -> str:
    """Of its file system: the same path elsewhere is another folder."""
    try:
        return os.readlink(folder / "ns" / "mnt")
    except OSError:
        return ""


def _parent(folder: Path) -> int:
    """Field 4 of proc(5) `stat`; 0 for one that is gone."""
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])
