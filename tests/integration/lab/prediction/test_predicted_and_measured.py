"""A recorded series of requests through real nodes, and what was predicted of it: every answer the same, and every request that an origin saw.

Requests go one after the other, and lifetimes are an hour or nothing, so that no clock decides anything: what is left is exact. Budgets are small, so that
eviction matters.
"""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.prediction.caching_rules import CachingRules, Rule, policy_of
from lab.prediction.counts import CacheCounts
from lab.prediction.network import WhatIf, build_network
from lab.prediction.simulation import Invalidation, KnownAnswer, OriginAnswers, Prediction, Simulation
from lab.topology.choice import TopologyChoice
from lab.topology.reader import find_topology
from loadtests.traces.trace_request import TraceRequest
from tests.builders import behavior_message, policy_message
from tests.peers.nodes import EdgeLab, Node, Site
from tests.peers.origin import OriginExchange
from tests.peers.viewer import Viewer

EDGE_BYTES = 1 << 20
REGIONAL_BYTES = 3 << 19
OBJECTS = 400
REQUESTS = 2_500
HOUR = "max-age=3600"


@dataclass(frozen=True)
class Kind:
    """How an object may be kept."""

    cache_control: str
    has_tag: bool


KINDS = (Kind(HOUR, True), Kind(HOUR, False), Kind("max-age=0", True), Kind("max-age=0", False), Kind("no-store", True))


@dataclass
class Object:
    """At the origin; its size is its version."""

    path: str
    kind: Kind
    size: int

    @property
    def fields(self) -> list[tuple[str, str]]:
        tag = [("ETag", f'"{self.size:08}"')] if self.kind.has_tag else []
        return [("Date", "Tue, 01 Dec 2026 00:00:00 GMT"), ("Cache-Control", self.kind.cache_control), *tag]

    async def answer(self, exchange: OriginExchange) -> None:
        asked = exchange.request.get("if-none-match")
        if asked is not None and asked == dict(self.fields).get("ETag"):
            await exchange.send_head(304, *self.fields)
        else:
            await exchange.answer(200, b"x" * self.size, *self.fields)

    # -- as a prediction knows it (KnownAnswer)

    @property
    def size_bytes(self) -> int:
        return self.size

    @property
    def cache_control(self) -> str:
        return self.kind.cache_control

    @property
    def has_validator(self) -> bool:
        return self.kind.has_tag

    @property
    def head_bytes(self) -> int:
        fields = [*self.fields, ("Content-Length", str(self.size))]
        return len("".join(f"{name}: {value}\r\n" for name, value in fields)) + 2


@dataclass(frozen=True)
class Step:
    """A request; before it an object may change, or paths be invalidated."""

    number: int
    changes_to: int = 0
    invalidates: str = ""
    method: str = "GET"


def objects_of(rng: random.Random) -> list[Object]:
    """The largest are not admitted: more than an eighth of the budget."""
    sizes = [rng.choice((10, 700, 3_000, 11_000, 20_000, 49_000, 131_000)) + rng.randrange(80) for _ in range(OBJECTS)]
    kinds = rng.choices(KINDS, (6, 2, 2, 1, 1), k=OBJECTS)
    return [Object(f"/{number % 7}/{number}", kinds[number], size) for number, size in enumerate(sizes)]


def steps_of(rng: random.Random, objects: list[Object]) -> Iterator[Step]:
    """A change leaves the number of digits of the size as it is, and so the length of the head."""
    weights = [(rank + 1) ** -0.7 for rank in range(OBJECTS)]
    for at, number in enumerate(rng.choices(range(OBJECTS), weights, k=REQUESTS)):
        digits = len(str(objects[number].size))
        changed = rng.randrange(10 ** (digits - 1), min(10**digits, 160_000)) if rng.random() < 0.04 else 0
        invalidated = rng.choice((f"/{rng.randrange(7)}/*", f"/{number % 7}/{number}")) if at % 199 == 198 else ""
        yield Step(number, changed, invalidated, "HEAD" if rng.random() < 0.05 else "GET")


