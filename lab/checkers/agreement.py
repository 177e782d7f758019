"""One version has one body, wherever it comes from: caches of both tiers, and of all places, agree.

Whole answers without a content coding are compared: of one host, path, origin and version by their checksums, and the same under one strong ETag
(RFC 9110 section 8.8.1). Paths with which an origin misbehaved are left out of what is wrong, and counted.
"""

from dataclasses import dataclass
from typing import Any

from lab.checkers.bodies import WHOLE_AND_PLAIN
from lab.checkers.judgement import LISTED, Judgement, counted, findings_of
from lab.history.reader import History


def tiers_agree(history: History) -> Judgement:
    """Of all viewers."""
    judged, misbehaved = 0, 0
    rows: list[dict[str, Any]] = []
    for group in _GROUPS:
        total, disagreeing = history.rows(_of(group, _COUNTS))[0]
        judged += total or 0
        if disagreeing:
            found = history.records(_of(group, _DETAILS))
            misbehaved += sum(row["is_misbehaved"] for row in found)
            rows += [row for row in found if not row["is_misbehaved"]]
    facts = [f"bodies that share a version, or a strong ETag: {judged:,}"]
    if misbehaved:
        facts.append(f"left out: {counted(misbehaved, 'path')} with which an origin misbehaved")
    return Judgement(judged, tuple(facts), (), len(rows), findings_of(rows[:LISTED]))


@dataclass(frozen=True, slots=True)
class _Group:
    """Bodies that must be the same: what they have in common, which of them have it, and its name."""

    columns: str
    condition: str
    name: str


_GROUPS = (
    _Group(
        "host, path, stamp_origin, stamp_version",
        "stamp_version IS NOT NULL",
        "'version ' || stamp_version || ' of ' || coalesce(stamp_origin, 'its origin')",
    ),
    _Group("host, path, entity_tag", "entity_tag LIKE '\"%'", "'ETag ' || entity_tag"),
)


def _of(group: _Group, question: str) -> str:
    text = _WHOLE + question
    return text.replace("$COLUMNS", group.columns).replace("$CONDITION", group.condition).replace("$NAME", group.name)


# A first look by a hash of what they share, and one by the columns themselves at those that disagree.
_WHOLE = f"""
WITH whole AS (
    SELECT *, hash($COLUMNS) AS number FROM requests r
    WHERE {WHOLE_AND_PLAIN} AND $CONDITION AND r.body_checksum IS NOT NULL AND (r.content_length IS NULL OR r.content_length = r.received_bytes)
), groups AS (
    SELECT number, count(*) AS total, min(body_checksum) AS one, max(body_checksum) AS other FROM whole GROUP BY number
)
"""
_COUNTS = "SELECT sum(total) FILTER (total > 1), count(*) FILTER (one <> other) FROM groups"
_DETAILS = """
, details AS (
    SELECT path, $NAME AS name, max(ended_ns) AS ended_ns, arg_max(id, body_checksum) AS id, arg_max(request_id, body_checksum) AS request_id,
        arg_min(id, body_checksum) AS other_id
    FROM whole WHERE number IN (SELECT number FROM groups WHERE one <> other) GROUP BY $COLUMNS HAVING min(body_checksum) <> max(body_checksum)
)
SELECT id, request_id, format('{} came with two bodies under {}: the other one in request {}', path, name, other_id) AS sentence,
    EXISTS (FROM origin_requests o WHERE o.path = d.path AND o.misbehaviour IS NOT NULL AND o.started_ns <= d.ended_ns) AS is_misbehaved
FROM details d ORDER BY sentence
"""
