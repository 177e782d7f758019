"""`cdnlab time forward DURATION`: moves the lab's clock, and waits until every live node has acknowledged it: that is its receipt (docs/time-travel.md)."""

import json
from pathlib import Path

from lab.agent.client import Document, connect
from lab.cluster.finding import find_lab
from lab.durations import format_duration, parse_duration
from lab.errors import EXIT_FAILED
from lab.experiments.time_travel import NodeAnswer, move_time


def run(*, duration: str, is_json: bool, state_dir: Path) -> int:
    """Exit status 1 when a live node has not followed."""
    seconds = parse_duration(duration)
    lab = find_lab(state_dir)
    try:
        travel = move_time(lab, connect(state_dir), seconds)
    finally:
        lab.close()
    if is_json:
        nodes = [each.to_json() for each in travel.answers]
        print(json.dumps({**travel.moved, "seconds": round(travel.seconds, 6), "nodes": nodes}, indent=2))
    else:
        print("\n".join(describe(travel.moved, list(travel.answers), travel.seconds)))
    return 0 if travel.is_done else EXIT_FAILED


def describe(moved: Document, answers: list[NodeAnswer], seconds: float) -> list[str]:
    """For people."""
    following = [each.id for each in answers if each.state == "acknowledged"]
    away = [each.id for each in answers if each.state == "away"]
    untold = [each["id"] for each in moved["origins"] if not each["told"]]
    lines = [
        f"the lab's clock is {format_duration(moved['ahead_seconds'])} ahead of the true one, by entry {moved['index']}",
        f"{len(following)} nodes have acknowledged it within {seconds:.2f} s: {', '.join(following) or 'none'}",
    ]
    if away:
        lines.append(f"without a lease, and told before they get one: {', '.join(away)}")
    if untold:
        lines.append(f"origins that do not answer, and are told once they do: {', '.join(untold)}")
    return lines + [f"{each.id} {each.reason}" for each in answers if each.state in ("waiting", "refused")]
