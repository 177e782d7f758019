"""Nothing older than a receipt (docs/invalidation.md): an invalidation that is complete means that whoever asks from then on gets what the origin had after it.

A request counts when its first attempt began after the receipt was complete; its answer may not be produced before the invalidation was issued, by the
origin's stamp. Patterns are matched within one host. Not judged: what was answered by a node that the receipt leaves out while it heard only others that were
left out too (`alone`): nobody can promise that (the third row of the table there).
"""

from collections.abc import Sequence
from typing import Any

from lab.checkers.judgement import LISTED, Judgement, counted, findings_of, seconds
from lab.history.path_patterns import is_wildcard, patterns_of
from lab.history.reader import History

# Requests that may be excused are looked at one by one, as many as these.
_MOST_SUSPECTS = 5_000


def freshness_after_receipts(
    history: History, query_strings: str, *, every_receipt: bool, strict_invalidation: bool
) -> Judgement:
    """`query_strings` says whether the cache policy has them in the key; `every_receipt` wants a request after each; `strict_invalidation` excuses nobody."""
    receipts = history.records("SELECT * FROM invalidations WHERE completed_ns IS NOT NULL")
    usable = [row for row in receipts if row["host"] and row["issued_ns"] is not None]
    doubts = [f"{row['id']}: nobody knows its host, or when it was issued" for row in receipts if row not in usable]
    if tagged := sum(any(each.startswith("#") for each in patterns_of(row["paths"])) for row in usable):
        doubts.append(f"{counted(tagged, 'receipt')} of tags: what they cover is not in a history")
    if not usable:
        return Judgement(0, ("no receipt",), tuple(doubts))
    path = "path" if query_strings == "in_key" else "split_part(path, '?', 1)"
    question = _QUESTION.replace("$PATH", path)
    series = _series(usable)
    row = history.records(question.replace("$CHOSEN", "true") + _COUNTS, series)[0]
    suspects = _suspects(history, question, series, row["first"]) if row["old"] else []
    excused = set() if strict_invalidation else _excused(history, suspects, usable)
    wrong = [_sentence(each) for each in suspects if each["id"] not in excused]
    if every_receipt and row["asked"] < row["series"]:
        doubts.append(
            f"{row['series'] - row['asked']} of {row['series']} invalidated patterns: nobody asked afterwards"
        )
    facts = [
        f"{counted(row['judged'], 'comparison')} of requests with the last of {counted(len(usable), 'receipt')} for their paths"
    ]
    if excused:
        facts.append(f"{len(excused)} more were answered by nodes that no receipt can speak for")
    count = max(row["old"] - len(excused), len(wrong)) if row["old"] > len(suspects) else len(wrong)
    return Judgement(row["judged"], tuple(facts), tuple(doubts), count, findings_of(wrong[:LISTED]))


def _suspects(
    history: History, question: str, series: Sequence[list[Any]], first: Sequence[dict[str, int]]
) -> list[dict[str, Any]]:
    """The first of them, with what is said of each: only these are looked at again."""
    chosen = [[each["started_ns"] for each in first], [each["request"] for each in first]]
    asked = question.replace(
        "$CHOSEN",
        "r.started_ns IN (SELECT unnest(?::BIGINT[])) AND hash(r.id) IN (SELECT unnest(?::UBIGINT[]))",
    )
    return history.records(asked + _SUSPECTS, [*series, *chosen, chosen[0]])


