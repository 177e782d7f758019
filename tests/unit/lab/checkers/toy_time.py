"""What the toy CDN is made of: virtual time in which processes wait, rows that are written down, and the values that its nodes keep."""

import heapq
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from lab.history.schema import TABLES

MS = 1_000_000
S = 1_000 * MS
HOST = "d1.cdn.localhost"
LEASE = 5 * S
MARGIN = 1 * S
NOTICE = 3_300 * MS
REGIONS = ("eu", "us")
Process = Generator[Any, Any, Any]

BUGS = (
    *(
        "deaf_to_invalidations",
        "beyond_ttl",
        "shares_private",
        "keeps_private",
        "tears",
        "mixes",
        "invents_version",
        "goes_back",
    ),
    *("forgets_acknowledged", "fetches_twice", "names_the_dead", "returns_too_early", "fails", "slow", "never_well"),
    *(
        "forgets_object",
        "forgets_invalidation",
        "reuses_index",
        "corrupts",
        "never_keeps",
        "routers_disagree",
        "lies_about_time",
    ),
)


@dataclass
class Answer:
    status: int
    path: str
    version: str | None = None
    produced: int | None = None
    checksum: int | None = None
    length: int = 0
    control: str | None = None
    identity: str | None = None
    age: int | None = None
    result: str = "miss"
    body: int | None = None
    received: int | None = None


@dataclass
class Entry:
    answer: Answer
    stored: int
    age: int
    stamp: int


@dataclass
class Flight:
    """A fill under way, and who waits for it."""

    stamp: int
    waiting: list[Process] = field(default_factory=list)
    answer: Answer | None = None


@dataclass
class Node:
    name: str
    role: str
    region: str
    address: str
    applied: int = 0
    acknowledged: int = 0
    is_up: bool = True
    life: int = 0
    last_heartbeat: int = 0
    invalid: list[tuple[int, str]] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    flights: dict[str, Flight] = field(default_factory=dict)


def lifetime_of(control: str) -> tuple[int, int]:
    """Freshness and stale-while-revalidate."""
    words = dict(each.partition("=")[::2] for each in control.replace(" ", "").split(","))
    return int(words.get("max-age", 0)) * S, int(words.get("stale-while-revalidate", 0)) * S


class VirtualTime:
    """Processes are generators that yield for how long they wait, or a flight whose answer they wait for."""

    def __init__(self, seed: int, seconds: int) -> None:
        self.rng = random.Random(seed)
        self.now, self.number = 1_000 * S, 0
        self.start, self.end = self.now, self.now + seconds * S
        self.queue: list[tuple[int, int, Process, Any]] = []
        self.rows: dict[str, list[dict[str, Any]]] = {table.name: [] for table in TABLES}

    def spawn(self, process: Process, delay: int = 0, value: Any = None) -> None:
        self.number += 1
        heapq.heappush(self.queue, (self.now + delay, self.number, process, value))

    def run_until_end(self) -> None:
        while self.queue and self.queue[0][0] < self.end:
            self.now, _, process, value = heapq.heappop(self.queue)
            self.step(process, value)

    def step(self, process: Process, value: Any) -> None:
        try:
            wanted = process.send(value)
        except StopIteration:
            return
        if isinstance(wanted, Flight):
            wanted.waiting.append(process)
        else:
            self.spawn(process, wanted)

    def row(self, table: str, **values: Any) -> dict[str, Any]:
        self.rows[table].append(values)
        return values

    def about(self, milliseconds: float) -> int:
        return round(milliseconds * MS * self.rng.uniform(0.7, 1.5))
