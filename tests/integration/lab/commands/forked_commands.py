"""Runs many commands as programs of their own, each in surroundings of its own, and loads what they need only once: a process that is forked.

Reads cases as JSON from standard input and prints what came of each: `{"line", "surroundings"}` -> `{"status", "told"}`.
"""

import json
import os
import shlex
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import lab.commands
from lab.cli import main as cdnlab

CHILD_SECONDS = 60
STATUS_OF_AN_UNFLUSHED_EXIT = 120
"""What Python itself ends with when what was printed cannot be written at the exit."""


def run_case(line: str, surroundings: str) -> dict[str, object]:
    """The exit status, and what was said on standard error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_the_command(line, surroundings, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        told = pipe.read().decode("utf-8", "replace")
    return {"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "told": told}


def _be_the_command(line: str, surroundings: str, writer: int) -> None:
    signal.alarm(CHILD_SECONDS)
    status: object = 1
    try:
        _surround(surroundings, writer)
        sys.argv = ["cdnlab", *shlex.split(line)]
        cdnlab()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
    except OSError:
        status = STATUS_OF_AN_UNFLUSHED_EXIT
    os._exit(status if isinstance(status, int) else 1)


def _surround(surroundings: str, writer: int) -> None:
    """As the program would find them at its start."""
    encoding = "ascii" if surroundings == "ascii" else "utf-8"
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open("/dev/full" if surroundings == "full" else os.devnull, os.O_WRONLY), 1)
    os.dup2(writer, 2)
    if surroundings == "pipe":
        gone, broken = os.pipe()
        os.close(gone)
        os.dup2(broken, 1)
    if surroundings == "folder-gone":
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)
    os.closerange(3, 64)
    if surroundings == "closed":
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        sys.stdin = sys.stdout = sys.stderr = None
        return
    sys.stdout = open(1, "w", encoding=encoding)  # noqa: SIM115 - until the process ends
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", buffering=1)  # noqa: SIM115


def main() -> None:
    for path in Path(lab.commands.__file__).parent.glob("*.py"):
        import_module(f"lab.commands.{path.stem}")
    results = [run_case(each["line"], each["surroundings"]) for each in json.load(sys.stdin)]
    with suppress(BrokenPipeError):
        print(json.dumps(results))


if __name__ == "__main__":
    main()
