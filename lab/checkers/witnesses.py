"""Whether those who should have written a history down did, and on one clock: a promise that nobody watched is neither kept nor broken.

A table has the writers of WRITERS. Each of them must have said that it ran (`lives`), must have dropped no row, and must still have been heard of when it last
answered a viewer. A load generator must have come to its end: what viewers would have seen after it was killed, nobody knows.
Moments of two boots cannot be compared (docs/decisions/0029): then nothing at all can be concluded from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.history.reader import History

WRITERS = {
    "requests": ("load",),
    "served": ("edge", "regional"),
    "fills": ("edge", "regional"),
    "origin_requests": ("origin",),
    "applied": ("edge", "regional", "dns_router"),
    "leases": ("edge", "regional", "dns_router"),
    "directory": ("control_plane",),
    "routed": ("dns_router",),
    "dns_answers": ("lab",),
    "invalidations": ("lab", "control_plane"),
    "acknowledgements": ("lab",),
    "writes": ("lab",),
    "faults": ("lab",),
    "nodes": ("lab",),
}
"""Roles of `nodes`, or one of the two that are no nodes: `lab`, and `load` with its workers. A probe's requests are written by the lab."""
_SILENT_SECONDS = 1.0
"""A program flushes ten times a second; one that answers so long after it was last heard of has stopped writing."""


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What is known of those who wrote some tables down."""

    doubts: tuple[str, ...] = ()
    is_usable: bool = True
    """Whether anything can be concluded: no table is missing, and their moments can be compared."""


def witnesses_of(history: History, tables: Sequence[str]) -> Witnesses:
    """Of everybody who writes these tables."""
    doubts = [f"nobody wrote down {table}" for table in tables if table in history.missing]
    roles = sorted({role for table in tables for role in WRITERS[table]})
    if history.value("SELECT count(*) FROM lives") == 0:
        return Witnesses((*doubts, "nobody said when it ran (lives)"), is_usable=False)
    if not tables:
        return Witnesses()
    boots, of_lives = _judge_lives(history, roles)
    doubts += of_lives
    if len(boots) > 1 or "" in boots:
        names = ", ".join(boot or "unknown" for boot in boots)
        return Witnesses((*doubts, f"the witnesses' moments are of different or unknown boots: {names}"), False)
    return Witnesses(tuple(doubts), is_usable=not history.missing & set(tables))


_LIVES = """
WITH wanted AS (
    SELECT node, address FROM nodes WHERE role IN (SELECT unnest(?::VARCHAR[]))
    UNION ALL
    SELECT DISTINCT node, NULL FROM lives WHERE (node = 'lab' AND ?) OR ((node = 'load' OR node LIKE 'load-%') AND ?)
)
SELECT w.node, w.address, count(l.node) AS lives, max(l.last_ns) AS last_ns,
    sum(coalesce(l.dropped_rows, 0)) AS dropped, count(*) FILTER (l.node IS NOT NULL AND l.dropped_rows IS NULL) AS uncounted,
    list(DISTINCT coalesce(l.boot_id, '')) FILTER (l.node IS NOT NULL) AS boots,
    count(*) FILTER (l.node = 'load' OR l.node LIKE 'load-%') > 0 AND NOT coalesce(bool_or(l.is_ended), false) AS is_cut_off
FROM wanted w LEFT JOIN lives l ON l.node = w.node GROUP BY ALL ORDER BY w.node
"""


def _judge_lives(history: History, roles: Sequence[str]) -> tuple[list[str], list[str]]:
    lab_is_wanted, load_is_wanted = "lab" in roles, "load" in roles
    rows = history.records(_LIVES, [list(roles), lab_is_wanted or load_is_wanted, load_is_wanted])
    doubts = []
    for row in rows:
        if not row["lives"]:
            doubts.append(f"{row['node']} wrote nothing down")
        if row["dropped"]:
            doubts.append(f"{row['node']} dropped {row['dropped']:,} rows that it had no room for")
        elif row["uncounted"]:
            doubts.append(f"{row['node']} does not say whether it dropped rows")
        if row["is_cut_off"]:
            doubts.append(
                f"{row['node']} did not come to its end: what its viewers would have seen from then on is not known"
            )
    there = {row["node"] for row in rows}
    if lab_is_wanted and "lab" not in there:
        doubts.append("the lab wrote nothing down")
    if load_is_wanted and not there:
        doubts.append("the load generator wrote nothing down")
    known = {role for (role,) in history.rows("SELECT DISTINCT role FROM nodes")}
    doubts += [
        f"no node of the role {role} is known" for role in sorted({*roles} - {*known, "lab", "load", "regional"})
    ]
    doubts += _silent(history, [row["node"] for row in rows if row["address"]])
    return sorted({boot for row in rows for boot in row["boots"] or ()}), doubts


def _silent(history: History, nodes: Sequence[str]) -> list[str]:
    """Nodes that answered viewers after they were last heard of."""
    rows = history.rows(
        """SELECT n.node, max(r.started_ns - l.last_ns) / 1e9 FROM nodes n
        JOIN (SELECT node, max(last_ns) AS last_ns FROM lives GROUP BY node) l ON l.node = n.node
        JOIN (SELECT address, max(started_ns) AS started_ns FROM requests WHERE status IS NOT NULL GROUP BY address) r
        ON r.address = n.address
        WHERE n.role = 'edge' AND n.node IN (SELECT unnest(?::VARCHAR[])) GROUP BY n.node HAVING max(r.started_ns - l.last_ns) / 1e9 > ? ORDER BY ALL""",
        [list(nodes), _SILENT_SECONDS],
    )
    return [f"{node} answered viewers {late:.1f} s after it was last heard of" for node, late in rows]
