"""The router names who is there: a dead edge leaves DNS answers within its lease (`departure`), and is named again only after it has caught up (`returning`).

An answer belongs to a death when it was asked for after the fault was done everywhere and was there before anything of it was undone, so a witness that stood
still is late and never wrong. The time that a name was kept too long is counted from when the fault was done to when the router was asked: never too much. Not
judged is a death during which the control plane or a router had a fault of its own, or links had one: routers then answer by what they last knew
(docs/request-routing.md).
"""

from typing import Any

from lab.checkers.judgement import LISTED, NANOSECONDS, Judgement, counted, findings_of
from lab.history.reader import History

DEADLY = ("kill", "stop", "pause")
"""Faults by which a node loses its lease."""


def departure(history: History, lease_seconds: float, margin_seconds: float) -> Judgement:
    """`lease_seconds` of the topology, `margin_seconds` of the control plane's own count and the way to the router."""
    bound_ns = round((lease_seconds + margin_seconds) * NANOSECONDS)
    judged, wrong = 0, 0
    facts: list[str] = []
    doubts: list[str] = []
    findings: list[dict[str, Any]] = []
    for death in history.records(_DEATHS, [list(DEADLY)]):
        if death["is_disturbed"]:
            doubts.append(f"{death['place']}: the control plane, a router or a link had a fault meanwhile")
            continue
        row = history.records(_NAMED + _NAMED_COUNTS, _death_values(death, bound_ns))[0]
        if row["wrong"]:
            wrong += row["wrong"]
            findings += history.records(_NAMED + _NAMED_WRONG, [*_death_values(death, bound_ns), LISTED])
        elif not row["was_named"] or not row["after_bound"]:
            why = "nobody asked the router that long after its death" if row["was_named"] else "it was not named before"
            doubts.append(f"{death['place']}: {why}")
        judged += row["after_bound"] if row["was_named"] or row["wrong"] else 0
        last = "not at all" if row["last_s"] is None else f"for {row['last_s']:.1f} s"
        facts.append(
            f"{death['place']} was named {last} after its death; the bound is {lease_seconds + margin_seconds:g} s"
        )
    if judged and not wrong:  # one death that was too short to judge is no doubt about the others
        facts, doubts = [*facts, *doubts], []
    return Judgement(judged, tuple(facts[:LISTED]), tuple(doubts), wrong, findings_of(findings[:LISTED]))


def _death_values(death: dict[str, Any], bound_ns: int) -> list[Any]:
    return [death["began_ns"], death["injected_ns"], death["healing_ns"], bound_ns, death["address"]]


_DEATHS = """
SELECT f.place, f.began_ns, f.injected_ns, f.healing_ns, f.healed_ns, n.address, EXISTS (
        FROM faults o LEFT JOIN nodes p ON p.node = o.place
        WHERE o.began_ns <= coalesce(f.healing_ns, o.began_ns) AND coalesce(o.healed_ns, f.injected_ns) >= f.began_ns AND o.id <> f.id
            AND (p.role IS NULL OR p.role IN ('control_plane', 'dns_router', 'wan') OR o.fault IN ('cut', 'directory-lost'))) AS is_disturbed
FROM faults f JOIN nodes n ON n.node = f.place AND n.role = 'edge'
WHERE f.fault IN (SELECT unnest(?::VARCHAR[])) AND f.injected_ns IS NOT NULL AND n.address IS NOT NULL ORDER BY f.began_ns, f.place
"""
_NAMED = """
WITH death AS (
    SELECT ?::BIGINT AS began_ns, ?::BIGINT AS injected_ns, coalesce(?::BIGINT, 9223372036854775807) AS healing_ns, ?::BIGINT AS bound_ns, ?::VARCHAR AS address
), answers AS (
    SELECT NULL AS id, NULL AS request_id, router AS who, region, asked_ns, answered_ns, addresses FROM dns_answers WHERE coalesce(addresses, '') <> ''
    UNION ALL
    SELECT id, request_id, 'a viewer', region, dns_asked_ns, started_ns, dns_answer FROM requests, death
    WHERE dns_asked_ns > injected_ns AND started_ns < healing_ns AND contains(dns_answer, death.address)
), told AS (
    SELECT a.*, contains(',' || addresses || ',', ',' || address || ',') AS is_named, answered_ns < began_ns AS is_before,
        asked_ns > injected_ns AND answered_ns < healing_ns AS is_during, (asked_ns - injected_ns) AS late_ns, d.bound_ns
    FROM answers a, death d
)
"""
_NAMED_COUNTS = """
SELECT count(*) FILTER (is_during AND late_ns > bound_ns) AS after_bound, coalesce(bool_or(is_before AND is_named), false) AS was_named,
    max(late_ns) FILTER (is_during AND is_named) / 1e9 AS last_s, count(*) FILTER (is_during AND late_ns > bound_ns AND is_named) AS wrong FROM told
"""
_NAMED_WRONG = """
SELECT id, request_id, format('{} in {} was told {} {:.3f} s after the death of {}', CASE WHEN id IS NULL THEN 'a resolver of ' || who ELSE who END,
    region, addresses, late_ns / 1e9, (SELECT address FROM death)) AS sentence
FROM told WHERE is_during AND late_ns > bound_ns AND is_named ORDER BY asked_ns LIMIT ?
"""


