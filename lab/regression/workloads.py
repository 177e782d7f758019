"""The requests whose cost is counted: always the same ones, one after the other, so that two runs of one build come to the same counts. Pure.

Nothing in them depends on time: what is kept is kept for hours, what is revalidated is never fresh. Whoever changes a workload
makes counters that were written down before worthless, so the version goes into their files.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from loadtests.workload import ZipfPopularity

VERSION: Final = 1
_HOURS: Final = "cache-control=max-age%3D86400"
_NEVER: Final = "cache-control=max-age%3D0&etag=%22a%22"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a viewer. `fields` are lines of its head."""

    target: str
    method: str = "GET"
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """An invalidation of these paths, if any, whose receipt is waited for; then requests, one after the other or all at once."""

    asks: tuple[Ask, ...]
    invalidated: tuple[str, ...] = ()
    are_together: bool = False
    gate: str = ""
    """At the origin, which lets nothing through before all who ask together have asked; empty: there is none."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is counted is counted over all its steps."""

    name: str
    says: str
    steps: tuple[Step, ...] = field(repr=False)

    @property
    def requests(self) -> int:
        return sum(len(step.asks) for step in self.steps)

    @property
    def invalidations(self) -> int:
        return sum(bool(step.invalidated) for step in self.steps)


def popularity(requests: int = 10_000, objects: int = 2_000) -> Workload:
    """Zipf over more than the caches hold: evictions, hits in each tier, fetches."""
    rng = Random("popularity")
    zipf = ZipfPopularity(objects)
    asks = (_sized(zipf.rank(rng)) for _ in range(requests))
    says = f"{requests:,} requests for {objects:,} objects, popular by Zipf, of 1 to 64 KiB: more than the caches hold"
    return Workload("popularity", says, (Step(tuple(asks)),))


def _sized(number: int) -> Ask:
    size = Random(f"size/{number}").randint(1_024, 65_536)
    return Ask(f"/echo/object-{number}?size={size}&{_HOURS}")


def revalidation(objects: int = 100) -> Workload:
    """Each way to ask for something that is there but not fresh, or not whole."""
    says = f"{objects} objects that are never fresh: whole, heads, ranges, conditions, each object four times"
    return Workload("revalidation", says, (Step(tuple(_each_way(objects))),))


def _each_way(objects: int) -> Iterator[Ask]:
    for turn in range(4):
        for number in range(objects):
            target = f"/echo/stale-{number}?size=4096&{_NEVER}"
            match (number + turn) % 4:
                case 0:
                    yield Ask(target)
                case 1:
                    yield Ask(target, "HEAD")
                case 2:
                    yield Ask(target, fields=("Range: bytes=100-1123",))
                case _:
                    yield Ask(target, fields=('If-None-Match: "a"',))


def invalidation(rounds: int = 25, objects: int = 40) -> Workload:
    """Single paths and patterns, in turn, and everything asked for again behind each receipt."""
    asks = tuple(Ask(f"/echo/news/{number}?size=2048&{_HOURS}") for number in range(objects))
    steps = [Step(asks)]
    for turn in range(rounds):
        paths = (
            ("/echo/news/*",)
            if turn % 5 == 4
            else (f"/echo/news/{turn % objects}?*", f"/echo/news/{turn * 7 % objects}?*")
        )
        steps.append(Step(asks, invalidated=paths))
    says = (
        f"{objects} objects, and {rounds} invalidations, each behind its receipt followed by a request for every object"
    )
    return Workload("invalidation", says, tuple(steps))


def collapse(bursts: int = 20, viewers: int = 16) -> Workload:
    """Viewers who ask at once for what nobody has."""
    steps = []
    for burst in range(bursts):
        gate = f"regression-{burst}"
        ask = Ask(f"/echo/burst-{burst}?size=65536&{_HOURS}&gate={gate}")
        steps.append(Step((ask,) * viewers, are_together=True, gate=gate))
    says = f"{bursts} times {viewers} viewers who ask at once for an object that no cache has"
    return Workload("collapse", says, tuple(steps))


def counted_workloads() -> tuple[Workload, ...]:
    """All, in the order in which they are run; each on a lab of its own start."""
    return (popularity(), revalidation(), invalidation(), collapse())
