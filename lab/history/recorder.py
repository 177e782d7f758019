"""Watches the nodes of a running lab: scrapes every node's /metrics once a second into `metrics.jsonl`.

Only the few numbers that the live table and the report need are read, by a parser of exactly the lines that matter:
reading everything with prometheus_client's parser would cost more than the nodes it watches. A node that does not
answer in time is written down as down, which is the point of watching it.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lab.clients.async_http import ExchangeFailedError, exchange
from proto.host_clock import HostClock, host_seconds

# Shorter than the interval, so that one dead node never delays the others' next scrape.
SCRAPE_TIMEOUT_SECONDS = 0.8
INTERVAL_SECONDS = 1.0

# Prometheus text format 0.0.4: a name, labels in braces whose values escape quotes, a value, perhaps a timestamp.
_SAMPLE = re.compile(r'(\w+)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_WANTED = (
    "cdn_requests_total",
    "cdn_transferred_bytes_total",
    "cdn_upstream_fetches_total",
    "cdn_store_bytes",
    "cdn_applied_index",
    "cdn_control_head_index",
    "cdn_origin_requests_total",
    "cdn_origin_response_bytes_total",
)


@dataclass(frozen=True, slots=True)
class WatchedNode:
    id: str
    role: str
    pop: str
    admin_address: str


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    labels: dict[str, str]
    value: float


def parse_samples(text: str) -> Iterator[Sample]:
    """The wanted samples of an exposition, in order."""
    for line in text.splitlines():
        if not line.startswith(_WANTED):
            continue
        match = _SAMPLE.match(line)
        if match is not None and match.group(1) in _WANTED:
            yield Sample(match.group(1), dict(_LABEL.findall(match.group(2) or "")), float(match.group(3)))


def summarize(samples: Iterator[Sample]) -> dict[str, Any]:
    """The numbers of one line of metrics.jsonl (docs/contracts.md)."""
    requests: dict[str, float] = {}
    numbers = {"bytes_sent": 0.0, "origin_fetches": 0.0, "store_bytes": 0.0, "applied_index": 0.0}
    for sample in samples:
        match sample.name:
            case "cdn_requests_total":
                result = sample.labels.get("result", "")
                requests[result] = requests.get(result, 0.0) + sample.value
            case "cdn_origin_requests_total":
                requests["origin"] = requests.get("origin", 0.0) + sample.value
            case "cdn_transferred_bytes_total":
                if sample.labels.get("peer") == "viewer" and sample.labels.get("direction") == "sent":
                    numbers["bytes_sent"] += sample.value
            case "cdn_origin_response_bytes_total":
                numbers["bytes_sent"] += sample.value
            case "cdn_upstream_fetches_total":
                numbers["origin_fetches"] += sample.value if sample.labels.get("tier") == "origin" else 0.0
            case "cdn_store_bytes":
                numbers["store_bytes"] = sample.value
            case "cdn_applied_index" | "cdn_control_head_index":
                numbers["applied_index"] = sample.value
    return {"requests": {name: int(value) for name, value in requests.items()}} | {
        name: int(value) for name, value in numbers.items()
    }


def seconds_until_next_scrape(now: float) -> float:
    """To the middle of this second, or of the next one when less than a tenth is left; a beat that was missed is not made up."""
    wait = (0.5 - now) % INTERVAL_SECONDS
    return wait if wait > 0.1 else wait + INTERVAL_SECONDS


class Recorder:
    """`run` scrapes until it is cancelled; `latest` and `before` are the last two lines of each node."""

    def __init__(self, nodes: Sequence[WatchedNode], path: Path, clock: HostClock) -> None:
        self._clock = clock
        self._nodes = tuple(nodes)
        self._path = path
        self.latest: dict[str, dict[str, Any]] = {}
        self.before: dict[str, dict[str, Any]] = {}

    async def run(self) -> None:
        """Scrapes in the middle of each second of the host's clock: one line per node and second, never two and none."""
        with self._path.open("w", encoding="utf-8", buffering=1) as file:
            await self.scrape_all(file)
            while True:
                await asyncio.sleep(seconds_until_next_scrape(host_seconds()))
                await self.scrape_all(file)

    async def scrape_all(self, file: TextIO) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._scrape(node)) for node in self._nodes]
        for task in tasks:
            line = task.result()
            node = str(line["node"])
            if node in self.latest:
                self.before[node] = self.latest[node]
            self.latest[node] = line
            file.write(json.dumps(line) + "\n")

    async def _scrape(self, node: WatchedNode) -> dict[str, Any]:
        now = self._clock.now()
        times = {"time": round(self._clock.wall_seconds_at(now), 3), "monotonic_ns": now.monotonic_ns}
        place = times | {"node": node.id, "role": node.role, "pop": node.pop}
        try:
            answer = await exchange(node.admin_address, "/metrics", timeout_seconds=SCRAPE_TIMEOUT_SECONDS)
        except ExchangeFailedError:
            return place | {"up": False} | summarize(iter(()))
        is_up = answer.status == 200
        text = answer.body.decode("utf-8", errors="replace") if is_up else ""
        return place | {"up": is_up} | summarize(parse_samples(text))
