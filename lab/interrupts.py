"""Ctrl-C, SIGTERM and a closed terminal all mean the same to a command in the foreground: clean up and end."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Each of them raises KeyboardInterrupt inside."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = [(number, signal.signal(number, interrupt)) for number in _ENDINGS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def endings() -> Iterator[Callable[[float], bool]]:
    """Gives a function that waits so many seconds and says whether one of them has come: nothing is cut off half done.

    The handler writes to a pipe, which is all that a handler may safely do while the program is anywhere.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = [(number, signal.signal(number, lambda *_: _write(writer))) for number in _ENDINGS]
    try:
        yield lambda seconds: bool(select.select([reader], [], [], seconds)[0])
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _write(writer: int) -> None:
    try:
        os.write(writer, b"!")
    except BlockingIOError:
        pass  # it has been said often enough


@contextmanager
def uninterrupted() -> Iterator[None]:
    """None of them is heard inside: an impatient second Ctrl-C must not leave half a lab running."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in _ENDINGS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
