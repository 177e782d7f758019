"""What viewers and caches went through while a fault was in force: figures of the failover table (failover.py).

Viewers are well from when on no request *begins* that fails, until the fault is being undone. A cache is full again when its share of hits, over ten seconds of
traffic, is back to 95 % of what it was before the fault.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.checkers.windows import ASKED
from lab.history.reader import History

REFILLED_SHARE = 0.95
WINDOW_SECONDS = 10
_LEAST_LOOKUPS = 20
"""In a window: fewer say nothing about a ratio."""


@dataclass(frozen=True, slots=True)
class Period:
    """Requests that began before, during or after a fault."""

    requests: int
    failures: int
    p95_ms: float | None


_NOBODY = Period(0, 0, None)


@dataclass(frozen=True, slots=True)
class RegionView:
    """What viewers of one region saw."""

    region: str
    before: Period
    during: Period
    after: Period
    went_to: tuple[tuple[str, int], ...]
    """Nodes that answered them meanwhile, and how often: the most frequent ten."""
    well_seconds: float | None
    """Since the injection; None: requests failed until it was healed, or nobody asked."""


@dataclass(frozen=True, slots=True)
class WellSince:
    """Of the region that was well last."""

    region: str
    at_ns: int | None
    """When the last request that failed began; None: none did."""
    is_never: bool = False
    """No good request began after it."""


@dataclass(frozen=True, slots=True)
class CacheRefill:
    """How long caches took to answer as much as before."""

    seconds: float | None
    says: str


_PERIODS = """, marked AS (
    SELECT v.*, CASE WHEN intended_ns < ?::BIGINT THEN 'before' WHEN intended_ns <= ?::BIGINT THEN 'during'
        WHEN intended_ns > ?::BIGINT THEN 'after' END AS period FROM viewers v
)"""


def viewers_during(
    history: History, began_ns: int, injected_ns: int, until_ns: int, healed_ns: int
) -> tuple[RegionView, ...]:
    """By region. Before is all of the run before the fault, after all that follows its end, other faults included."""
    values = [began_ns, until_ns, healed_ns]
    rows = history.records(
        f"""{ASKED}{_PERIODS} SELECT region, period, count(*) AS total, count(*) FILTER (is_failed) AS failed,
            quantile_disc((ended_ns - intended_ns) / 1e6, 0.95) AS p95 FROM marked WHERE period IS NOT NULL GROUP BY region, period ORDER BY region""",
        values,
    )
    places = history.records(
        f"""{ASKED}{_PERIODS} SELECT m.region, coalesce(n.node, m.address, 'nobody') AS place, count(*) AS total FROM marked m
            LEFT JOIN nodes n ON n.address = m.address WHERE period = 'during' GROUP BY ALL ORDER BY total DESC, place""",
        values,
    )
    periods = {(row["region"], row["period"]): Period(row["total"], row["failed"], row["p95"]) for row in rows}
    well = {each.region: each for each in _by_region(history, began_ns, until_ns)}
    views = []
    for region in sorted({row["region"] for row in rows}, key=str):
        since = well.get(region)
        is_well = since is not None and not since.is_never
        last = injected_ns if since is None or since.at_ns is None else since.at_ns
        views.append(
            RegionView(
                region,
                periods.get((region, "before"), _NOBODY),
                periods.get((region, "during"), _NOBODY),
                periods.get((region, "after"), _NOBODY),
                tuple((row["place"], row["total"]) for row in places if row["region"] == region)[:10],
                max(0.0, (last - injected_ns) / 1e9) if is_well else None,
            )
        )
    return tuple(views)


def well_since(history: History, began_ns: int, until_ns: int) -> WellSince | None:
    """The region that was well last; None when nobody asked."""
    regions = _by_region(history, began_ns, until_ns)
    never = [each for each in regions if each.is_never]
    return (never or sorted(regions, key=lambda each: each.at_ns or 0))[-1] if regions else None


def _by_region(history: History, began_ns: int, until_ns: int) -> list[WellSince]:
    rows = history.records(
        f"""{ASKED} SELECT region, max(intended_ns) FILTER (is_failed) AS failed_ns, max(intended_ns) FILTER (NOT is_failed) AS good_ns FROM viewers
            WHERE intended_ns >= ? AND intended_ns <= ? GROUP BY region ORDER BY region""",
        [began_ns, until_ns],
    )
    return [
        WellSince(
            row["region"], row["failed_ns"], row["failed_ns"] is not None and (row["good_ns"] or 0) < row["failed_ns"]
        )
        for row in rows
    ]


_LOOKUPS = """
WITH nearby AS (
    SELECT DISTINCT n.node FROM nodes n WHERE n.role IN ('edge', 'regional')
        AND (n.region IN (SELECT p.region FROM nodes p WHERE p.node IN (SELECT unnest(?::VARCHAR[])) AND p.role IN ('edge', 'regional'))
            OR NOT EXISTS (FROM nodes p WHERE p.node IN (SELECT unnest(?::VARCHAR[])) AND p.role IN ('edge', 'regional')))
), lookups AS (
    SELECT v.started_ns, (v.result IN ('hit', 'refresh_hit'))::INTEGER AS is_hit FROM served v SEMI JOIN nearby n ON n.node = v.node
    JOIN nodes e ON e.node = v.node AND e.role = 'edge' WHERE v.result IN ('hit', 'refresh_hit', 'miss')
)
"""


def refilled(history: History, places: Sequence[str], began_ns: int, injected_ns: int) -> CacheRefill:
    """Of the edges in the regions of these caches; of what is no cache, of all edges. Their ratio in windows of WINDOW_SECONDS from the injection on."""
    if "served" in history.missing:
        return CacheRefill(None, "nobody wrote down what caches answered")
    values = [list(places), list(places)]
    before = history.records(
        _LOOKUPS + "SELECT count(*) AS total, sum(is_hit) AS hits FROM lookups WHERE started_ns < ?",
        [*values, began_ns],
    )[0]
    if before["total"] < _LEAST_LOOKUPS or not before["hits"]:
        return CacheRefill(None, "too few lookups before the fault to compare with")
    ratio = before["hits"] / before["total"]
    rows = history.records(
        _LOOKUPS
        + """SELECT (started_ns - ?::BIGINT) // ? AS second, count(*) AS total, sum(is_hit) AS hits FROM lookups WHERE started_ns >= ? GROUP BY second ORDER BY second""",
        [*values, injected_ns, 1_000_000_000, injected_ns],
    )
    return _first_full_window({row["second"]: (row["hits"], row["total"]) for row in rows}, ratio)


def _first_full_window(seconds: dict[int, tuple[int, int]], ratio: float) -> CacheRefill:
    """When the ratio came back after it had fallen, or that it did not fall."""
    has_fallen, last = False, max(seconds, default=-1)
    for second in range(last - WINDOW_SECONDS + 2):
        window = [seconds.get(each, (0, 0)) for each in range(second, second + WINDOW_SECONDS)]
        hits, total = sum(each for each, _ in window), sum(each for _, each in window)
        if total < _LEAST_LOOKUPS:
            continue
        is_full = hits >= REFILLED_SHARE * ratio * total
        if is_full and has_fallen:
            return CacheRefill(float(second), f"the hit ratio is back to {hits / total:.3f}; before it was {ratio:.3f}")
        has_fallen = has_fallen or not is_full
    if not has_fallen:
        says = f"the hit ratio did not fall below 95 % of the {ratio:.3f} from before"
        return (
            CacheRefill(0.0, says)
            if last >= WINDOW_SECONDS - 1
            else CacheRefill(None, "too short a time after it to say")
        )
    return CacheRefill(None, f"the hit ratio did not come back to 95 % of the {ratio:.3f} from before")
