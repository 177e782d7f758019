"""Objectives of viewers by region: how many requests succeed (`availability`), how long they take (`latency`), and how many errors there may be (`errors`).

A request is good when the viewer saw nothing go wrong and its status is below 500. Latency counts from when the viewer meant to ask, so a load generator that
waits for a slow answer hides nothing (coordinated omission). Probes are no viewers.
"""

from collections.abc import Sequence
from typing import Any

from lab.checkers.judgement import LISTED, NANOSECONDS, Judgement, counted, findings_of
from lab.checkers.windows import chosen_requests
from lab.history.reader import History

_FAILED = """id, request_id, format('{} in {} from {}: {}', path, region, coalesce(address, 'nobody'),
    coalesce(error, 'status ' || status, 'no answer')) AS sentence"""


def availability(
    history: History, at_least: float, region: str | tuple[str, ...], when: str, settle_seconds: float
) -> Judgement:
    """Each region by itself must have this share of good requests, of those under way inside or outside of faults."""
    chosen = chosen_requests(history, when, settle_seconds)
    values = [*chosen.values, *_regions(region)]
    rows = history.records(
        f"""{chosen.question} SELECT region, count(*) AS total, count(*) FILTER (is_failed) AS failed FROM chosen
            WHERE {_of_region(region)} GROUP BY region ORDER BY region""",
        values,
    )
    short = [row["region"] for row in rows if row["total"] - row["failed"] < at_least * row["total"]]
    facts = [
        f"{row['region']}: {(row['total'] - row['failed']) / row['total']:.4%} of {row['total']:,}" for row in rows
    ]
    wrong = sum(row["failed"] for row in rows if row["region"] in short)
    found = history.records(
        f"{chosen.question} SELECT {_FAILED} FROM chosen WHERE is_failed AND region IN (SELECT unnest(?::VARCHAR[])) ORDER BY intended_ns LIMIT ?",
        [*chosen.values, short, LISTED],
    )
    judged = sum(row["total"] for row in rows)
    return Judgement(judged, tuple(facts), _unheard(region, rows), wrong, findings_of(found))


_EXCUSED = """
, judged AS (
    SELECT *, EXISTS (FROM faults f JOIN nodes n ON n.node = f.place WHERE f.fault = 'kill' AND n.address = c.address AND c.ended_ns >= f.began_ns
        AND (c.intended_ns <= f.injected_ns OR c.ended_ns <= f.injected_ns + ?))
        OR c.first_byte_ns IS NOT NULL AND EXISTS (FROM fills l JOIN nodes e ON e.node = l.node AND e.address = c.address
        JOIN nodes n ON n.address = regexp_replace(l.upstream, ':\\d+$', '') JOIN faults f ON f.place = n.node AND f.fault = 'kill'
        WHERE l.path = c.path AND l.error IS NOT NULL AND l.head_ns IS NOT NULL AND l.started_ns <= f.injected_ns AND l.ended_ns >= f.began_ns) AS is_excused
    FROM chosen c WHERE is_failed
)
"""
"""At the edge that was killed; or of a body that came through one from a cache or an origin that was killed in the middle of it: what was sent cannot be taken back."""


def errors(history: History, budget: int, when: str, settle_seconds: float, excused_seconds: float) -> Judgement:
    """At most `budget` requests may fail. Excused, and counted, is what was under way through a node while it was killed, or fails at a killed edge soon after."""
    chosen = chosen_requests(history, when, settle_seconds)
    question, values = chosen.question + _EXCUSED, [*chosen.values, round(excused_seconds * NANOSECONDS)]
    total = history.value(f"{chosen.question} SELECT count(*) FROM chosen", chosen.values)
    failed, excused = history.rows(
        f"{question} SELECT count(*) FILTER (NOT is_excused), count(*) FILTER (is_excused) FROM judged", values
    )[0]
    facts = [
        f"{counted(total, 'request')} of viewers, {counted(failed, 'failure')}"
        + (f", {budget} allowed" if budget else "")
    ]
    if excused:
        facts.append(f"{excused:,} more were on their way through a node in the moment of its death")
    if failed <= budget:
        return Judgement(total, tuple(facts))
    rows = history.records(
        f"{question} SELECT {_FAILED} FROM judged WHERE NOT is_excused ORDER BY intended_ns LIMIT ?", [*values, LISTED]
    )
    return Judgement(total, tuple(facts), (), failed, findings_of(rows))


