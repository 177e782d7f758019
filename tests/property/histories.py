"""Histories of viewers, an origin, failures and clock steps, driven through the real pipeline; who judges the answers is a subclass of `Watch`.

Every answer of the origin names itself in its body (`X-Id`) and in the version of its fields (`Content-Location`), so that what a viewer gets tells where it came from.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import oracle_rfc9111 as oracle
from tests.conversations.dialogue import Answer, Fetch, Node, Viewer, flush
from tests.depth import examples
from tests.fuzz.strict_http import read_request_head
from tests.property.edge_node.caching.test_rfc9111_properties import ANSWERED_FIELDS, ASKED, REQUEST_FIELDS, STATUSES
from tests.property.edge_node.caching.test_rfc9111_properties import Answer as Said
from tests.turns import settle

NOW = 1_800_000_000.0
MATTERS = ("x-a", "accept-language", "accept", "cache-control", "pragma", "authorization")
RETRY_SECONDS = 10.0
"""For so long after a failure a stale response may be served stale again: the origin counts as out of reach."""


@dataclass(frozen=True)
class Ask:
    """A viewer's request at one of the edges, and what the origin would say to it."""

    edge: int
    asked: oracle.Request
    said: Said
    also: oracle.Request | None = None
    """At the same moment, by somebody else."""

    @property
    def all_asked(self) -> tuple[oracle.Request, ...]:
        """Nothing can be said of a write and a read at the same moment."""
        is_write = self.asked.method not in ("GET", "HEAD")
        return (self.asked,) if self.also is None or is_write else (self.asked, self.also)


SAID = st.builds(
    Said, STATUSES, ANSWERED_FIELDS, st.sampled_from([0.0, 0.0, 0.5, 15.0]), st.sampled_from(["whole", "whole", "not modified", "not modified", "lost"])
)  # fmt: skip
READS = ASKED.filter(lambda asked: asked.method in ("GET", "HEAD"))
OTHER_READS = REQUEST_FIELDS.map(lambda fields: oracle.Request("GET", "/a", tuple(fields.items())))
STEPS = st.lists(
    st.one_of(
        st.builds(Ask, st.integers(0, 1), ASKED, SAID),
        st.builds(Ask, st.integers(0, 1), ASKED, SAID, READS),
        st.builds(Ask, st.integers(0, 1), OTHER_READS, SAID, OTHER_READS),
        st.builds(Ask, st.just(0), st.just(oracle.Request("GET", "/a")), SAID),
        st.sampled_from([0.5, 1.0, 4.0, 9.5, 10.0, 11.0, 30.0, 100.0]),
    ),
    min_size=3,
    max_size=12,
)


# -- the origin, which knows what it said


@dataclass
class Version:
    """A representation under the fields that its last validation left."""

    id: int
    witness: oracle.Stored
    is_confirmed: bool


@dataclass
class Exchange:
    """What came of one request to the origin."""

    asked: oracle.Request
    id: int | None = None
    """Of the representation that it gave or confirmed; None: it was lost."""
    is_whole: bool = False
    status: int = 0
    version: int = 0


