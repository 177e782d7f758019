"""From a topology to the text of a Compose file, for people to read: a pure function. deploy/compose.yaml is what it makes of the default topology.

What every lab has stands in files/compose.yaml.template, with @NAMES@ where labs differ; here is what is written for each node and each place.
Which addresses and ports, is container_layout.py's.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lab.cluster.container_facts import populations_label
from lab.cluster.container_layout import STATE, TLS, ContainerLayout, published_variable
from lab.cluster.interface import PopulationRecord
from lab.topology.layout import ALLOW_FAULTS, CONTROL_PLANE_ID, NodeSpec, Role

_REPLICAS = ("control-plane-2", "control-plane-3")
_MARK = re.compile(r"@([A-Z0-9_]+)@")
_WIDTH = 119
_PLACES_OF_LOAD = "  # Viewers ----"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the file says beside the topology: where it lies, and whose it is."""

    project: str = "cdnlab"
    source: str = "lab/topology/files/default.yaml"
    repository: str = ".."
    deploy: str = "."
    prometheus: str = "prometheus/prometheus.yml"
    folder: str = ""
    """Of the command that brings it up; empty for a file that people run."""


def compose_file(layout: ContainerLayout, around: Surroundings, template: str) -> str:
    """The whole file."""
    values = _values(layout, around)
    text = template if _has_load(layout) else _without_load(template)
    return _header(layout, around) + _MARK.sub(lambda mark: values[mark[1]], text)


def _has_load(layout: ContainerLayout) -> bool:
    """Viewers in containers need somebody to be, somebody to ask, and something to ask for."""
    topology = layout.topology
    return bool(topology.populations and topology.routers and topology.origins)


def _without_load(template: str) -> str:
    begin = template.index(_PLACES_OF_LOAD)
    return template[:begin] + template[template.index("# ip_range keeps") :]


def _header(layout: ContainerLayout, around: Surroundings) -> str:
    topology = layout.topology
    counts = ", ".join(
        _count(number, what)
        for number, what in (
            (len(topology.regions), "region"),
            (len(topology.pops), "POP"),
            (len(layout.of_role(Role.EDGE)), "edge"),
            (len(layout.of_role(Role.REGIONAL)), "regional cache"),
            (len(topology.origins), "origin"),
            (len(topology.routers), "DNS router"),
        )
    )
    return f"""\
# The lab {topology.name} in containers: {counts}, 1 control plane, and Prometheus.
# Profiles: `load` has Locust with its page and viewers in each region, `grafana` has Grafana, `replicas` three control planes over one PostgreSQL.
#
#   docker compose up --wait                          from here; `docker compose logs lab` has the addresses to open
#   docker compose --env-file replicas.env up --wait  and two more control planes
#   docker compose --profile load up --wait           and viewers: http://{layout.host}:{layout.published["LOCUST"]}
#   docker compose --profile "*" down --volumes
#
# Made from {around.source} by lab/cluster/compose_file.py (`make compose`): change these, not this file.
# docs/containers.md has the picture of the networks, the reasons, and what to try.
#
# Addresses are fixed because they are answers: an edge tells the control plane the address that viewers reach it at, and the DNS router hands that out.
# {layout.base}.N.0/24 is a place, .100 to .103 the backbone, .200 the origins, .250 the metrics of the origins; routing-table.json has the same.
name: {around.project}

"""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _values(layout: ContainerLayout, around: Surroundings) -> dict[str, str]:
    """What stands for each mark of the template."""
    topology = layout.topology
    ports, timing = topology.ports, topology.timing
    plane = ports.control_plane
    folder = f", cdnlab.folder: {json.dumps(around.folder)}" if around.folder else ""
    return {
        **{f"PORT_{name}": str(port) for name, port in layout.published.items()},
        "LAB_LABELS": f"cdnlab.lab: {topology.name}{folder}",
        "ADMIN": str(ports.admin),
        "API": str(plane.api),
        "GRPC": str(plane.grpc),
        "PLANE_ADMIN": str(plane.admin),
        "VIEWER": str(ports.viewer),
        "ZONE": topology.zone,
        "HOST": layout.host,
        "BASE": layout.base,
        "BACKBONE": layout.backbone,
        "DYNAMIC": f"{layout.base}.103",
        "REPOSITORY": around.repository,
        "DEPLOY": around.deploy,
        "PROMETHEUS_CONFIG": around.prometheus,
        "HOLDERS": _folded(_holders(layout), 6),
        "TIMING": f"--heartbeat-seconds {timing.heartbeat_seconds:g} --lease-seconds {timing.lease_seconds:g}",
        "LEASE": f"{timing.lease_seconds:g}",
        "PLANE_REGION": topology.regions[0].name,
        "POPULATIONS": _all_populations(layout),
        "PLACE_POPULATIONS": populations_label(layout.place_populations),
        "ORIGIN": f"{topology.origins[0].name}:{ports.origin}" if topology.origins else "",
        "ROUTER": f"{layout.routers_in(topology.regions[0].name)[0]}:53" if topology.routers else "",
        "NODES": "\n".join(_region(layout, region.name) for region in topology.regions),
        "WELCOME": _welcome(layout),
        "WORKERS": "\n".join(_worker(layout, each.region, each.users) for each in layout.place_populations),
        "PLACES": "\n".join(_place(layout, region.name) for region in topology.regions),
    }


