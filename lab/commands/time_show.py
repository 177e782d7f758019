"""`cdnlab time show`: how far the lab's clock is ahead, by each of its programs (docs/time-travel.md)."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from lab.clients.http_client import UnreachableError, get_json
from lab.cluster.finding import find_lab
from lab.cluster.status import PROBE_SECONDS, RunningNode
from lab.commands.status import align
from lab.durations import format_duration
from lab.topology.layout import Role

_HEADINGS = ("NODE", "ROLE", "AHEAD")
_MOST_AT_ONCE = 16

Row = tuple[str, str, float | None]
"""Id, role, and seconds; None of one that does not answer."""


def run(*, is_json: bool, state_dir: Path) -> int:
    """Whoever is asked says it for itself."""
    lab = find_lab(state_dir)
    try:
        nodes = [node for node in lab.nodes() if node.role is not Role.WAN]
    finally:
        lab.close()
    with ThreadPoolExecutor(_MOST_AT_ONCE) as threads:
        rows = list(threads.map(_ask, nodes))
    now = time.time()
    print(json.dumps(to_json(rows, now), indent=2) if is_json else "\n".join(describe(rows, now)))
    return 0


def _ask(node: RunningNode) -> Row:
    said = None
    if node.is_running:
        try:
            said = get_json(node.admin, "/status", PROBE_SECONDS).get("clock_ahead_seconds")
        except UnreachableError:
            said = None
    return node.id, node.role.value, None if said is None else float(said)


def lab_ahead(rows: list[Row]) -> float | None:
    """What the log says, as far as the control plane answers."""
    return next((ahead for _, role, ahead in rows if role == Role.CONTROL_PLANE.value), None)


def to_json(rows: list[Row], now: float) -> dict[str, object]:
    """As scripts get it."""
    ahead = lab_ahead(rows)
    nodes = [{"id": node_id, "role": role, "ahead_seconds": said} for node_id, role, said in rows]
    return {"ahead_seconds": ahead, "time": None if ahead is None else _written(now + ahead), "nodes": nodes}


def describe(rows: list[Row], now: float) -> list[str]:
    """For people."""
    ahead = lab_ahead(rows)
    said = (
        "the control plane does not answer"
        if ahead is None
        else f"the lab's clock says {_written(now + ahead)}, {format_duration(ahead)} ahead of the true one"
    )
    table = [(node_id, role, "does not answer" if own is None else format_duration(own)) for node_id, role, own in rows]
    return [said, *align([_HEADINGS, *table])]


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
