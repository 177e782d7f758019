"""How a program of the lab is started as a process of its own, that goes on when whoever started it has ended."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

import lab

_PASSED_ON = ("PATH", "HOME", "TMPDIR", "TZ", "SYSTEMROOT", "CDNLAB_EDGE_CODE")
# gRPC's own library writes lines about ordinary ends of streams among the node's log lines.
_SET = {"GRPC_VERBOSITY": "ERROR"}


class Child(Protocol):
    """The part of `subprocess.Popen` that a lab needs of a process that it has started."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...


Launch = Callable[[Sequence[str], IO[bytes], Mapping[str, str]], Child]
"""Starts a command with an environment; what it prints goes to a file."""


def launch(command: Sequence[str], log: IO[bytes], environment: Mapping[str, str]) -> Child:
    """As a program of its own."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=importable_from(),
        env=environment,
        start_new_session=True,
    )


def environment() -> dict[str, str]:
    """Of a program of the lab."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _SET


def importable_from() -> Path:
    """Where the programs can be imported from; `python -m` looks in the current folder first."""
    return Path(lab.__file__).resolve().parent.parent
