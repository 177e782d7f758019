"""The streams of a command: a terminal, a pipe that somebody closes, a full disk, or nothing at all."""

import io
import os
import sys
from contextlib import suppress

_STANDARD_ERROR = 2


def prepare_streams() -> None:
    """Before anything is printed: a stream that is closed swallows it, and a character that an encoding lacks becomes a question mark."""
    _occupy_standard_descriptors()
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the program runs
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _occupy_standard_descriptors() -> None:
    """Else the next socket would be standard output to the programs that are started."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(descriptor)


def flush_output() -> None:
    """OSError when what was printed cannot be written; nobody tries again, and nothing complains at the exit."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()
        raise


def discard_output() -> None:
    """Whatever is printed from now on, or waits to be written, goes nowhere."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def complain(text: str) -> None:
    """On standard error, if it takes anything."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