class Model:
    """The same site, predicted."""

    def __init__(self, objects: list[Object], steps: list[Step], site_id: str, policy: str) -> None:
        self._objects, self._steps = objects, steps
        self._wanted = WhatIf(EDGE_BYTES, REGIONAL_BYTES, policy)
        self._rules = CachingRules((Rule("*", policy_of(0, 0, 31_536_000, has_queries=True)),), site_id)

    def run(self, *, has_regional: bool) -> tuple[Prediction, list[str]]:
        """With the word of X-Cache for each request, as the edge alone has it."""
        topology = find_topology(TopologyChoice("tiny"))
        network = build_network(topology, replace(self._wanted, has_regional=has_regional), self._rules.distribution_id)
        known: dict[str, KnownAnswer] = {each.path: each for each in self._objects}
        invalidations = [
            Invalidation(at / 1e6, (step.invalidates,)) for at, step in enumerate(self._steps) if step.invalidates
        ]
        simulation = Simulation(network, self._rules, OriginAnswers(known=known.__getitem__), invalidations)
        (edge,) = network.edges["us-east-1"]
        sizes = {each.path: each.size for each in self._objects}
        words = []
        for at, step in enumerate(self._steps):
            path = self._objects[step.number].path
            sizes[path] = step.changes_to or sizes[path]
            before = (edge.counts.hits, edge.counts.refresh_hits)
            simulation.ask(TraceRequest(at / 1e6, path, sizes[path], method=step.method), edge)
            after = (edge.counts.hits, edge.counts.refresh_hits)
            words.append("Hit" if after[0] > before[0] else "RefreshHit" if after[1] > before[1] else "Miss")
        return simulation.result(), words


@asynccontextmanager
async def real_site(folder: Path, policy: str, *nodes: str) -> AsyncIterator[Site]:
    async with EdgeLab(folder) as lab:
        for node in nodes:
            size = EDGE_BYTES if node.startswith("edge") else REGIONAL_BYTES
            await lab.start(node, cache_bytes=size, eviction_policy=policy)
        message = policy_message(default_ttl_seconds=0)
        yield await lab.site(behavior_message(policy=message))


async def replay(site: Site, objects: list[Object], steps: list[Step]) -> list[str]:
    """The word of X-Cache of each answer."""
    current = [replace(each) for each in objects]
    for each in current:
        site.script(each.path, each.answer)
    words = []
    async with Viewer(site.lab.edge.http) as viewer:
        for step in steps:
            asked = current[step.number]
            asked.size = step.changes_to or asked.size
            if step.invalidates:
                await site.lab.invalidate(site, step.invalidates)
            answer = await viewer.get(site.host, asked.path, method=step.method)
            words.append(answer.result)
    return words


async def measured(node: Node) -> dict[str, float]:
    found = {"hit": 0.0, "refresh_hit": 0.0, "miss": 0.0}
    for line in (await node.ask_admin("/metrics")).body.decode().splitlines():
        result = line.partition('result="')[2].partition('"')[0]
        if line.startswith("cdn_requests_total{") and result in found:
            found[result] += float(line.rpartition(" ")[2])
    return found


def predicted(counts: CacheCounts) -> dict[str, float]:
    return {"hit": counts.hits, "refresh_hit": counts.refresh_hits, "miss": counts.misses}


def same_requests(seed: int) -> tuple[list[Object], list[Step]]:
    rng = random.Random(seed)
    objects = objects_of(rng)
    return objects, list(steps_of(rng, objects))


@pytest.mark.parametrize(
    "policy", ["s3fifo", "lru", *(pytest.param(p, marks=pytest.mark.nightly) for p in ("fifo", "sieve"))]
)
async def test_each_answer_of_a_node_is_as_predicted(tmp_path: Path, policy: str) -> None:
    objects, steps = same_requests(1)
    async with real_site(tmp_path, policy, "edge-1") as site:
        words = await replay(site, objects, steps)
        prediction, predicted_words = Model(objects, steps, site.id, policy).run(has_regional=False)
        differences = [at for at, pair in enumerate(zip(words, predicted_words, strict=True)) if pair[0] != pair[1]]
        assert not differences
        assert await measured(site.lab.edge) == predicted(prediction.of_tier("edge"))
        assert len(site.lab.origin.requests) == prediction.origin.requests
        assert prediction.of_tier("edge").evictions > 100 and len(set(words)) == 3


@pytest.mark.parametrize("policy", ["s3fifo", pytest.param("lru", marks=pytest.mark.nightly)])
async def test_both_tiers_answer_as_predicted(tmp_path: Path, policy: str) -> None:
    objects, steps = same_requests(2)
    async with real_site(tmp_path, policy, "edge-1", "regional-1") as site:
        await replay(site, objects, steps)
        prediction, _ = Model(objects, steps, site.id, policy).run(has_regional=True)
        assert await measured(site.lab.edge) == predicted(prediction.of_tier("edge"))
        assert await measured(site.lab.regional) == predicted(prediction.of_tier("regional"))
        assert len(site.lab.origin.requests) == prediction.origin.requests
        assert prediction.of_tier("regional").evictions > 50
