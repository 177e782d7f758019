"""`cdnlab status`: the lab that is running, as a table for people or as JSON for scripts."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from lab.cluster.finding import find_lab
from lab.cluster.interface import LabFacts
from lab.cluster.status import LabStatus, NodeStatus
from lab.commands.agent_line import AgentStatus, agent_line, look_at_agent
from lab.commands.viewer_urls import curl_command, opens_as_it_stands, url_of, why_not
from lab.terminal import make_console

HEADINGS = ("NODE", "ROLE", "REGION", "POP", "STATE", "INDEX", "ADDRESS", "ADMIN", "PROCESS")
_STYLES = {"live": "none", "starting": "yellow", "expired": "yellow", "left": "yellow"}


def run(*, state_dir: Path, is_json: bool) -> int:
    lab = find_lab(state_dir)
    try:
        facts, status = lab.facts, lab.status()
    finally:
        lab.close()
    agent = look_at_agent(state_dir)
    if is_json:
        print(json.dumps(to_json(status, facts, agent), indent=2))
    else:
        print_status(make_console(), status, facts, agent)
    return 0


def to_json(status: LabStatus, facts: LabFacts, agent: AgentStatus | None) -> dict[str, object]:
    """The stable interface: what the nodes say, and where viewers and commands go on."""
    document = status.to_json()
    for each in document["distributions"]:
        each["url"] = url_of(each["domain_name"], facts)
    return {
        **document,
        "seed": facts.seed,
        "viewers": {"http": facts.shared_http or None, "opens_as_it_stands": opens_as_it_stands(facts)},
        "agent": agent.to_json() if agent is not None else None,
    }


def print_status(console: Console, status: LabStatus, facts: LabFacts, agent: AgentStatus | None) -> None:
    rows = [_row(each) for each in status.nodes]
    for row, style in zip(align([HEADINGS, *rows]), ["bold", *map(_style, status.nodes)], strict=True):
        console.print(row, style=style, markup=False)
    seed = "" if facts.seed is None else f"   seed {facts.seed}"
    console.print(f"\nmanagement API  {status.endpoint}   zone {status.zone}{seed}", markup=False)
    if agent is not None:
        console.print(f"agent           {agent_line(agent)}", markup=False)
    for line in distribution_lines(status, facts):
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


def distribution_lines(status: LabStatus, facts: LabFacts) -> Iterator[str]:
    """With the port that viewers use, so that the URL can be opened as it stands; or with what can be done instead."""
    for each in status.distributions:
        yield f"{each.id}  {each.status:10}  {url_of(each.domain_name, facts)}"
    if status.distributions and not opens_as_it_stands(facts):
        yield f"{why_not(facts)}; this asks the lab:"
        yield f"  {curl_command(status.distributions[-1].domain_name, facts)}"
    if not status.distributions:
        without = "distributions are not known: the control plane does not answer"
        yield without if status.is_silent_about_distributions else "no distributions"
