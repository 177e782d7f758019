"""The history that a program keeps while a run asks for it (`--history DIR`): one file of rows for each of its tables (lab/history/schema.py), `DIR/TABLE.tsv`.

    POST /history     {"run", "lease_seconds"}: begins, or renews the lease; 200 with the state; 400, 503 where the files cannot be opened
    DELETE /history   ends it; 200 with the state
    GET /history      200 with the state: {"state", "run", "lease_remaining_seconds", "rows": {table: how many}, "dropped_rows"}

A new run begins with empty files. The lease stands in `DIR/recording.json`, so that a process that is started within it, also after kill -9, goes on at once with
the files that are there. When the lease is over, the recording is: nobody has to remember to end it. What has been added is the kernel's every FLUSH_SECONDS.
Each second there is a row in `lives`: all that this process has seen until `last_ns` is written.

Moments are of the host's clock as it is, also in a program that was told to believe in another one. A program without the flag has no recorder.
"""

import asyncio
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from proto.history_file import FLUSH_SECONDS, HistoryFile, Value
from proto.history_lease import HistoryLease, UnusableHistoryRequestError, read_lease, read_request
from proto.host_clock import host_nanoseconds, read_clock_id
from proto.moments import NANOSECONDS_PER_SECOND

RECORDING_FILE: Final = "recording.json"
LIVES: Final = "lives"
LIVES_COLUMNS: Final = ("node", "boot_id", "process", "started_ns", "last_ns", "is_ended", "dropped_rows")
LIFE_SECONDS: Final = 1.0
"""Between two rows of `lives`."""

_PATH: Final = "/history"
_TEXT, _JSON = "text/plain; charset=utf-8", "application/json"
_logger = logging.getLogger(__name__)

Answer = tuple[int, str, bytes]
"""Status, content type, body."""
Row = tuple[Value, ...]


