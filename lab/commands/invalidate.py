"""`cdnlab invalidate ID PATH...`: one invalidation through the management API, and its receipt node by node."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.clients.http_client import UnreachableError, get_json
from lab.clients.management_api import ManagementApi
from lab.cluster.finding import find_lab
from lab.cluster.status import LabStatus
from lab.errors import LabError
from lab.topology.layout import Role

COMPLETION_SECONDS = 60.0
_POLL_SECONDS = 0.02


def run(*, distribution_id: str, paths: list[str], state_dir: Path) -> int:
    lab = find_lab(state_dir)
    try:
        status = lab.status()
    finally:
        lab.close()
    distribution = status.find_distribution(distribution_id)
    with ManagementApi(status.api) as api:
        invalidation_id = api.invalidate(distribution.id, paths)
    receipt = wait_for_receipt(status, invalidation_id)
    print_receipt(Console(highlight=False), receipt)
    return 0 if receipt["status"] == "Completed" else 1


def wait_for_receipt(status: LabStatus, invalidation_id: str) -> dict[str, Any]:
    """The receipt once it is complete, or as it is when the time is over."""
    admin = status.of_role(Role.CONTROL_PLANE)[0].node.admin
    deadline = time.monotonic() + COMPLETION_SECONDS
    while True:
        try:
            receipt = get_json(admin, f"/receipts/{invalidation_id}")
        except UnreachableError as error:
            raise LabError(f"the control plane does not show receipt {invalidation_id}: {error}") from error
        if receipt["status"] == "Completed" or time.monotonic() >= deadline:
            return receipt
        time.sleep(_POLL_SECONDS)


def _why_left_out(node: dict[str, Any]) -> str:
    """Since when, and why it serves nothing old."""
    if not node["left_out_since"]:
        return ""
    since = f"left out since {node['left_out_since']}"
    match node.get("fenced_by"):
        case "left":
            return f"{since}: it has left"
        case "lease_over":
            return f"{since}: its lease is over, and it confirms what it serves since {node['fenced_since']}"
        case _:
            return since


def print_receipt(console: Console, receipt: dict[str, Any]) -> None:
    """When each node confirmed, and who was left out and since when."""
    heading = (
        f"{receipt['invalidation_id']}  {receipt['status']}  index {receipt['index']}  {' '.join(receipt['paths'])}"
    )
    console.print(heading, markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NODE", "STATE", "AFTER", "AT"):
        table.add_column(column, justify="right" if column == "AFTER" else "left")
    for node in receipt["nodes"]:
        after = "" if node["seconds"] is None else f"{node['seconds'] * 1000:.1f} ms"
        table.add_row(
            node["id"], node["state"].replace("_", " "), after, node["acknowledged_at"] or _why_left_out(node)
        )
    console.print(table)
    if receipt.get("completed_monotonic_ns") is not None:
        when = (
            f"{receipt['completed_at']}, {receipt['completed_monotonic_ns']} ns of boot {receipt['clock']['boot_id']}"
        )
        console.print(f"completed at {when}", markup=False, soft_wrap=True)
