"""The curves of a run from its history, request by request: exact percentiles, and what each tier says that it did."""

from lab.history.reader import History
from lab.report.data.axis import Axis
from lab.report.data.curves import PERCENTILES, Curves, Point, Series, in_order_of_results, series_of

# docs/contracts.md, Results and reasons: what came from a cache, and what could have.
CACHED = "result IN ('hit', 'refresh_hit')"
CACHEABLE = "result IN ('hit', 'refresh_hit', 'miss')"

# Of a request that was never over nothing else is known.
_ENDED = "coalesce(ended_ns, intended_ns)"
# What X-Cache says begins with a word for each of these.
_RESULT = """CASE WHEN error IS NOT NULL THEN 'failed' WHEN x_cache LIKE 'Hit%' THEN 'Hit' WHEN x_cache LIKE 'RefreshHit%' THEN 'RefreshHit'
  WHEN x_cache LIKE 'Miss%' THEN 'Miss' WHEN x_cache LIKE '%edirect%' THEN 'Redirect' ELSE 'Error' END"""


def curves_of_history(history: History, axis: Axis) -> Curves:
    """A curve whose witness is missing is empty."""
    return Curves(
        requests=_rates(history, axis, _ENDED, "region", "viewer_requests"),
        results=in_order_of_results(_rates(history, axis, _ENDED, _RESULT, "viewer_requests")),
        hit_ratio=_hit_ratio(history, axis),
        origin_fetches=_rates(history, axis, "started_ns", "'all nodes'", "fills WHERE tier = 'origin'"),
        errors=_errors(history, axis),
        latency=_latency(history, axis),
    )


def _step(axis: Axis, column: str) -> str:
    return f"(({column} - {axis.zero_ns}) // {axis.step_seconds * 1_000_000_000})"


def _rates(history: History, axis: Axis, moment: str, name: str, table: str) -> tuple[Series, ...]:
    """`table` counted by step of `moment` and by `name`: expressions and conditions in SQL, which are this module's."""
    rows = history.rows(
        f"SELECT {_step(axis, moment)} AS step, {name} AS name, count(*) FROM {table} GROUP BY ALL HAVING step IS NOT NULL"  # noqa: S608 - ours
    )
    points = (Point(step, str(name), count / axis.step_seconds) for step, name, count in rows)
    return series_of(points, axis, 0.0)


def _errors(history: History, axis: Axis) -> tuple[Series, ...]:
    """By region: those without any have a curve as well, so that every region has its colour."""
    rows = history.rows(
        f"""SELECT {_step(axis, _ENDED)} AS step, region, count(*) FILTER (error IS NOT NULL)
            FROM viewer_requests GROUP BY ALL HAVING step IS NOT NULL"""  # noqa: S608 - ours
    )
    return series_of((Point(step, str(region), count / axis.step_seconds) for step, region, count in rows), axis, 0.0)


def _hit_ratio(history: History, axis: Axis) -> tuple[Series, ...]:
    rows = history.rows(
        f"""SELECT {_step(axis, "served.ended_ns")} AS step, nodes.role, count(*) FILTER ({CACHED}) / count(*)
            FROM served JOIN nodes USING (node) WHERE {CACHEABLE} AND served.ended_ns IS NOT NULL GROUP BY step, nodes.role"""  # noqa: S608 - ours
    )
    return series_of((Point(step, str(role), ratio) for step, role, ratio in rows), axis, None)


def _latency(history: History, axis: Axis) -> dict[str, tuple[Series, ...]]:
    """From when a viewer meant to ask until the last byte; of a request without an answer, until it was given up."""
    rows = history.rows(
        f"""SELECT {_step(axis, "ended_ns")} AS step, region, quantile_cont((ended_ns - intended_ns) / 1e6, [0.5, 0.95, 0.99])
            FROM viewer_requests WHERE ended_ns IS NOT NULL AND intended_ns IS NOT NULL GROUP BY step, region"""  # noqa: S608 - ours
    )
    return {
        percentile: series_of((Point(step, str(region), values[place]) for step, region, values in rows), axis, None)
        for place, percentile in enumerate(PERCENTILES)
    }
