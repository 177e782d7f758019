"""What a whole run came to: by region of the viewers, and by tier."""

from dataclasses import dataclass

from lab.history.reader import History
from lab.history.run_files import RunData, region_totals, tier_totals
from lab.report.data.history_curves import CACHEABLE, CACHED


@dataclass(frozen=True, slots=True)
class RegionTotal:
    """What viewers of a region saw. Latencies in milliseconds by name (p50, p95, p99, max), None where nothing is known."""

    region: str
    requests: int
    failures: int
    received_bytes: int
    latency: dict[str, float]
    hit_share: float | None
    stalls: int | None
    is_worst_second: bool = False
    """The latencies are those of the worst second, for those of the whole run are not known."""


@dataclass(frozen=True, slots=True)
class TierTotal:
    """Requests that could come from a cache, and those that did."""

    tier: str
    hits: float
    requests: float


def totals_by_region(run: RunData, history: History) -> tuple[RegionTotal, ...]:
    """Of the history where there is one; stalls are known to load_totals.json only."""
    files = {each.region: each for each in _of_files(run)}
    rows = history.rows(
        """SELECT region, count(*), count(*) FILTER (error IS NOT NULL), coalesce(sum(received_bytes), 0),
                  quantile_cont((ended_ns - intended_ns) / 1e6, [0.5, 0.95, 0.99, 1.0]),
                  count(*) FILTER (x_cache LIKE 'Hit%' OR x_cache LIKE 'RefreshHit%'), count(x_cache)
           FROM viewer_requests GROUP BY region ORDER BY region NULLS LAST"""
    )
    return tuple(
        RegionTotal(
            region=str(region),
            requests=requests,
            failures=failures,
            received_bytes=int(received),
            latency=dict(zip(("p50", "p95", "p99", "max"), latency or (), strict=False)),
            hit_share=hits / answered if answered else None,
            stalls=files[region].stalls if region in files else None,
        )
        for region, requests, failures, received, latency, hits, answered in rows
    ) or tuple(files.values())


def _of_files(run: RunData) -> list[RegionTotal]:
    found = []
    for region, total in sorted(region_totals(run).items()):
        results = total.get("results", {})
        counted = sum(results.values())
        hits = results.get("Hit", 0) + results.get("RefreshHit", 0)
        found.append(
            RegionTotal(
                region=region,
                requests=int(total["requests"]),
                failures=int(total["failures"]),
                received_bytes=int(total.get("bytes", 0)),
                latency={name: float(value) for name, value in total.get("latency_ms", {}).items()},
                hit_share=hits / counted if counted else None,
                stalls=int(total.get("stalls", 0)),
                is_worst_second=bool(total.get("is_worst")),
            )
        )
    return found


def totals_by_tier(run: RunData, history: History) -> tuple[TierTotal, ...]:
    """Of what the tiers say themselves; without a history, of their counters."""
    rows = history.rows(
        f"""SELECT role, count(*) FILTER ({CACHED}), count(*) FILTER ({CACHEABLE})
            FROM served JOIN nodes USING (node) GROUP BY role ORDER BY role"""  # noqa: S608 - ours
    )
    if rows:
        return tuple(TierTotal(str(tier), hits, total) for tier, hits, total in rows)
    return tuple(TierTotal(tier, hits, total) for tier, (hits, total) in sorted(tier_totals(run).items()))
