"""The live table of a running lab: what viewers get, what each tier's caches give, which nodes are alive.

A `Picture` is made of the newest records of load.jsonl and metrics.jsonl by pure functions, and drawn twice: as a table
that `rich` keeps in place on a terminal, and as one plain line for logs and pipes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from proto.host_clock import host_seconds
from proto.moments import NANOSECONDS_PER_SECOND

TIERS = ("edge", "regional")
# A second of load is written about a second after it ended; older figures are not "now".
FRESH_SECONDS = 4
# Without a terminal a line every few seconds is enough to follow, and a log stays readable.
PLAIN_INTERVAL_SECONDS = 3.0
_SHOWN_EVENTS = 6


@dataclass(frozen=True, slots=True)
class RegionNow:
    """The newest second of one region's viewers."""

    region: str
    users: int
    rate: float
    hit_share: float | None
    p50: float
    p95: float
    p99: float
    failures_total: int


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything the table shows."""

    elapsed_seconds: float
    phase: str
    regions: tuple[RegionNow, ...]
    hit_ratios: tuple[tuple[str, float | None], ...]
    nodes_alive: int
    nodes_total: int
    dead_nodes: tuple[str, ...]
    events: tuple[str, ...]

    @property
    def rate(self) -> float:
        return sum(region.rate for region in self.regions)

    @property
    def failures(self) -> int:
        return sum(region.failures_total for region in self.regions)


class LoadNow:
    """Follows load.jsonl: the newest second of each region, and its failures so far."""

    def __init__(self) -> None:
        self._newest: dict[str, Mapping[str, Any]] = {}
        self._failures: dict[str, int] = {}

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        for line in lines:
            region = str(line["region"])
            self._newest[region] = line
            self._failures[region] = self._failures.get(region, 0) + int(line["failures"])

    def regions(self, now: float) -> tuple[RegionNow, ...]:
        """`now` in seconds of the host's clock, which Locust has as well."""
        return tuple(self._region(region, now) for region in sorted(self._newest))

    def _region(self, region: str, now: float) -> RegionNow:
        line = self._newest[region]
        is_fresh = now - int(line["monotonic_ns"]) / NANOSECONDS_PER_SECOND < FRESH_SECONDS
        results = line["results"] if is_fresh else {}
        counted = sum(results.values())
        hits = results.get("Hit", 0) + results.get("RefreshHit", 0)
        latency = line["latency_ms"] if is_fresh else {}
        return RegionNow(
            region=region,
            users=int(line["users"]) if is_fresh else 0,
            rate=float(line["requests"]) if is_fresh else 0.0,
            hit_share=hits / counted if counted else None,
            p50=latency.get("p50", 0.0),
            p95=latency.get("p95", 0.0),
            p99=latency.get("p99", 0.0),
            failures_total=self._failures[region],
        )


def hit_ratios(
    latest: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[str, float | None], ...]:
    """Of each tier, from the last two scrapes of its nodes; None when nothing cacheable was asked in between."""
    ratios = []
    for tier in TIERS:
        hits = total = 0
        for node, line in latest.items():
            old = before.get(node)
            if line.get("role") != tier or old is None or not (line["up"] and old["up"]):
                continue
            grown = {name: max(0, count - old["requests"].get(name, 0)) for name, count in line["requests"].items()}
            cached = grown.get("hit", 0) + grown.get("refresh_hit", 0)
            hits += cached
            total += cached + grown.get("miss", 0)
        ratios.append((tier, hits / total if total else None))
    return tuple(ratios)


def plain_line(picture: Picture) -> str:
    """The same picture for a log."""
    latency = " ".join(
        f"{region.region} {region.rate:.0f}/s p50/p95/p99 {region.p50:.1f}/{region.p95:.1f}/{region.p99:.1f} ms"
        for region in picture.regions
    )
    hits = " ".join(f"{tier} {_percent(ratio)}" for tier, ratio in picture.hit_ratios)
    dead = f" (down: {', '.join(picture.dead_nodes)})" if picture.dead_nodes else ""
    return (
        f"{picture.elapsed_seconds:5.1f} s  {picture.rate:.0f} requests/s  hit ratio: {hits}  errors {picture.failures}  "
        f"nodes {picture.nodes_alive}/{picture.nodes_total}{dead}  {latency}"
    )


def table(picture: Picture) -> RenderableType:
    """What stands on the terminal."""
    head = Text.assemble(
        (f"{picture.elapsed_seconds:5.1f} s  ", "bold"),
        (picture.phase, "cyan"),
        f"   nodes {picture.nodes_alive}/{picture.nodes_total}",
        (f"   down: {', '.join(picture.dead_nodes)}" if picture.dead_nodes else "", "bold red"),
    )
    hits = Text("hit ratio  ", style="dim")
    for tier, ratio in picture.hit_ratios:
        hits.append(f"{tier} ", style="dim").append(f"{_percent(ratio)}   ", style="bold")
    events = [Text(event, style="dim") for event in picture.events[-_SHOWN_EVENTS:]]
    return Group(head, hits, _viewers(picture.regions, picture), *events)


def _viewers(regions: Sequence[RegionNow], picture: Picture) -> Table:
    viewers = Table(box=None, pad_edge=False, header_style="dim")
    viewers.add_column("viewers in")
    for column in ("users", "requests/s", "hit", "p50 ms", "p95 ms", "p99 ms", "errors"):
        viewers.add_column(column, justify="right", min_width=8)
    for region in regions:
        latency = [f"{value:.1f}" for value in (region.p50, region.p95, region.p99)]
        errors = Text(str(region.failures_total), style="bold red" if region.failures_total else "")
        viewers.add_row(
            region.region, str(region.users), f"{region.rate:.0f}", _percent(region.hit_share), *latency, errors
        )
    users = sum(region.users for region in regions)
    viewers.add_row("all", str(users), f"{picture.rate:.0f}", "", "", "", "", str(picture.failures), style="bold")
    return viewers


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


class LiveTable:
    """Shows pictures as they come: in place on a terminal, as lines every few seconds elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._next_line = 0.0

    def __enter__(self) -> "LiveTable":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, picture: Picture) -> None:
        if self._live is not None:
            self._live.update(table(picture), refresh=True)
        elif host_seconds() >= self._next_line:
            self._next_line = host_seconds() + PLAIN_INTERVAL_SECONDS
            self._console.print(plain_line(picture), soft_wrap=True, highlight=False)

    def say(self, text: str) -> None:
        """An event as it happens; on a terminal the table itself lists it."""
        if self._live is None:
            self._console.print(text, soft_wrap=True, highlight=False)