class HistoryRecorder:
    """One process's recording. To be used on its event loop."""

    def __init__(
        self,
        folder: Path,
        node: str,
        tables: Mapping[str, Sequence[str]],
        clock: Callable[[], int] = host_nanoseconds,
        boot_id: str | None = None,
    ) -> None:
        """`tables`: their columns, beside those of `lives`. OSError for a folder that cannot be made. Nothing is recorded before `resume` or a request."""
        self.node: Final = node
        self.clock: Final = clock
        """Nanoseconds of the host's clock."""
        self._folder = folder
        self._tables = {**tables, LIVES: LIVES_COLUMNS}
        self._boot_id = read_clock_id() if boot_id is None else boot_id
        self._process = secrets.token_hex(6)
        self._files: dict[str, HistoryFile] = {}
        """Those of the recording that is under way."""
        self._lease: HistoryLease | None = None
        """The newest, also when it is over."""
        self._started_ns = self._written_ns = self._next_life_ns = 0
        self._when_begun: list[Callable[[], None]] = []
        self._before_flush: list[Callable[[], None]] = []
        self._has_begun = asyncio.Event()
        folder.mkdir(parents=True, exist_ok=True)

    # -- for the program

    @property
    def is_recording(self) -> bool:
        """Whether rows go anywhere."""
        return bool(self._files)

    def when_begun(self, listener: Callable[[], None]) -> None:
        """Have somebody called when a recording has begun: to write down what holds already."""
        self._when_begun.append(listener)

    def before_flush(self, listener: Callable[[], None]) -> None:
        """Have somebody called before files are written who adds rows in batches."""
        self._before_flush.append(listener)

    def resume(self) -> None:
        """Go on with the recording of the process before, if its lease is not over. To be called before anybody is served; never fails."""
        try:
            self._lease = read_lease((self._folder / RECORDING_FILE).read_bytes())
        except FileNotFoundError:
            return
        except OSError as error:
            _logger.warning("which history was being recorded cannot be read: %s", error)
            return
        if self._lease is not None and not self._lease.is_over(self._boot_id, self.clock()):
            try:
                self._begin()
            except OSError as error:
                _logger.warning("the history of %s cannot be gone on with: %s", self._lease.run, error)

    def add(self, table: str, row: Row) -> None:
        """One row, while there is a recording."""
        file = self._files.get(table)
        if file is not None:
            file.add(row)

    def add_all(self, table: str, rows: Iterable[Row]) -> None:
        """Many rows, while there is a recording."""
        file = self._files.get(table)
        if file is not None:
            for row in rows:
                file.add(row)

    def add_lines(self, table: str, lines: Sequence[str]) -> None:
        """Rows that are text already (`HistoryFile.add_lines`), while there is a recording."""
        file = self._files.get(table)
        if file is not None:
            file.add_lines(lines)

    async def run(self) -> None:
        """Write until cancelled; asleep while nothing is recorded."""
        while True:
            await self._has_begun.wait()
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                self.flush()
            except Exception:
                _logger.exception("internal error while writing the history")

    def flush(self) -> None:
        """Hand what has been added to the kernel; end the recording when its lease is over."""
        if not self._files:
            return
        lease = self._lease
        if lease is None or lease.is_over(self._boot_id, self.clock()):
            self._end()
        else:
            self._write(is_ended=False)

    def close(self) -> None:
        """The program ends in order. The lease stays, so that the next process goes on."""
        self._end()

    # -- for the admin port

    def answer(self, method: str, path: str, body: bytes) -> Answer | None:
        """One request; None for another path."""
        match method, path:
            case "GET", "/history":
                return self._state()
            case "POST", "/history":
                return self._begin_or_renew(body)
            case "DELETE", "/history":
                self._end()
                return self._given_up() or self._state()
            case _, "/history":
                return 405, _TEXT, b"there are GET, POST and DELETE /history\n"
        return None

    def _begin_or_renew(self, body: bytes) -> Answer:
        try:
            request = read_request(body)
        except UnusableHistoryRequestError as error:
            return 400, _TEXT, f"{error}\n".encode()
        if not self._boot_id:
            return 503, _TEXT, b"the clock of this machine has no boot id: its moments cannot be compared\n"
        is_new = self._lease is None or self._lease.run != request.run
        until_ns = self.clock() + round(request.lease_seconds * NANOSECONDS_PER_SECOND)
        lease = HistoryLease(request.run, self._boot_id, until_ns)
        try:
            if is_new:
                self._end()
                self._remove_files()
            self._keep(lease)
            self._lease = lease
            if not self._files:
                self._begin()
        except OSError as error:
            return 503, _TEXT, f"the history cannot be written: {error.strerror or error}\n".encode()
        return self._state()

    def _given_up(self) -> Answer | None:
        """The lease is over at once, also for a process that is started later."""
        if self._lease is not None:
            try:
                self._keep(HistoryLease(self._lease.run, self._lease.boot_id, 0))
            except OSError as error:
                return 503, _TEXT, f"the end cannot be written: {error.strerror or error}\n".encode()
            self._lease = HistoryLease(self._lease.run, self._lease.boot_id, 0)
        return None

    def _state(self) -> Answer:
        lease = self._lease
        document = {
            "state": "recording" if self._files else "idle",
            "run": None if lease is None else lease.run,
            "lease_remaining_seconds": round(lease.remaining_seconds(self.clock()), 3)
            if lease is not None and self._files
            else 0.0,
            "rows": {name: file.rows for name, file in sorted(self._files.items())},
            "dropped_rows": self._dropped_rows(),
        }
        return 200, _JSON, json.dumps(document).encode() + b"\n"

    # -- inside

    def _begin(self) -> None:
        """OSError when a file cannot be opened; then there is no recording."""
        opened: dict[str, HistoryFile] = {}
        try:
            for name, columns in self._tables.items():
                opened[name] = HistoryFile(self._folder / f"{name}.tsv", columns)
        except OSError:
            for file in opened.values():
                file.close()
            raise
        self._files = opened
        self._started_ns = self._written_ns = self._next_life_ns = self.clock()
        self._has_begun.set()
        _call(self._when_begun)
        self._write(is_ended=False)

    def _end(self) -> None:
        if not self._files:
            return
        self._has_begun.clear()
        self._write(is_ended=True)
        files, self._files = self._files, {}
        for file in files.values():
            file.close()

    def _write(self, *, is_ended: bool) -> None:
        """All that has been added, and then, when it is time, until when that is all that there was."""
        seen_ns = self.clock()
        _call(self._before_flush)
        lives = self._files[LIVES]
        others = [file for file in self._files.values() if file is not lives]
        for file in others:
            file.flush()
        if not any(file.is_behind for file in others):
            self._written_ns = seen_ns
        if is_ended or seen_ns >= self._next_life_ns:
            self._next_life_ns = seen_ns + round(LIFE_SECONDS * NANOSECONDS_PER_SECOND)
            times = (self._started_ns, self._written_ns)
            lives.add((self.node, self._boot_id, self._process, *times, is_ended, self._dropped_rows()))
        lives.flush()

    def _dropped_rows(self) -> int:
        return sum(file.dropped_rows for file in self._files.values())

    def _keep(self, lease: HistoryLease) -> None:
        """Whole or not at all."""
        path = self._folder / RECORDING_FILE
        beside = path.with_name(path.name + ".new")
        beside.write_bytes(lease.encode())
        os.replace(beside, path)

    def _remove_files(self) -> None:
        """Those of another run."""
        for name in self._tables:
            (self._folder / f"{name}.tsv").unlink(missing_ok=True)


def _call(listeners: Iterable[Callable[[], None]]) -> None:
    """A mistake of one costs its rows, and not the program."""
    for listener in listeners:
        try:
            listener()
        except Exception:
            _logger.exception("internal error while writing the history")