@dataclass
class Origin:
    """Answers fetches, and keeps what it said."""

    now: Callable[[], float]
    passes: Callable[[float], None]
    counter: int = 0
    versions: dict[int, list[Version]] = field(default_factory=dict)
    """By the number in Content-Location; several where it is not known which fields were updated."""
    by_validator: dict[str, int] = field(default_factory=dict)

    def answers(self, fetch: Fetch, said: Said) -> Exchange:
        asked, asked_at = asked_by(fetch), self.now()
        self.passes(said.delay_seconds)
        if said.kind == "lost":
            fetch.fails()
            return Exchange(asked)
        self.counter += 1
        named = [fetch.request[name] for name in ("if-none-match", "if-modified-since") if name in fetch.request]
        revalidated = next((self.by_validator[value] for value in named if value in self.by_validator), None)
        if said.kind == "not modified" and revalidated is not None and fetch.method != b"POST":
            return self._confirms(fetch, asked, (said, asked_at, revalidated))
        fields = (*self._fields(said, self.counter), ("X-Id", str(self.counter)))
        witness = oracle.Stored(asked, said.status, fields, asked_at, self.now())
        self.versions[self.counter] = [Version(self.counter, witness, False)]
        for name, value in fields:
            if name in ("etag", "last-modified"):
                self.by_validator[value] = self.counter
        body = body_of(self.counter)
        if said.status in (204, 304):
            fetch.begins(said.status, *fields).ends()
        elif fetch.method == b"HEAD":
            fetch.begins(said.status, *fields, ("content-length", str(len(body)))).ends()
        else:
            fetch.answers(said.status, body, *fields)
        return Exchange(asked, self.counter, True, said.status, self.counter)

    def _confirms(self, fetch: Fetch, asked: oracle.Request, what: tuple[Said, float, int]) -> Exchange:
        said, asked_at, number = what
        fields = tuple(pair for pair in self._fields(said, self.counter) if pair[0] not in ("etag", "last-modified"))
        etag = next((value for value, known in self.by_validator.items() if known == number and '"' in value), None)
        if etag is not None and dict(said.fields).get("etag") == '"1"':
            fields = (*fields, ("etag", etag))
        update = oracle.Stored(asked, 304, fields, asked_at, self.now())
        before = [version for versions in self.versions.values() for version in versions if version.id == number]
        # The request that validated selects it as well as the one that stored it: the origin has just said so.
        self.versions[self.counter] = [
            Version(
                number,
                oracle.validated(oracle.Stored(request, v.witness.status, v.witness.fields, 0.0, 0.0), update),
                True,
            )
            for v in before
            for request in (v.witness.request, asked)
        ]
        fetch.confirms(*fields)
        return Exchange(asked, number, False, 304, self.counter)

    def _fields(self, said: Said, number: int) -> oracle.Fields:
        """What it says now; validators that belong to nothing else."""
        fields = [("Content-Location", f"/v/{number}")]
        for name, value in said.fields:
            if name == "etag":
                fields.append((name, f'W/"{number}"' if str(value).startswith("W/") else f'"{number}"'))
            elif name == "last-modified":
                if isinstance(value, int):
                    fields.append((name, formatdate(NOW + value - 1_000 * number, usegmt=True)))
            else:
                fields.append((name, formatdate(self.now() + value, usegmt=True) if isinstance(value, int) else value))
        return tuple(fields)


def asked_by(fetch: Fetch) -> oracle.Request:
    """The request as it reached the origin, as far as it matters."""
    target = read_request_head(fetch.targets[0].request + b"\r\n").target
    fields = tuple((name, value) for name, value in fetch.request.items() if name in MATTERS)
    return oracle.Request(fetch.method.decode(), target.decode(), fields)


def body_of(number: int) -> bytes:
    """No two are of one length, by which the answer to a HEAD would be taken for the same (RFC 9111 section 4.3.5)."""
    return b"representation %d " % number + b"." * (3 * number)


# -- a network under test, and who watches it


@dataclass
class Passed:
    """What an edge has seen of one target."""

    latest: oracle.Stored | None = None
    """The last whole response, where a plain request would find it if it may be reused at all."""
    seen: list[oracle.Stored] = field(default_factory=list)
    invalidated: set[int] = field(default_factory=set)
    """Made invalid by a write (RFC 9111 section 4.4)."""


