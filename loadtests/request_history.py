"""What a Locust process adds to the history of a run: a row of `requests` for each request, and rows of `lives` and `lateness` for itself (docs/history.md).

Rows reach the kernel every FLUSH_SECONDS, by a greenlet, so that a process that is killed loses no more than the last of them. Each process has files of its own:
`requests.blocks` when there is one, `requests-1.blocks` and so on of the workers of a master, which asks for nothing and writes none.

A request costs the load as little as can be: what was seen is put aside, a hundred or so are packed together, and rows are made of it when the load is over.
"""

import secrets
from pathlib import Path

import gevent

from loadtests.block_file import BlockFile
from loadtests.connection import Request
from loadtests.exchange import Exchange
from loadtests.request_columns import Person, Seen, columns_of, seen_of
from loadtests.request_row import Asker
from proto.history_file import FLUSH_SECONDS, HistoryFile
from proto.history_recorder import LIFE_SECONDS, LIVES_COLUMNS
from proto.host_clock import host_nanoseconds
from proto.moments import NANOSECONDS_PER_SECOND

_FLUSH_NS = round(FLUSH_SECONDS * NANOSECONDS_PER_SECOND)
_LIFE_NS = round(LIFE_SECONDS * NANOSECONDS_PER_SECOND)
LATENESS_COLUMNS = ("node", "at_ns", "late_ns")
_PACKED_AT_ONCE = 128
"""Requests: enough to be quick, and so few that what was seen of them is still in the processor's caches. Tenths of a second of them cost twice as much."""


class RequestHistory:
    """The files of one process, from its start to its end."""

    def __init__(self, folder: Path, name: str, worker: int, boot_id: str) -> None:
        """`name`: of the load generator, no other of a run has it. `worker` counts from 1; 0: without a master. OSError when the files cannot be opened."""
        folder.mkdir(parents=True, exist_ok=True)
        suffix = f"-{worker}" if worker else ""
        who = name if name.startswith("load") else f"load-{name}"
        self.prefix = f"{who}-{worker}-"
        self.seen: list[Seen] = []
        """Since the last `pack`."""
        self._who = (f"{who}{suffix}", boot_id, secrets.token_hex(6))
        self._started_ns = self._written_ns = self._next_life_ns = host_nanoseconds()
        self._requests = BlockFile(folder / f"requests{suffix}.blocks", self.prefix)
        self._lives = HistoryFile(folder / f"lives{suffix}.tsv", LIVES_COLUMNS)
        self._lateness = HistoryFile(folder / f"lateness{suffix}.tsv", LATENESS_COLUMNS)
        self._late_ns = 0
        self.flush()
        self._flusher = gevent.spawn(self._flush_forever)

    def of_person(self, user: int, person: int, asker: Asker) -> "PersonHistory":
        """Of one of those who take the seat of one user; what the asker is called is given here."""
        return PersonHistory(self, asker._replace(viewer=f"{self.prefix}{user}.{person}"))

    def pack(self) -> None:
        """Of what was seen a block is made, and the rest of it let go."""
        numbers, pieces = columns_of(self.seen)
        self.seen.clear()
        self._requests.add(numbers, pieces)

    def flush(self) -> None:
        """Hands all that was added to the kernel."""
        self._write(is_ended=False)

    def close(self) -> None:
        """In order: what is written says so."""
        self._flusher.kill()
        self._write(is_ended=True)
        self._requests.close()
        self._lives.close()
        self._lateness.close()

    def _flush_forever(self) -> None:
        """At fixed times, so that what a flush takes makes none of them later."""
        due_ns = host_nanoseconds()
        while True:
            now_ns = host_nanoseconds()
            due_ns = max(due_ns + _FLUSH_NS, now_ns)
            gevent.sleep((due_ns - now_ns) / NANOSECONDS_PER_SECOND)
            self._late_ns = max(self._late_ns, host_nanoseconds() - due_ns)
            self.flush()

    def _write(self, *, is_ended: bool) -> None:
        """All that has been added; and, each second, until when that is all that there was."""
        seen_ns = host_nanoseconds()
        self.pack()
        self._requests.flush()
        if not self._requests.is_behind:
            self._written_ns = seen_ns
        if is_ended or seen_ns >= self._next_life_ns:
            self._next_life_ns = seen_ns + _LIFE_NS
            times = (self._started_ns, self._written_ns)
            self._lives.add((*self._who, *times, is_ended, self._requests.dropped_rows))
            self._lateness.add((self._who[0], seen_ns, self._late_ns))
            self._late_ns = 0
        self._lives.flush()
        self._lateness.flush()


class PersonHistory:
    """Rows of the requests of one person."""

    def __init__(self, history: RequestHistory, asker: Asker) -> None:
        self._history = history
        self._person = Person(asker)

    def add(self, intended_ns: int, request: Request, exchange: Exchange, error: str) -> None:
        """A request that is over."""
        seen = self._history.seen
        seen.append(seen_of(self._person, intended_ns, request, exchange, error))
        if len(seen) >= _PACKED_AT_ONCE:
            self._history.pack()
