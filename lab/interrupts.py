"""Ctrl-C, SIGTERM and a closed terminal all mean the same to a command in the foreground: clean up and end."""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Each of them raises KeyboardInterrupt inside."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = _replace(interrupt)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def interruptible_once(tell: Callable[[], None]) -> Iterator[None]:
    """The first of them calls `tell` and raises KeyboardInterrupt; the others are ignored, so that an impatient second one does not cut off what cleans up.

    `tell` is called in the handler: it may take no lock.
    """
    heard: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        if len(heard) == 1:
            tell()
            raise KeyboardInterrupt

    before = _replace(interrupt)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def endings() -> Iterator[Callable[[float], bool]]:
    """Gives a function that waits so many seconds and says whether one of them has come: nothing is cut off half done.

    The handler writes to a pipe, which is all that a handler may safely do while the program is anywhere.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = _replace(lambda *_: _write(writer))
    try:
        yield lambda seconds: bool(select.select([reader], [], [], seconds)[0])
    finally:
        _restore(before)
        os.close(reader)
        os.close(writer)


def _write(writer: int) -> None:
    with suppress(BlockingIOError):  # the pipe is full: it has been said often enough
        os.write(writer, b"!")


def _replace(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> list[tuple[signal.Signals, Any]]:
    """Installs a handler for all endings and gives those before. Under nohup a closed terminal stays ignored; only the main thread hears of endings."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [
        (number, signal.signal(number, handler))
        for number in _ENDINGS
        if not (number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN)
    ]


def _restore(before: list[tuple[signal.Signals, Any]]) -> None:
    for number, handler in before:
        signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """None of them is heard inside: an impatient second Ctrl-C must not leave half a lab running."""
    before = _replace(signal.SIG_IGN)
    try:
        yield
    finally:
        _restore(before)
