"""How much the caches answer: the hit ratio (`hit_ratio`), and that each tier has answered from its cache at all (`tiers_serve`).

A tier's own record counts (`served`): hits and refresh hits, of these and misses; what is passed by a cache, refused or an error is no lookup.
"""

import re

from lab.checkers.judgement import Judgement, findings_of
from lab.checkers.windows import FOREVER, Window, fault_windows
from lab.history.reader import History

_RATIO = """
SELECT count(*) AS total, count(*) FILTER (v.result IN ('hit', 'refresh_hit')) AS hits FROM served v JOIN nodes n ON n.node = v.node
WHERE v.result IN ('hit', 'refresh_hit', 'miss') AND n.role = ? AND v.started_ns >= ?::BIGINT AND v.started_ns < ?::BIGINT
"""
_SOMEBODY_ELSES = " AND v.reason <> 'collapsed'"
"""Without those who joined a fetch: that needs no cache."""


def hit_ratio(
    history: History,
    at_least: float | None,
    of_before: float | None,
    tier: str,
    warm_up_seconds: float,
    paths: str | tuple[str, ...],
) -> Judgement:
    """`at_least` is a share of the whole run after its warm-up; `of_before` what share of the ratio before the first fault there must be while it is in force.

    `paths` are patterns, of which one must fit; `*` stands for anything.
    """
    begin = history.value("SELECT min(started_ns) FROM served")
    if begin is None or (at_least is None and of_before is None):
        return Judgement(0, (), ("no answer, or nothing to compare with: at_least, of_before",))
    begin += round(warm_up_seconds * 1e9)
    facts, doubts, wrong, judged = [], [], [], 0
    if at_least is not None:
        hits, total = _ratio(history, tier, (begin, FOREVER), paths)
        judged += total
        facts.append(f"{tier}: {hits:,} hits of {total:,}")
        if hits < at_least * total:
            wrong.append(f"the hit ratio of the {tier} tier is {hits / total:.3f}, and must be {at_least:g}")
    for window in fault_windows(history) if of_before is not None else ():
        before, during = (_ratio(history, tier, each, paths) for each in ((begin, window[0]), window))
        judged += during[1]
        if not before[1] or not during[1]:
            doubts.append("no answers before or during the faults")
            continue
        facts.append(
            f"{tier}: {before[0] / before[1]:.4f} before, {during[0] / during[1]:.4f} while faults were in force"
        )
        if during[0] / during[1] < (of_before or 0.0) * before[0] / before[1]:
            wrong.append(
                f"the hit ratio of the {tier} tier fell from {before[0] / before[1]:.3f} to {during[0] / during[1]:.3f}"
            )
        break  # what follows the first window is after a fault, which is another question
    if of_before is not None and not fault_windows(history):
        doubts.append("no fault")
    return Judgement(judged, tuple(facts), tuple(doubts), len(wrong), findings_of({"sentence": each} for each in wrong))


def _ratio(
    history: History, tier: str, window: Window, paths: str | tuple[str, ...] = "*", where: str = ""
) -> tuple[int, int]:
    patterns = [] if isinstance(paths, str) else ["|".join(_expression(each) for each in paths)]
    fitting = " AND regexp_full_match(split_part(v.path, '?', 1), ?)" if patterns else ""
    total, hits = history.rows(_RATIO + fitting + where, [tier, *window, *patterns])[0]
    return hits, total


def _expression(pattern: str) -> str:
    return ".*".join(re.escape(part) for part in pattern.split("*"))


def tiers_serve(history: History) -> Judgement:
    """Both tiers, for as long as nodes of both are known."""
    facts, wrong, doubts = [], [], []
    judged = 0
    for tier in ("edge", "regional"):
        if not history.value("SELECT count(*) FROM nodes WHERE role = ?", [tier]):
            doubts.append(f"no node of the {tier} tier")
            continue
        hits, total = _ratio(history, tier, (0, FOREVER), where=_SOMEBODY_ELSES)
        judged += total
        facts.append(f"{tier}: {hits:,} hits of {total:,}")
        if total and not hits:
            wrong.append(f"the {tier} tier never answered from its cache")
        if not total:
            doubts.append(f"nobody asked the {tier} tier for anything that it may keep")
    return Judgement(judged, tuple(facts), tuple(doubts), len(wrong), findings_of({"sentence": each} for each in wrong))
