"""What a run left behind, read into values that the report can draw (docs/contracts.md, "The lab's files").

Pure but for reading the files of one folder. Every file may be missing and a last line may be cut: a report of half a
run is worth more than none. Nothing here knows HTML or charts.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtests.run_clocks import read_clocks
from proto.moments import NANOSECONDS_PER_SECOND, SECONDS_SINCE_EPOCH, ClockAnchor

# More points than a plot has pixels tell nothing; longer runs are drawn in steps of several seconds.
MAXIMUM_POINTS = 600
# A region's traffic begins with users arriving and caches filling; that is part of the run and is drawn.
TIERS = ("edge", "regional")
# What counts as served from cache: a refresh hit needed one conditional request and no body (reference 2.12).
_CACHED = ("hit", "refresh_hit")
_CACHEABLE = (*_CACHED, "miss")

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunData:
    """All files of a run; empty where one is missing. `time` of a record is in seconds of `clock`, whatever it was in its file."""

    name: str
    load: tuple[Record, ...] = ()
    totals: Record = field(default_factory=dict)
    failures: tuple[Record, ...] = ()
    events: tuple[Record, ...] = ()
    receipts: tuple[Record, ...] = ()
    metrics: tuple[Record, ...] = ()
    summary: Record = field(default_factory=dict)
    links: tuple[Record, ...] = ()
    """What the links between the places measured before the run."""
    clocks: Mapping[str, ClockAnchor] = field(default_factory=dict)
    """By the process that wrote files of the run, `lab` or `load`."""

    @property
    def clock(self) -> ClockAnchor:
        """The run's. A run of before there were clocks has seconds since the epoch, each by the wall clock of its moment."""
        return self.clocks.get("lab") or self.clocks.get("load") or SECONDS_SINCE_EPOCH

    @property
    def began_at(self) -> float:
        """In seconds since the epoch, for people; 0 for a run in which nothing was."""
        return self.clock.wall_seconds(self.first_time) if self.first_time else 0.0

    @property
    def first_time(self) -> float:
        """A whole second, so that seconds of the run are seconds of load.jsonl."""
        return float(int(min(self._times(), default=0.0)))

    @property
    def last_time(self) -> float:
        return max(self._times(), default=0.0)

    @property
    def step_seconds(self) -> int:
        duration = int(self.last_time - self.first_time)
        return max(1, -(-duration // MAXIMUM_POINTS))

    @property
    def regions(self) -> list[str]:
        return sorted({str(line["region"]) for line in self.load})

    def _times(self) -> Iterable[float]:
        for lines in (self.load, self.metrics, self.events):
            yield from (float(line["time"]) for line in lines)


def read_run(run_directory: Path) -> RunData:
    if not run_directory.is_dir():
        raise FileNotFoundError(f"no run at {run_directory}")
    receipts = _read_json(run_directory / "receipts.json", [], (list, dict))
    clocks = read_clocks(run_directory)
    run = RunData(
        name=run_directory.name,
        load=_read_lines(run_directory / "load.jsonl", ("time", "region", "requests")),
        totals=_read_json(run_directory / "load_totals.json", {}),
        failures=_read_lines(run_directory / "failures.jsonl", ("time", "error")),
        events=_read_lines(run_directory / "events.jsonl", ("time", "kind")),
        receipts=tuple(receipts if isinstance(receipts, list) else [receipts]),
        metrics=_read_lines(run_directory / "metrics.jsonl", ("time", "node", "up")),
        summary=_read_json(run_directory / "summary.json", {}),
        links=tuple(_read_json(run_directory / "links.json", [])),
        clocks=clocks,
    )
    return replace(
        run,
        load=_timed(run, "load", run.load),
        failures=_timed(run, "load", run.failures),
        events=_sorted_by_time(_timed(run, "lab", run.events)),
        metrics=_sorted_by_time(_timed(run, "lab", run.metrics)),
    )


def _timed(run: RunData, process: str, records: tuple[Record, ...]) -> tuple[Record, ...]:
    """The records of a process, with their times on the clock of the run."""
    return tuple({**record, "time": _seconds(run, process, record)} for record in records)


def _seconds(run: RunData, process: str, record: Record) -> float:
    clock, nanoseconds = run.clocks.get(process), record.get("monotonic_ns")
    if clock is None or not isinstance(nanoseconds, int):
        return run.clock.seconds_of(SECONDS_SINCE_EPOCH, float(record["time"]))
    return round(run.clock.seconds_of(clock, nanoseconds / NANOSECONDS_PER_SECOND), 6)


def _read_lines(path: Path, required: tuple[str, ...]) -> tuple[Record, ...]:
    """Lines that are whole and have what every reader needs; a run that was killed ends in half a line."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    records = (_parse_or_none(line) for line in text.splitlines() if line.strip())
    return tuple(record for record in records if isinstance(record, dict) and all(name in record for name in required))


def _parse_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _read_json(path: Path, otherwise: Any, kinds: tuple[type, ...] = ()) -> Any:
    """`otherwise` for what is not there, is no JSON, or of another kind: than `kinds`, or without them than `otherwise`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return otherwise
    return value if isinstance(value, kinds or type(otherwise)) else otherwise


def _sorted_by_time(records: tuple[Record, ...]) -> tuple[Record, ...]:
    return tuple(sorted(records, key=lambda record: float(record["time"])))


def second_of(run: RunData, time: float) -> int:
    """Seconds since the run began, in the run's steps."""
    step = run.step_seconds
    return int((time - run.first_time) // step) * step


def traffic_by_region(run: RunData) -> list[dict[str, Any]]:
    """Requests a second."""
    sums: dict[tuple[int, str], float] = {}
    for line in run.load:
        key = (second_of(run, line["time"]), str(line["region"]))
        sums[key] = sums.get(key, 0.0) + line["requests"] / run.step_seconds
    return [{"second": second, "region": region, "rate": rate} for (second, region), rate in sorted(sums.items())]


def traffic_by_result(run: RunData) -> list[dict[str, Any]]:
    """Requests a second by what X-Cache said; `failed` is what never became a usable response."""
    sums: dict[tuple[int, str], float] = {}
    for line in run.load:
        counts = {name: int(count) for name, count in line.get("results", {}).items()}
        counts["failed"] = int(line.get("failures", 0))
        for result, count in counts.items():
            key = (second_of(run, line["time"]), result)
            sums[key] = sums.get(key, 0.0) + count / run.step_seconds
    seen = {result for (_, result), rate in sums.items() if rate > 0}
    return [
        {"second": second, "result": result, "rate": rate}
        for (second, result), rate in sorted(sums.items())
        if result in seen
    ]


def latency_by_region(run: RunData) -> list[dict[str, Any]]:
    """The percentiles of each second; of a longer step, those of its worst second, for percentiles do not average."""
    worst: dict[tuple[str, int, str], float] = {}
    for line in run.load:
        if not line["requests"]:
            continue
        for percentile in ("p50", "p95", "p99"):
            value = float(line.get("latency_ms", {}).get(percentile, 0.0))
            key = (str(line["region"]), second_of(run, line["time"]), percentile)
            worst[key] = max(worst.get(key, 0.0), value)
    return [
        {"region": region, "second": second, "percentile": percentile, "milliseconds": value}
        for (region, second, percentile), value in sorted(worst.items())
    ]


def counter_increases(run: RunData, name: str) -> list[tuple[Record, float]]:
    """Each scrape of a number of the metrics with its increase since the scrape of the same node before it."""
    return [(line, step.get(name, 0.0)) for line, step in _increases(run, lambda line: {name: line.get(name)})]


def request_increases(run: RunData) -> list[tuple[Record, dict[str, float]]]:
    return _increases(run, lambda line: line.get("requests"))


def _increases(run: RunData, values_of: Any) -> list[tuple[Record, dict[str, float]]]:
    """A counter that went down belongs to a process that began again: all of it is new."""
    before: dict[str, Mapping[str, float]] = {}
    increases = []
    for line in run.metrics:
        values = values_of(line)
        if not line["up"] or not values:
            continue
        node = str(line["node"])
        old = before.get(node)
        before[node] = values
        if old is not None:
            increases.append((line, {name: _increase(old.get(name), value) for name, value in values.items()}))
    return increases


def _increase(old: float | None, new: float | None) -> float:
    if new is None:
        return 0.0
    return float(new) if old is None or new < old else float(new) - float(old)


def hit_ratio_by_tier(run: RunData) -> list[dict[str, Any]]:
    """Share of cacheable requests that a tier answered from its cache; no point where a tier had nothing to answer."""
    sums: dict[tuple[int, str], list[float]] = {}
    for line, step in request_increases(run):
        tier = str(line.get("role", ""))
        if tier in TIERS:
            cell = sums.setdefault((second_of(run, line["time"]), tier), [0.0, 0.0])
            cell[0] += sum(step.get(result, 0.0) for result in _CACHED)
            cell[1] += sum(step.get(result, 0.0) for result in _CACHEABLE)
    return [
        {"second": second, "tier": tier, "ratio": hits / total}
        for (second, tier), (hits, total) in sorted(sums.items())
        if total
    ]


def tier_totals(run: RunData) -> dict[str, tuple[float, float]]:
    """Cache hits and cacheable requests of each tier while it was watched."""
    totals: dict[str, tuple[float, float]] = {}
    for line, step in request_increases(run):
        tier = str(line.get("role", ""))
        if tier in TIERS:
            hits, total = totals.get(tier, (0.0, 0.0))
            hits += sum(step.get(result, 0.0) for result in _CACHED)
            total += sum(step.get(result, 0.0) for result in _CACHEABLE)
            totals[tier] = (hits, total)
    return totals


def origin_fetches(run: RunData) -> list[dict[str, Any]]:
    """Fetches a second that reached an origin, from all nodes."""
    sums: dict[int, float] = {}
    for line, step in counter_increases(run, "origin_fetches"):
        second = second_of(run, line["time"])
        sums[second] = sums.get(second, 0.0) + step / run.step_seconds
    return [{"second": second, "rate": rate} for second, rate in sorted(sums.items())]


def node_timeline(run: RunData) -> list[dict[str, Any]]:
    """Stretches of one state per node, from its first scrape to the last of the run."""
    stretches: dict[str, list[dict[str, Any]]] = {}
    for line in run.metrics:
        node, state = str(line["node"]), "up" if line["up"] else "down"
        at = float(line["time"]) - run.first_time
        of_node = stretches.setdefault(node, [])
        if of_node:
            of_node[-1]["until"] = at
        if not of_node or of_node[-1]["state"] != state:
            of_node.append({"node": node, "role": line.get("role", ""), "state": state, "since": at, "until": at})
    return [stretch for node in sorted(stretches) for stretch in stretches[node]]


def region_totals(run: RunData) -> dict[str, Record]:
    """Sums and whole-run percentiles by region; without load_totals.json the percentiles are the worst second's."""
    given = run.totals.get("regions")
    if given:
        return dict(given)
    totals: dict[str, dict[str, Any]] = {}
    for line in run.load:
        total = totals.setdefault(
            str(line["region"]),
            {"requests": 0, "failures": 0, "bytes": 0, "stalls": 0, "latency_ms": {}, "results": {}, "is_worst": True},
        )
        for name in ("requests", "failures", "bytes", "stalls"):
            total[name] += line.get(name, 0)
        for name, value in line.get("latency_ms", {}).items():
            total["latency_ms"][name] = max(total["latency_ms"].get(name, 0.0), value)
        for name, count in line.get("results", {}).items():
            total["results"][name] = total["results"].get(name, 0) + count
    return dict(totals)


def region_lines(run: RunData) -> list[str]:
    """The totals of each region as lines for a terminal."""
    lines = []
    for region, total in sorted(region_totals(run).items()):
        latency = "/".join(f"{total['latency_ms'].get(name, 0.0):.1f}" for name in ("p50", "p95", "p99"))
        counts = f"{total['requests']:>8,} requests  {total['failures']} failures"
        lines.append(f"{region:16} {counts}  p50/p95/p99 {latency} ms")
    return lines
