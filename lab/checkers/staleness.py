"""Never beyond the freshness lifetime and its stale windows, as the answer's Cache-Control and the cache policy have them (lifetimes.py).

The age of an answer is at least the time from when the origin made it (its stamp) until the request for it began: whoever decided to give it did so later.
A cache may think it younger by what its own rules allow, and by no more: it learns an age in whole seconds of the tier above it (Age, RFC 9111 section 5.1),
so up to a second is lost where there are two tiers; and it counts from when an answer came. How long
that took is in the moments of `fills`: for each tier the longest one that may have brought it.
The lab's clock may have been moved meanwhile: an answer from before is older by as much for whoever asks after all nodes have acknowledged that.
Only a failing upstream opens the window of stale-if-error: somebody on the way says `stale_on_error` for this path (`served`) while the request was
under way, or the fill that it joined.
"""

from lab.checkers.judgement import LISTED, Judgement, counted, findings_of
from lab.checkers.lifetimes import Policy, allowed_age
from lab.history.reader import History

_MOST_SUSPECTS = 100_000


def staleness(
    history: History, minimum_ttl_seconds: float, default_ttl_seconds: float, maximum_ttl_seconds: float
) -> Judgement:
    """By the TTLs of the cache policy. Answers that are errors are left out: they have rules of their own."""
    try:
        policy = Policy(minimum_ttl_seconds, default_ttl_seconds, maximum_ttl_seconds)
    except ValueError as error:
        return Judgement(0, (), (str(error),))
    fields = [each for (each,) in history.rows("SELECT DISTINCT coalesce(cache_control, '') FROM requests")]
    allowed = [allowed_age(each, policy) for each in fields]
    columns = [fields, [round(each.usual * 1e9) for each in allowed], [round(each.on_error * 1e9) for each in allowed]]
    row = history.records(_QUESTION + _COUNTS, columns)[0]
    rows = history.records(_QUESTION + _WRONG, columns) if row["suspects"] else []
    facts = [f"{counted(row['judged'], 'answer')}, the oldest {row['oldest'] or 0:.1f} s old when it was asked for"]
    if row["suspects"]:
        facts.append(
            f"{counted(row['suspects'], 'answer')} beyond its time by the origin's clock alone, {len(rows):,} by the tiers' as well"
        )
    return Judgement(row["judged"], tuple(facts), (), len(rows), findings_of(rows[:LISTED]))


_QUESTION = """
WITH fields AS (SELECT unnest(?::VARCHAR[]) AS cache_control, unnest(?::BIGINT[]) AS usual, unnest(?::BIGINT[]) AS on_error
), tiers AS (SELECT (count(*) FILTER (role = 'regional') > 0)::BIGINT * 1000000000 AS lost FROM nodes
), judged AS (
    SELECT r.id, r.request_id, r.host, r.path, r.started_ns, r.ended_ns, r.address, r.x_cache, r.stamp_produced_ns AS produced_ns,
        r.started_ns - r.stamp_produced_ns + coalesce((SELECT sum(m.by_seconds) * 1000000000 FROM time_moves m
            WHERE m.asked_ns >= r.stamp_produced_ns AND m.everywhere_ns <= r.started_ns), 0)::BIGINT AS age,
        f.usual + tiers.lost AS usual, f.on_error + tiers.lost AS on_error
    FROM requests r JOIN fields f ON f.cache_control = coalesce(r.cache_control, '') CROSS JOIN tiers
    WHERE r.stamp_produced_ns IS NOT NULL AND r.started_ns IS NOT NULL AND r.status < 400
)
"""
_COUNTS = "SELECT count(*) AS judged, max(age) / 1e9 AS oldest, count(*) FILTER (age > usual) AS suspects FROM judged"
_WRONG = f"""
, suspects AS (
    SELECT * FROM judged WHERE age > usual ORDER BY started_ns LIMIT {_MOST_SUSPECTS}
), places AS (
    SELECT s.id, coalesce(n.node, '') AS edge FROM suspects s LEFT JOIN nodes n ON n.address = s.address
), carried AS (
    SELECT s.id, f.tier, max(f.ended_ns - f.started_ns) AS took FROM suspects s
    JOIN places p ON p.id = s.id
    JOIN fills f ON f.host = s.host AND split_part(f.path, '?', 1) = split_part(s.path, '?', 1)
        AND f.ended_ns >= s.produced_ns AND f.started_ns <= s.ended_ns AND f.error IS NULL
    JOIN nodes n ON n.node = f.node AND (n.role = 'regional' OR n.node = p.edge)
    GROUP BY ALL
), slack AS (SELECT id, sum(took) AS took FROM carried GROUP BY id
), forgiven AS (
    SELECT DISTINCT s.id FROM suspects s LEFT JOIN slack k ON k.id = s.id
    JOIN served v ON v.host = s.host AND split_part(v.path, '?', 1) = split_part(s.path, '?', 1)
        AND v.reason = 'stale_on_error' AND v.started_ns <= s.ended_ns AND v.ended_ns + coalesce(k.took, 0) >= s.started_ns
), asked_for AS (
    SELECT DISTINCT s.id FROM suspects s JOIN served v ON v.request_id = s.request_id AND v.reason = 'stale_on_request'
)
SELECT s.id, s.request_id, format('{{}} came from {{}} ({{}}) {{:.3f}} s after the origin had made it, {{:.3f}} s beyond its time', s.path, s.address,
    s.x_cache, age / 1e9, (age - coalesce(took, 0) - CASE WHEN v.id IS NULL THEN usual ELSE on_error END) / 1e9) AS sentence
FROM suspects s LEFT JOIN slack ON slack.id = s.id LEFT JOIN forgiven v ON v.id = s.id ANTI JOIN asked_for q ON q.id = s.id
WHERE age - coalesce(took, 0) > CASE WHEN v.id IS NULL THEN usual ELSE on_error END ORDER BY s.started_ns, s.id
"""
