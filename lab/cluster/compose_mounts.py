"""What a Compose file mounts: the routing table, what Prometheus scrapes, what the relays are told. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

from lab.cluster.container_layout import ContainerLayout
from lab.topology.layout import Role
from lab.topology.relay_file import relay_text

_UNSCRAPED: Final = frozenset({Role.WAN})
"""They have no /metrics: `GET /status` (docs/wan.md)."""


def mounted_files(layout: ContainerLayout) -> Mapping[str, str]:
    """By their names beside the Compose file in a state folder."""
    files = {"routing-table.json": routing_table_file(layout), "prometheus.yml": prometheus_file(layout)}
    return files | ({"wan.yaml": wan_file(layout)} if layout.topology.has_relays else {})


def wan_file(layout: ContainerLayout) -> str:
    """wan.yaml: see docs/wan.md."""
    heading = f"""\
# The relays of the lab {layout.topology.name} in containers, made with its compose.yaml (`make compose`): docs/wan.md has the keys.
"""
    return relay_text(layout.networks.relays, heading)


def routing_table_file(layout: ContainerLayout) -> str:
    """routing-table.json: a line for each thing that it lists."""
    members = (f"  {json.dumps(key)}: {_value(value)}" for key, value in layout.routing_table().items())
    return "{\n" + ",\n".join(members) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return "[\n" + ",\n".join(f"    {json.dumps(each)}" for each in value) + "\n  ]"
    return json.dumps(value)


def prometheus_file(layout: ContainerLayout) -> str:
    """prometheus.yml: every program with its place, in the words of the labels."""
    plane, admin = layout.topology.ports.control_plane.admin, layout.topology.ports.admin
    targets = []
    for node in layout.nodes:
        if node.role in _UNSCRAPED:
            continue
        pop = f", pop: {node.pop}" if node.pop else ""
        port = plane if node.role is Role.CONTROL_PLANE else admin
        targets += [
            f'      - targets: ["{node.id}:{port}"]',
            f"        labels: {{node: {node.id}, role: {node.role}, region: {node.region}{pop}}}",
        ]
    return f"""\
# Prometheus of a lab in containers, made with its compose.yaml (`make compose`). Nodes do not name their place in their own metrics
# (docs/contracts.md), so it is said here, in the same words as the labels there.
global:
  # Short, because a run of the lab takes minutes.
  scrape_interval: 2s
  scrape_timeout: 2s
  evaluation_interval: 2s

rule_files: [rules.yml]

scrape_configs:
  - job_name: cdnlab
    static_configs:
{chr(10).join(targets)}
"""