def _series(receipts: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Columns: of each pattern and host, when a receipt was complete, and since when everything is new from then on."""
    rows = [
        (row["host"].lower(), pattern.removesuffix("*") if is_wildcard(pattern) else pattern, is_wildcard(pattern), row)
        for row in receipts
        for pattern in dict.fromkeys(patterns_of(row["paths"]))
        if not pattern.startswith("#")
    ]
    return [
        [host for host, _, _, _ in rows],
        [text for _, text, _, _ in rows],
        [wildcard for _, _, wildcard, _ in rows],
        [row["completed_ns"] for _, _, _, row in rows],
        [row["issued_ns"] for _, _, _, row in rows],
        [row["id"] for _, _, _, row in rows],
    ]


_QUESTION = """
WITH given AS (
    SELECT unnest(?::VARCHAR[]) AS host, unnest(?::VARCHAR[]) AS pattern, unnest(?::BOOLEAN[]) AS wildcard,
        unnest(?::BIGINT[]) AS completed_ns, unnest(?::BIGINT[]) AS issued_ns, unnest(?::VARCHAR[]) AS invalidation_id
), numbered AS MATERIALIZED (SELECT *, dense_rank() OVER (ORDER BY host, pattern, wildcard) AS number FROM given
), series AS MATERIALIZED (
    SELECT number, completed_ns, max(issued_ns) OVER w AS issued_ns, arg_max(invalidation_id, issued_ns) OVER w AS invalidation_id
    FROM numbered WINDOW w AS (PARTITION BY number ORDER BY completed_ns)
), targets AS MATERIALIZED (
    SELECT host, path, lower(host) AS low, $PATH AS target FROM (
        SELECT any_value(host) AS host, any_value(path) AS path FROM requests GROUP BY hash(host, path))
), lengths AS (SELECT DISTINCT host, length(pattern) AS length FROM numbered WHERE wildcard
), covered AS (
    SELECT host, path, low, target AS pattern, false AS wildcard FROM targets
    UNION ALL
    SELECT t.host, t.path, t.low, left(t.target, l.length), true FROM targets t JOIN lengths l ON l.host = t.low WHERE length(t.target) >= l.length
), patterns AS MATERIALIZED (
    SELECT DISTINCT hash(c.host, c.path) AS target, n.number FROM covered c JOIN numbered n ON n.host = c.low AND n.pattern = c.pattern AND n.wildcard = c.wildcard
), asked AS (
    SELECT p.number, r.started_ns, r.stamp_produced_ns, hash(r.id) AS request FROM requests r JOIN patterns p ON p.target = hash(r.host, r.path)
    WHERE $CHOSEN AND r.stamp_produced_ns IS NOT NULL AND r.started_ns IS NOT NULL
), judged AS (
    SELECT a.*, s.completed_ns, s.issued_ns, s.invalidation_id FROM asked a
    ASOF JOIN series s ON s.number = a.number AND a.started_ns > s.completed_ns
)
"""
_COUNTS = f"""
, counted AS (
    SELECT count(*) AS judged, count(DISTINCT number) AS asked,
        list_sort(list(DISTINCT {{'started_ns': started_ns, 'request': request}}) FILTER (stamp_produced_ns < issued_ns)) AS found
    FROM judged
)
SELECT judged, asked, coalesce(len(found), 0) AS old, found[1:{_MOST_SUSPECTS}] AS first, (SELECT max(number) FROM numbered) AS series FROM counted
"""
_SUSPECTS = f"""
, old AS (
    SELECT request, arg_max(completed_ns, issued_ns) AS completed_ns, max(issued_ns) AS issued_ns, arg_max(invalidation_id, issued_ns) AS invalidation_id
    FROM judged WHERE stamp_produced_ns < issued_ns GROUP BY request
)
SELECT o.*, r.id, r.request_id, r.path, r.address, r.started_ns, r.ended_ns, r.stamp_produced_ns AS produced_ns, r.x_cache, lower(r.host) AS host
FROM old o JOIN requests r ON hash(r.id) = o.request WHERE r.started_ns IN (SELECT unnest(?::BIGINT[])) ORDER BY r.started_ns, r.id LIMIT {_MOST_SUSPECTS}
"""


def _sentence(row: dict[str, Any]) -> dict[str, Any]:
    late, old = seconds(row["started_ns"] - row["completed_ns"]), seconds(row["issued_ns"] - row["produced_ns"])
    text = (
        f"{row['path']} came from {row['address']} ({row['x_cache']}) as it was {old} before {row['invalidation_id']} was issued, "
        f"to a request that began {late} after its receipt"
    )
    return row | {"sentence": text}


def _excused(history: History, suspects: Sequence[dict[str, Any]], receipts: Sequence[dict[str, Any]]) -> set[str]:
    """Requests that were answered by a node while it was alone, as it says itself, and that only break receipts which leave that node out."""
    alone = history.records(
        """SELECT node, at_ns AS began_ns, next_ns AS ended_ns FROM (
            SELECT node, at_ns, fence, lead(at_ns) OVER (PARTITION BY node ORDER BY at_ns) AS next_ns FROM leases)
        WHERE fence = 'alone'"""
    )
    if not alone or not suspects:
        return set()
    addresses: dict[str, str] = dict(history.rows("SELECT address, node FROM nodes"))
    return {row["id"] for row in suspects if _is_excused(row, addresses.get(row["address"]), alone, receipts)}


def _is_excused(
    row: dict[str, Any], node: str | None, alone: Sequence[dict[str, Any]], receipts: Sequence[dict[str, Any]]
) -> bool:
    was_alone = any(
        each["node"] == node
        and each["began_ns"] <= row["ended_ns"]
        and (each["ended_ns"] is None or each["ended_ns"] >= row["started_ns"])
        for each in alone
    )
    broken = [
        each
        for each in receipts
        if each["host"].lower() == row["host"]
        and each["completed_ns"] < row["started_ns"]
        and row["produced_ns"] < each["issued_ns"]
        and any(_covers(pattern, row["path"]) for pattern in patterns_of(each["paths"]))
    ]
    return was_alone and bool(broken) and all(node in (each["left_out"] or "").split(",") for each in broken)


def _covers(pattern: str, path: str) -> bool:
    """With or without its query: whoever is excused of more than there was is excused of what there was."""
    bare = path.partition("?")[0]
    return (
        path.startswith(pattern[:-1]) or bare.startswith(pattern[:-1])
        if is_wildcard(pattern)
        else pattern in (path, bare)
    )
