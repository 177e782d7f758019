"""`cdnlab status`: the lab that is running, as a table for people or as JSON for scripts."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lab.cluster.finding import find_lab
from lab.cluster.status import LabStatus, NodeStatus
from lab.topology.layout import Role

HEADINGS = ("NODE", "ROLE", "REGION", "POP", "STATE", "INDEX", "ADDRESS", "ADMIN", "PROCESS")
_STYLES = {"live": "none", "starting": "yellow", "expired": "yellow", "left": "yellow"}


def run(*, state_dir: Path, is_json: bool) -> int:
    lab = find_lab(state_dir)
    try:
        status = lab.status()
    finally:
        lab.close()
    if is_json:
        print(json.dumps(status.to_json(), indent=2))
    else:
        print_status(Console(highlight=False, soft_wrap=True), status)
    return 0


def print_status(console: Console, status: LabStatus) -> None:
    rows = [_row(each) for each in status.nodes]
    for row, style in zip(align([HEADINGS, *rows]), ["bold", *map(_style, status.nodes)], strict=True):
        console.print(row, style=style, markup=False)
    console.print(f"\nmanagement API  {status.endpoint}   zone {status.zone}", markup=False)
    for line in distribution_lines(status):
        console.print(line, markup=False)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their longest cell; lines are never folded, so that `grep` and `awk` work on them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _row(each: NodeStatus) -> tuple[str, ...]:
    node = each.node
    index = "" if each.applied_index is None else str(each.applied_index)
    handle = node.container or (str(node.pid) if node.pid else "")
    place = (node.id, node.role.value, node.region, node.pop)
    return (*place, each.state, index, node.http or node.dns, node.admin, handle)


def _style(each: NodeStatus) -> str:
    return _STYLES.get(each.state, "red")


def distribution_lines(status: LabStatus) -> list[str]:
    """With the port that viewers use, so that the URL can be opened as it stands."""
    addresses = (each.node.http for each in status.of_role(Role.EDGE))
    port = next((f":{address.rpartition(':')[2]}" for address in addresses if address), "")
    lines = [f"{each.id}  {each.status:10}  http://{each.domain_name}{port}/" for each in status.distributions]
    without = "distributions are not known: the control plane does not answer"
    return lines or [without if status.is_silent_about_distributions else "no distributions"]
