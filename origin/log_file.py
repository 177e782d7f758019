"""The file of --request-log: JSON lines, written in batches in a thread, at most two files of a bounded size.

The only place that touches the disk. A disk that refuses costs lines, never answers.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TextIO

from origin.errors import StartError

FLUSH_SECONDS = 0.5
MAX_FILE_BYTES = 256 << 20

_log = logging.getLogger("origin")


class LineSource(Protocol):
    """Where the lines come from."""

    def take_lines(self) -> Iterable[str]:
        """The lines that wait, which wait no longer."""


class LogFile:
    """Appended to, and moved aside as NAME.1 when it is full."""

    def __init__(self, path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        try:
            self._file = self._open()
        except OSError as error:
            raise StartError(f"cannot write the request log {path}: {str(error.strerror).lower()}") from error

    def close(self) -> None:
        """No more lines."""
        self._file.close()

    def write(self, lines: Iterable[str]) -> None:
        """Append the lines."""
        try:
            self._file.writelines(lines)
            self._file.flush()
            if self._file.tell() >= self._max_bytes:
                self._file.close()
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._file = self._open()
        except (OSError, ValueError) as error:  # ValueError: the file could not be opened again before
            _log.error("cannot write the request log %s: %s", self._path, error)

    def _open(self) -> TextIO:
        return self._path.open("a", encoding="utf-8")


async def keep_writing(source: LineSource, file: LogFile, ended: asyncio.Event) -> None:
    """Write what waits, twice a second and once more at the end."""
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await ended.wait()
        await asyncio.to_thread(file.write, source.take_lines())