@dataclass
class Watch:
    """Plays a history and judges every answer."""

    edges: list[Node]
    asked_of: Node
    """The tier whose fetches go to the origin."""
    tolerance_seconds: float
    """Age has whole seconds: each hop may make a response younger by less than one."""
    origin: Origin = field(init=False)
    stats: Counter[str] = field(default_factory=Counter)
    passed: dict[tuple[int, str], Passed] = field(default_factory=dict)
    failed_at: dict[str, float] = field(default_factory=dict)
    answered: int = 0

    def __post_init__(self) -> None:
        self.origin = Origin(lambda: self.edges[0].now, self.passes)

    def passes(self, seconds: float) -> None:
        for node in {*self.edges, self.asked_of}:
            node.now += seconds

    @property
    def now(self) -> float:
        return self.edges[0].now

    async def plays(self, step: Ask) -> None:
        """One viewer, or two at the same moment."""
        edge, began_at = step.edge % len(self.edges), self.now
        viewers = [self.edges[edge].viewer() for _ in step.all_asked]
        for viewer, asked in zip(viewers, step.all_asked, strict=True):
            viewer.asks(asked.target, *asked.fields, method=asked.method)
        exchanges: list[Exchange] = []
        ends = [(0, began_at) if viewer.is_done else None for viewer in viewers]
        while not await self._are_answered(viewers):
            ends = [
                end or ((len(exchanges), self.now) if v.is_done else None) for end, v in zip(ends, viewers, strict=True)
            ]
            exchanges.append(self._origin_answers(step.said if not exchanges else Said(200, (), 0.0, "whole")))
        for viewer, asked, end in zip(viewers, step.all_asked, ends, strict=True):
            count, answered_at = end or (len(exchanges), self.now)
            self.judge(Outcome(edge, asked, viewer.so_far(), exchanges[:count], began_at, answered_at))
        for node in (*self.edges, self.asked_of):
            node.records.all.clear()
        for exchange in exchanges:
            self.note(edge, exchange)
        while len(self.asked_of.fetcher.fetches) > self.answered:  # a refresh in the background
            exchange = self._origin_answers(step.said)
            await settle()
            self.note(edge, exchange)

    async def _are_answered(self, viewers: list[Viewer]) -> bool:
        fetches = self.asked_of.fetcher.fetches
        await flush(lambda: all(viewer.is_done for viewer in viewers) or len(fetches) > self.answered)
        await settle()
        assert not any(viewer.is_cut for viewer in viewers)
        return all(viewer.is_done for viewer in viewers)

    def _origin_answers(self, said: Said) -> Exchange:
        fetch = self.asked_of.fetcher.fetches[self.answered]
        self.answered += 1
        exchange = self.origin.answers(fetch, said)
        if exchange.id is None or exchange.status >= 500:
            self.failed_at[exchange.asked.target] = self.now
        return exchange

    def of(self, edge: int, target: str) -> Passed:
        return self.passed.setdefault((edge, target), Passed())

    def judge(self, outcome: "Outcome") -> None:
        raise NotImplementedError

    def note(self, edge: int, exchange: Exchange) -> None:
        """What an edge has seen pass."""
        raise NotImplementedError


@dataclass
class Outcome:
    """One request and what came of it."""

    edge: int
    asked: oracle.Request
    answer: Answer
    exchanges: list[Exchange]
    began_at: float
    answered_at: float

    @property
    def id(self) -> int | None:
        said = self.answer.fields.get("x-id")
        return None if said is None else int(said)

    @property
    def version(self) -> int:
        return int(self.answer.fields["content-location"].removeprefix("/v/"))

    @property
    def is_first_hand(self) -> bool:
        """The origin gave or confirmed this very representation just now."""
        return any(exchange.id is not None and exchange.id == self.id for exchange in self.exchanges)

    @property
    def is_for_another(self) -> bool:
        """To somebody who asked for something else at the same moment."""
        own = {(self.asked.method, *sorted(self.asked.fields)), ("GET", *sorted(self.asked.fields))}
        given = [e for e in self.exchanges if e.id is not None and e.id == self.id]
        return all((e.asked.method, *sorted(e.asked.fields)) not in own for e in given)


def play(make: Callable[[], Watch], steps: list[Ask | float]) -> Counter[str]:
    async def history() -> Counter[str]:
        watch = make()
        for step in steps:
            if isinstance(step, Ask):
                await watch.plays(step)
            else:
                watch.passes(step)
        await settle()
        for node in {*watch.edges, watch.asked_of}:
            for task in node.tasks:
                task.cancel()
        return watch.stats

    return asyncio.run(history())


def judged(make: Callable[[], Watch], count: int) -> Counter[str]:
    stats: Counter[str] = Counter()

    @settings(max_examples=examples(count), suppress_health_check=[HealthCheck.too_slow])
    @given(STEPS)
    def every_history(steps: list[Ask | float]) -> None:
        stats.update(play(make, steps))

    every_history()
    return stats
