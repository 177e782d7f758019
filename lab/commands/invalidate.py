"""`cdnlab invalidate ID PATH...`: one invalidation through the management API, and its receipt node by node."""

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from lab.clients.http_client import UnreachableError, get_json
from lab.clients.management_api import ManagementApi
from lab.cluster.finding import find_lab
from lab.cluster.status import LabStatus
from lab.commands.expanded_paths import find_expanded_pattern
from lab.commands.status import align
from lab.errors import LabError, UsageError
from lab.terminal import make_console
from lab.topology.layout import Role

COMPLETION_SECONDS = 60.0
_POLL_SECONDS = 0.02
_HEADINGS = ("NODE", "STATE", "AFTER", "AT")


def run(*, distribution_id: str, paths: list[str], is_literal: bool, is_json: bool, state_dir: Path) -> int:
    if not is_literal:
        refuse_expanded(distribution_id, paths)
    lab = find_lab(state_dir)
    try:
        status = lab.status()
    finally:
        lab.close()
    distribution = status.find_distribution(distribution_id)
    with ManagementApi(status.api) as api:
        invalidation_id = api.invalidate(distribution.id, paths)
    receipt = wait_for_receipt(status, invalidation_id)
    if is_json:
        print(json.dumps(receipt, indent=2))
    else:
        print_receipt(make_console(), receipt)
    return 0 if receipt["status"] == "Completed" else 1


def refuse_expanded(distribution_id: str, paths: list[str]) -> None:
    """UsageError when the paths are what a shell makes of an unquoted `*`: they would be invalidated, and the site would not."""
    found = find_expanded_pattern(paths)
    if found is None:
        return
    pattern, count = found
    first = " ".join(path for path in paths if path.startswith(pattern[:-1]))[:40].rpartition(" ")[0]
    raise UsageError(
        f"{count} of these paths ({first} ...) are all that this machine has for {pattern}: your shell has put them in its place. "
        f"Quote it: cdnlab invalidate {distribution_id} '{pattern}'\n"
        "nothing was invalidated; with --literal the paths are taken as they are"
    )


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
            return f"{since}: its lease is over, and unless it reaches no such node, it confirms what it serves since {node['fenced_since']}"
        case _:
            return since


def print_receipt(console: Console, receipt: dict[str, Any]) -> None:
    """When each node confirmed, and who was left out and since when."""
    heading = (
        f"{receipt['invalidation_id']}  {receipt['status']}  index {receipt['index']}  {' '.join(receipt['paths'])}"
    )
    console.print(heading, markup=False)
    headings, *rows = align([_HEADINGS, *map(_row, receipt["nodes"])])
    console.print(headings, style="bold", markup=False)
    for row in rows:
        console.print(row, markup=False)
    if receipt.get("completed_monotonic_ns") is not None:
        when = (
            f"{receipt['completed_at']}, {receipt['completed_monotonic_ns']} ns of boot {receipt['clock']['boot_id']}"
        )
        console.print(f"completed at {when}", markup=False)


def _row(node: dict[str, Any]) -> tuple[str, ...]:
    after = "" if node["seconds"] is None else f"{node['seconds'] * 1000:.1f} ms"
    return node["id"], node["state"].replace("_", " "), f"{after:>9}", node["acknowledged_at"] or _why_left_out(node)