def statuses(
    history: History,
    allowed: str | tuple[str, ...],
    region: str | tuple[str, ...],
    when: str,
    settle_seconds: float,
) -> Judgement:
    """Each answer has one of the `allowed` statuses, as texts; a request without an answer has the status `none`."""
    chosen = chosen_requests(history, when, settle_seconds)
    judged = f"""{chosen.question}, judged AS (SELECT *, coalesce(status::VARCHAR, 'none') AS told FROM chosen WHERE {_of_region(region)})"""
    values = [*chosen.values, *_regions(region)]
    rows = history.rows(f"{judged} SELECT told, count(*) FROM judged GROUP BY told ORDER BY told", values)
    facts = (", ".join(f"{told}: {number:,}" for told, number in rows),) if rows else ()
    other = [told for told, _ in rows if allowed != "*" and told not in allowed]
    found = history.records(
        f"{judged} SELECT {_FAILED} FROM judged WHERE told IN (SELECT unnest(?::VARCHAR[])) ORDER BY intended_ns LIMIT ?",
        [*values, other, LISTED],
    )
    wrong = sum(number for told, number in rows if told in other)
    return Judgement(sum(number for _, number in rows), facts, (), wrong, findings_of(found))


LIMITS = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "longest": 1.0}


def latency(
    history: History, limits: dict[str, float], region: str | tuple[str, ...], when: str, moment: str
) -> Judgement:
    """`limits` in milliseconds by the names of LIMITS, each for each region by itself; `moment` says until when: the `end`, or the `first_byte`."""
    if not limits:
        return Judgement(0, (), ("no limit was given",))
    chosen = chosen_requests(history, when)
    values = list(chosen.values)
    until = "ended_ns" if moment == "end" else "first_byte_ns"
    # Who never got a first byte has waited for it until the end.
    judged = f"""{chosen.question}, judged AS (SELECT *, (coalesce({until}, ended_ns) - intended_ns) / 1e6 AS ms FROM chosen
        WHERE {_of_region(region)})"""
    quantiles = ", ".join(f"quantile_disc(ms, {LIMITS[name]}) AS {name}" for name in limits)
    rows = history.records(
        f"{judged} SELECT region, count(*) AS total, {quantiles} FROM judged GROUP BY region ORDER BY region",
        [*values, *_regions(region)],
    )
    over = [(row["region"], name) for row in rows for name, limit in limits.items() if row[name] > limit]
    facts = [
        f"{row['region']}: " + ", ".join(f"{name} {row[name]:,.1f} ms of {limit:g}" for name, limit in limits.items())
        for row in rows
    ]
    wrong, found = 0, list[dict[str, Any]]()
    for name in dict.fromkeys(name for _, name in over):
        regions = [each for each, broken in over if broken == name]
        where = f"ms > {limits[name]} AND region IN (SELECT unnest(?::VARCHAR[]))"
        slow = [*values, *_regions(region), regions]
        wrong = max(wrong, history.value(f"{judged} SELECT count(*) FROM judged WHERE {where}", slow))
        found = found or history.records(
            f"""{judged} SELECT id, request_id, format('{{}} in {{}} took {{:.1f}} ms, and {name} may be {limits[name]:g} ms', path, region, ms) AS sentence
            FROM judged WHERE {where} ORDER BY ms DESC LIMIT ?""",
            [*slow, LISTED],
        )
    doubts = _unheard(region, rows)
    return Judgement(sum(row["total"] for row in rows), tuple(facts), doubts, wrong, findings_of(found))


def _of_region(region: str | tuple[str, ...]) -> str:
    return "true" if region == "*" else "region IN (SELECT unnest(?::VARCHAR[]))"


def _regions(region: str | tuple[str, ...]) -> list[list[str]]:
    return [] if isinstance(region, str) else [list(region)]


def _unheard(region: str | tuple[str, ...], rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    heard = {row["region"] for row in rows}
    return () if isinstance(region, str) else tuple(f"nobody asked in {each}" for each in region if each not in heard)
