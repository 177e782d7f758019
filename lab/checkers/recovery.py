"""Viewers are well again within a bound after a fault has begun, or after it was healed.

Judged are requests begun after the bound that were over before the next fault began, or, of what follows an injection, before this one was being undone; and of those
that were not over by then and failed, whoever had waited for longer than the bound already.
"""

from typing import Any

from lab.checkers.judgement import LISTED, NANOSECONDS, Judgement, findings_of, seconds
from lab.checkers.windows import ASKED, FOREVER
from lab.history.reader import History


def recovery(history: History, within_seconds: float, after: str, at_least: float) -> Judgement:
    """`after` is `injection` or `heal`; `at_least` is the share of requests that must be good, in each region."""
    bound = round(within_seconds * NANOSECONDS)
    judged, wrong, facts, doubts, findings = 0, 0, [], [], []
    for name, began, begin, end in _windows(history, after, bound):
        values = [begin, end, end - bound]
        where = "intended_ns > ?::BIGINT AND started_ns IS NOT NULL AND (ended_ns < ?::BIGINT OR is_failed AND intended_ns < ?::BIGINT)"
        rows = history.records(
            f"{ASKED} SELECT region, count(*) AS total, count(*) FILTER (is_failed) AS failed FROM viewers WHERE {where} GROUP BY region ORDER BY region",
            values,
        )
        if not rows:
            doubts.append(f"{name}: nobody asked later than {within_seconds:g} s after it")
        judged += sum(row["total"] for row in rows)
        short = [row["region"] for row in rows if row["total"] - row["failed"] < at_least * row["total"]]
        facts.append(
            f"{name}: "
            + (", ".join(f"{row['region']} {row['failed']:,} of {row['total']:,} failed" for row in rows) or "-")
        )
        if short:
            wrong += sum(row["failed"] for row in rows if row["region"] in short)
            failed = history.records(
                f"""{ASKED} SELECT id, request_id, path, region, intended_ns, coalesce(error, 'status ' || status, 'no answer') AS why
                FROM viewers WHERE {where} AND is_failed AND region IN (SELECT unnest(?::VARCHAR[])) ORDER BY intended_ns LIMIT ?""",
                [*values, short, LISTED],
            )
            findings += [row | {"sentence": _sentence(row, name, began)} for row in failed]
    if not facts:
        facts.append(f"no {after} of a fault")
    return Judgement(judged, tuple(facts[:LISTED]), tuple(doubts), wrong, findings_of(findings[:LISTED]))


def _windows(history: History, after: str, bound: int) -> list[tuple[str, int, int, int]]:
    """What happened, when, and between which moments nobody may fail."""
    rows = history.records(
        """SELECT id, any_value(fault) AS fault, string_agg(place, ', ' ORDER BY place) AS places, min(began_ns) AS began_ns,
            max(injected_ns) AS injected_ns, min(healing_ns) AS healing_ns, max(healed_ns) AS healed_ns FROM faults GROUP BY id ORDER BY began_ns, id"""
    )
    windows = []
    for row in rows:
        moment = row["injected_ns"] if after == "injection" else row["healed_ns"]
        if moment is None:
            continue
        others = [each["began_ns"] for each in rows if each["id"] != row["id"] and each["began_ns"] >= row["began_ns"]]
        end = min([FOREVER, *others] + ([row["healing_ns"]] if after == "injection" and row["healing_ns"] else []))
        is_alone = after == "injection" or end > moment
        if is_alone:
            windows.append((f"the {after} of {row['fault']} of {row['places']}", moment, moment + bound, end))
    return windows


def _sentence(row: dict[str, Any], name: str, began: int) -> str:
    return f"{row['path']} in {row['region']} failed ({row['why']}) {seconds(row['intended_ns'] - began)} after {name}"
