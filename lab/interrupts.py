"""Ctrl-C, SIGTERM and a closed terminal all mean the same to a command in the foreground: clean up and end."""

import signal
from collections.abc import Iterator
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
def uninterrupted() -> Iterator[None]:
    """None of them is heard inside: an impatient second Ctrl-C must not leave half a lab running."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in _ENDINGS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