def _all_populations(layout: ContainerLayout) -> str:
    populations = layout.topology.populations
    return populations_label([PopulationRecord(each.region, each.client_subnet, each.users) for each in populations])


def _holders(layout: ContainerLayout) -> list[str]:
    """Everybody who speaks gRPC, by role and id."""
    planes = (CONTROL_PLANE_ID, *_REPLICAS)
    others = [f"{node.role}/{node.id}" for node in layout.nodes if node.role not in (Role.CONTROL_PLANE, Role.ORIGIN)]
    return [*(f"control_plane/{plane}" for plane in planes), *others]


def _folded(words: Sequence[str], indent: int) -> str:
    """A folded scalar of YAML: lines of words, each flag beside its value."""
    lines = [" " * indent]
    for part in re.split(r" (?=--)", " ".join(words)) if any(word.startswith("--") for word in words) else words:
        if len(lines[-1]) > indent and len(lines[-1]) + 1 + len(part) > _WIDTH:
            lines.append(" " * indent)
        lines[-1] += part if len(lines[-1]) == indent else f" {part}"
    return "\n".join(lines)


def _region(layout: ContainerLayout, region: str) -> str:
    """All nodes of a region, under a heading; the control plane has its own place in the template."""
    heading = f"  # {region} "
    services = [_service(layout, node) for node in layout.nodes if node.region == region]
    order = [service for service in services if service]
    return "\n".join([heading.ljust(_WIDTH - 1, "-") + "\n", *order])


def _service(layout: ContainerLayout, node: NodeSpec) -> str:
    match node.role:
        case Role.EDGE | Role.REGIONAL:
            return _cache(layout, node)
        case Role.DNS_ROUTER:
            return _router(layout, node)
        case Role.ORIGIN:
            return _origin(layout, node)
        case Role.CONTROL_PLANE | Role.WAN:
            return ""


def _cache(layout: ContainerLayout, node: NodeSpec) -> str:
    flags = dict(pairwise(node.flags))
    own = [f"{name} {flags[name]}" for name in ("--cache-bytes", "--eviction-policy", "--disk-bytes") if name in flags]
    ports, admin = layout.topology.ports, layout.topology.ports.admin
    command = [
        *f"python -m edge_node --node-id {node.id} --role {node.role} --region {node.region} --pop {node.pop}".split(),
        *f"--listen 0.0.0.0:{ports.viewer} --advertise {layout.reached_at(node)} --admin 0.0.0.0:{admin}".split(),
        *f"--advertise-admin {layout.addresses[node.id]['backbone']}:{admin}".split(),
        *_grpc(layout, node),
        *" ".join(own).split(),
        *f"--access-log {STATE / node.id}/access.log {ALLOW_FAULTS}".split(),
    ]
    published = [_published(layout, published_variable(node), ports.viewer)] if node.role is Role.EDGE else []
    if published and node.id == layout.of_role(Role.EDGE)[0].id:
        published.insert(0, _published(layout, "VIEWER", ports.viewer))
    return _lines(
        f"  {node.id}:",
        "    <<: *cache",
        "    command: >-",
        _folded(command, 6),
        f"    mem_limit: {layout.memory_mib(node)}m",
        *_ports(published),
        *_networks(layout, node),
        *_labels(node),
    )


def _grpc(layout: ContainerLayout, node: NodeSpec) -> list[str]:
    grpc = layout.topology.ports.control_plane.grpc
    return [
        *("--control-plane", f"${{CDNLAB_CONTROL_PLANES:-control-plane:{grpc}}}"),
        *("--tls-dir", str(TLS / node.id), "--state-dir", str(STATE / node.id)),
    ]


def _router(layout: ContainerLayout, node: NodeSpec) -> str:
    admin, backbone = layout.topology.ports.admin, layout.addresses[node.id]["backbone"]
    command = [
        *f"python -m dns_router --node-id {node.id} --region {node.region} --listen 0.0.0.0:53".split(),
        *f"--advertise {backbone}:53 --admin 0.0.0.0:{admin} --advertise-admin {backbone}:{admin}".split(),
        *_grpc(layout, node),
        ALLOW_FAULTS,
    ]
    published = [_published(layout, "DNS", 53, f"/{protocol}") for protocol in ("udp", "tcp")]
    return _lines(
        f"  {node.id}:",
        "    <<: *program",
        "    # An address in each place, so that a viewer's query arrives from the viewer's address there.",
        "    command: >-",
        _folded(command, 6),
        "    depends_on: {control-plane: {condition: service_started}}",
        "    healthcheck: *health",
        "    mem_limit: 128m",
        '    volumes: ["state:/var/lib/cdnlab", "tls:/etc/cdnlab/tls:ro"]',
        *_ports(published if node.id == layout.of_role(Role.DNS_ROUTER)[0].id else []),
        *_networks(layout, node),
        *_labels(node),
    )


