"""`cdnlab status`: the lab that is running, as a table for people or as JSON for scripts."""

import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab.runners.finding import find_lab
from lab.runners.status import DistributionStatus, LabStatus, NodeStatus

_COLOURS = {"live": "green", "starting": "yellow", "expired": "yellow", "left": "yellow"}


def run(*, state_dir: Path, is_json: bool) -> int:
    lab = find_lab(state_dir)
    try:
        status = lab.status()
    finally:
        lab.close()
    if is_json:
        print(json.dumps(status.to_json(), indent=2))
    else:
        print_status(Console(highlight=False), status)
    return 0


def print_status(console: Console, status: LabStatus) -> None:
    console.print(_node_table(status.nodes))
    console.print(f"management API  {status.endpoint}   zone {status.zone}")
    for line in _distribution_lines(status.distributions):
        console.print(line, markup=False, soft_wrap=True)


def _node_table(nodes: Iterable[NodeStatus]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NODE", "ROLE", "REGION", "POP", "STATE", "INDEX", "ADDRESS", "ADMIN", "PROCESS"):
        table.add_column(column, justify="right" if column == "INDEX" else "left", overflow="fold")
    for each in nodes:
        node = each.node
        colour = _COLOURS.get(each.state, "red")
        index = "" if each.applied_index is None else str(each.applied_index)
        handle = node.container or (str(node.pid) if node.pid else "")
        place = (node.id, node.role.value, node.region, node.pop)
        table.add_row(*place, f"[{colour}]{each.state}[/]", index, node.http or node.dns, node.admin, handle)
    return table


def _distribution_lines(distributions: Iterable[DistributionStatus]) -> list[str]:
    lines = [f"{each.id:16} {each.status:12} http://{each.domain_name}/" for each in distributions]
    return lines or ["no distributions"]