def returning(history: History, within_seconds: float) -> Judgement:
    """Of edges that were left out, after the end of the fault: `within_seconds` is how long one may take to be named again; what it must have applied is what others
    had when it was started."""
    judged = 0
    facts: list[str] = []
    doubts: list[str] = []
    wrong: list[str] = []
    for death in history.records(_DEATHS, [list(DEADLY)]):
        if death["healed_ns"] is None or death["is_disturbed"]:
            doubts.append(f"{death['place']}: it did not come back in this run, or other faults were in the way")
            continue
        if history.value(_LEFT_OUT, [death["injected_ns"], death["healing_ns"], death["address"]]) == 0:
            doubts.append(
                f"{death['place']}: nobody saw it left out: it came back within its lease, or was not named before"
            )
            continue
        named = history.records(_NAMED_AGAIN, [death["healing_ns"], death["address"], death["healing_ns"]])[0]
        if named["answered_ns"] is None:
            watched = ((named["last_ns"] or 0) - death["healed_ns"]) / NANOSECONDS
            if watched > within_seconds and named["was_named"]:
                judged += 1
                wrong.append(f"{death['place']} was not named again in {watched:.1f} s after it was healed")
            else:
                doubts.append(f"{death['place']}: nobody saw it named again")
            continue
        places = history.records(_STANDING, [death["place"], named["answered_ns"], death["healing_ns"]])[0]
        after = (named["answered_ns"] - death["healing_ns"]) / NANOSECONDS
        where = f"{death['place']} was named {after:.1f} s after its start, at index {places['own']} of {places['head']} at the start"
        if places["own"] is None or places["head"] is None:
            doubts.append(f"{death['place']}: nobody wrote down how far it or others had applied the log")
            continue
        judged += 1
        (wrong if places["own"] < places["head"] else facts).append(where)
    if judged and not wrong:
        facts, doubts = [*facts, *doubts], []
    rows = [{"sentence": each} for each in wrong[:LISTED]]
    return Judgement(judged, (counted(judged, "return"), *facts[:LISTED]), tuple(doubts), len(wrong), findings_of(rows))


_LEFT_OUT = """
WITH told AS (SELECT router, region, asked_ns, answered_ns, contains(',' || addresses || ',', ',' || a.address || ',') AS is_named, dead_ns, healing_ns
    FROM dns_answers, (SELECT ?::BIGINT AS dead_ns, ?::BIGINT AS healing_ns, ?::VARCHAR AS address) a WHERE addresses IS NOT NULL)
SELECT count(*) FROM told t WHERE NOT is_named AND asked_ns > dead_ns
    AND answered_ns <= coalesce((SELECT min(answered_ns) FROM told WHERE is_named AND asked_ns > healing_ns), answered_ns)
    AND EXISTS (FROM told b WHERE b.router = t.router AND b.region = t.region AND b.is_named AND b.answered_ns < dead_ns)
"""
"""Answers that left it out, where it was named before: since it was dead, and until it was named again. While it was being killed they may be about a death before."""
_NAMED_AGAIN = """
WITH told AS (SELECT *, contains(',' || addresses || ',', ',' || a.address || ',') AS is_named, a.healing_ns
    FROM dns_answers, (SELECT ?::BIGINT AS healing_ns, ?::VARCHAR AS address) a WHERE addresses IS NOT NULL)
SELECT min(answered_ns) FILTER (is_named AND asked_ns > t.healing_ns) AS answered_ns, max(asked_ns) AS last_ns,
    coalesce(bool_or(is_named AND answered_ns < ?), false) AS was_named
FROM told t
"""
_STANDING = """
WITH own AS (SELECT node, arg_max(log_id, at_ns) AS log_id, arg_max("index", (at_ns, "index")) AS "index" FROM applied WHERE node = ? AND at_ns <= ? GROUP BY node)
SELECT (SELECT "index" FROM own) AS own, max(a."index") AS head FROM applied a, own
WHERE a.log_id = own.log_id AND a.node <> own.node AND a.at_ns <= ?
"""