def _origin(layout: ContainerLayout, node: NodeSpec) -> str:
    flags = f"--node-id {node.id} --listen {layout.reached_at(node)} --admin 0.0.0.0:{layout.topology.ports.admin}"
    return _lines(
        f"  {node.id}:",
        "    <<: *origin",
        "    # Content on the origins' network only; the admin port also answers Prometheus on the network `metrics`.",
        f"    command: python -m origin {flags}",
        *_networks(layout, node),
        *_labels(node),
    )


def _published(layout: ContainerLayout, name: str, port: int, protocol: str = "") -> str:
    return f'"{layout.host}:${{CDNLAB_{name}_PORT:-{layout.published[name]}}}:{port}{protocol}"'


def _ports(published: Sequence[str]) -> Iterator[str]:
    if len(published) == 1:
        yield f"    ports: [{published[0]}]"
    elif published:
        yield "    ports:"
        yield from (f"      - {each}" for each in published)


def _networks(layout: ContainerLayout, node: NodeSpec) -> Iterator[str]:
    yield "    networks:"
    for network, address in layout.addresses[node.id].items():
        yield f"      {network}: {{ipv4_address: {address}}}" if address else f"      {network}: {{}}"


def _labels(node: NodeSpec) -> Iterator[str]:
    place = f"cdnlab.region: {node.region}, cdnlab.pop: {node.pop or json.dumps('')}"
    yield f"    labels: {{<<: *lab, cdnlab.node: {node.id}, cdnlab.role: {node.role}, {place}}}"


def _welcome(layout: ContainerLayout) -> str:
    """The demo site, where there is an origin of the lab's own for it, and what tells its address."""
    topology, plane = layout.topology, layout.topology.ports.control_plane
    has_demo = topology.demo_distribution and bool(topology.origins)
    address = {name: f"{layout.host}:${{CDNLAB_{name}_PORT:-{layout.published[name]}}}" for name in layout.published}
    demo = _lines(
        "  # Runs to its end once the lab is up: a site in front of the first origin, so that there is something to see. A second `up` keeps it.",
        "  demo-site:",
        "    <<: *program",
        "    command: >-",
        f"      python deploy/demo_site.py --api http://control-plane:{plane.api} --origin {topology.origins[0].name}:{topology.ports.origin}"
        if has_demo
        else "",
        "    depends_on: {control-plane: {condition: service_healthy}}",
        "    mem_limit: 128m",
        "    networks: [backbone]",
    )
    lab = _lines(
        "  # Says where everything is: docker compose logs lab",
        "  lab:",
        "    <<: *program",
        "    command: >-",
        f"      python deploy/addresses.py --name {topology.name} --admin http://control-plane:{plane.admin} --viewers {address['VIEWER']}",
        f"      --api {address['API']} --operators {address['ADMIN']} --prometheus {address['PROMETHEUS']}",
        *([f"      --dns {address['DNS']}"] if topology.routers else []),
        f"    depends_on: {{{_what_lab_waits_for(has_demo=has_demo)}}}",
        "    mem_limit: 64m",
        "    networks: [backbone]",
    )
    heading = "  # What to open ".ljust(_WIDTH - 1, "-") + "\n"
    return "\n".join([heading, *([demo] if has_demo else []), lab])


def _what_lab_waits_for(*, has_demo: bool) -> str:
    if has_demo:
        return "demo-site: {condition: service_completed_successfully}"
    return "control-plane: {condition: service_healthy}"


def _worker(layout: ContainerLayout, region: str, users: int) -> str:
    """Viewers of one place: their own network first, the others as the internet has them."""
    router = layout.routers_in(region)[0] if layout.topology.routers else ""
    population = {"region": region, "client_subnet": f"{layout.place(region)}.0/24", "users": users}
    others = [each.name for each in layout.topology.regions if each.name != region]
    networks = ", ".join(f"{name}: {{}}" for name in (region, *others, "load"))
    return _lines(
        f"  load-{region}:",
        "    <<: *load-worker",
        "    command: >-",
        "      locust --locustfile loadtests/${CDNLAB_LOAD_PROFILE:-mixed}.py --worker --master-host load-master",
        "      --load-plan /var/lib/cdnlab/load-plan.json",
        "    environment:",
        f"      CDNLAB_DNS: {router}:53",
        f"      CDNLAB_POPULATIONS: '{json.dumps([population])}'",
        f"    dns: [{router}]",
        f"    networks: {{{networks}}}",
    )


def _place(layout: ContainerLayout, region: str) -> str:
    net = layout.place(region)
    return "\n".join(
        [
            f"  {region}:",
            "    labels: *lab",
            f"    ipam: {{config: [{{subnet: {net}.0/24, ip_range: {net}.128/25, gateway: {net}.1}}]}}",
        ]
    )


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


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
