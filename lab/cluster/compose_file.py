"""From a topology to the text of a Compose file, for people to read: a pure function. deploy/compose.yaml is what it makes of the default topology.

What every lab has stands in files/compose.yaml.template, with @NAMES@ where labs differ; here is what is written for the whole lab, in compose_nodes.py what for each
node, in compose_mounts.py the files that are mounted. Which networks and addresses, is relayed_networks.py's and shared_networks.py's.
"""

import json
import re
from dataclasses import dataclass

from lab.cluster.compose_nodes import region_services, relay_services
from lab.cluster.compose_text import folded, heading, lines, listed, networks
from lab.cluster.container_facts import populations_label
from lab.cluster.container_layout import ContainerLayout
from lab.cluster.container_networks import PLANES, NetworkDefinition, ViewersPlace
from lab.cluster.interface import PopulationRecord
from lab.topology.layout import Role

_WITHOUT_GRPC = (Role.CONTROL_PLANE, Role.ORIGIN, Role.WAN)
_MARK = re.compile(r"@([A-Z0-9_]+)@")
_PLACES_OF_LOAD = "  # Viewers ----"
_VIEWERS_WITH_RELAYS = """\
# A viewer is on the network of its population alone, and meets everybody over the relays, which know by its address
# where it is. (The network `load` is for Locust's master and workers.)"""
_UNTRANSLATED = """\
# Nobody leaves these networks by this machine, so it does not speak for anybody there.
x-untranslated: &untranslated {com.docker.network.bridge.enable_ip_masquerade: "false"}

"""
_VIEWERS_WITHOUT = """\
# A viewer lives in one place and is routed by its address there: it asks the DNS router at the router's address in
# that place. It is connected to the other places as well, as the internet connects a viewer to far-away edges when
# the near ones are gone. It is neither on the backbone nor with the origins."""


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
    notes = "\n".join(f"# {note}" for note in layout.networks.notes)
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
{notes}
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
        **_values_of_networks(layout),
        "LAB_LABELS": f"cdnlab.lab: {topology.name}{folder}",
        "ADMIN": str(ports.admin),
        "API": str(plane.api),
        "GRPC": str(plane.grpc),
        "PLANE_ADMIN": str(plane.admin),
        "VIEWER": str(ports.viewer),
        "ZONE": topology.zone,
        "HOST": layout.host,
        "REPOSITORY": around.repository,
        "DEPLOY": around.deploy,
        "PROMETHEUS_CONFIG": around.prometheus,
        "HOLDERS": folded(_holders(layout), 6),
        "TIMING": f"--heartbeat-seconds {timing.heartbeat_seconds:g} --lease-seconds {timing.lease_seconds:g}",
        "SEED": layout.seed_flag,
        "LEASE": f"{timing.lease_seconds:g}",
        "PLANE_REGION": topology.regions[0].name,
        "POPULATIONS": _all_populations(layout),
        "ORIGIN": f"{topology.origins[0].name}:{ports.origin}" if topology.origins else "",
        "NODES": "\n".join(region_services(layout, region.name) for region in topology.regions),
        "WELCOME": _welcome(layout),
    }


def _values_of_networks(layout: ContainerLayout) -> dict[str, str]:
    """The same of what depends on whether there is distance."""
    plan = layout.networks
    known = [json.dumps(f"{name}:{address}") for name, address in plan.hosts.items()]
    viewers = [PopulationRecord(each.region, each.client_subnet, each.users) for each in plan.viewers]
    return {
        "UNTRANSLATED": _UNTRANSLATED if plan.relays else "",
        "RELAYS": relay_services(layout),
        "CACHE_WAITS": ", wan: {condition: service_started}" if plan.relays else "",
        "CACHE_HOSTS": f"\n  # Who an origin is, by its name in a configuration.\n  extra_hosts: [{', '.join(known)}]"
        if known
        else "",
        "VIEWERS_NOTE": _VIEWERS_WITH_RELAYS if plan.relays else _VIEWERS_WITHOUT,
        "PLANE_NETWORKS": _plane_networks(layout, PLANES[0]),
        "PLANE_2_NETWORKS": _plane_networks(layout, PLANES[1]),
        "PLANE_3_NETWORKS": _plane_networks(layout, PLANES[2]),
        "PLANE_2": plan.grpc_host(PLANES[1]),
        "PLANE_3": plan.grpc_host(PLANES[2]),
        "DESK": plan.desk,
        "PROMETHEUS_NETWORKS": listed("networks", plan.of_prometheus),
        "LOAD_MASTER_NETWORKS": listed("networks", plan.of_load_master),
        "PLACE_POPULATIONS": populations_label(viewers),
        "ROUTER": f"{viewers_router}:53"
        if (viewers_router := next((each.router for each in plan.viewers), ""))
        else "",
        "WORKERS": "\n".join(_worker(each) for each in plan.viewers),
        "NETWORKS": "\n".join(_network(each) for each in plan.definitions),
        "WAN_CONFIG": "\n  wan: {file: wan.yaml}" if plan.relays else "",
    }


def _plane_networks(layout: ContainerLayout, plane: str) -> str:
    return "\n".join(networks(layout.networks.attachments(plane)))


def _all_populations(layout: ContainerLayout) -> str:
    both = zip(layout.topology.populations, layout.networks.population_sources, strict=True)
    return populations_label(
        [PopulationRecord(each.region, each.client_subnet, each.users, source) for each, source in both]
    )


def _holders(layout: ContainerLayout) -> list[str]:
    """Everybody who speaks gRPC, by role and id."""
    others = [f"{node.role}/{node.id}" for node in layout.nodes if node.role not in _WITHOUT_GRPC]
    return [*(f"control_plane/{plane}" for plane in PLANES), *others]


def _welcome(layout: ContainerLayout) -> str:
    """The demo site, where there is an origin of the lab's own for it, and what tells its address."""
    topology, plane = layout.topology, layout.topology.ports.control_plane
    has_demo = topology.demo_distribution and bool(topology.origins)
    address = {name: f"{layout.host}:${{CDNLAB_{name}_PORT:-{layout.published[name]}}}" for name in layout.published}
    demo = lines(
        "  # Runs to its end once the lab is up: a site in front of the first origin, so that there is something to see. A second `up` keeps it.",
        "  demo-site:",
        "    <<: *program",
        "    command: >-",
        f"      python deploy/demo_site.py --api http://control-plane:{plane.api} --origin {topology.origins[0].name}:{topology.ports.origin}"
        if has_demo
        else "",
        "    depends_on: {control-plane: {condition: service_healthy}}",
        "    mem_limit: 128m",
        f"    networks: [{layout.networks.desk}]",
    )
    lab = lines(
        "  # Says where everything is: docker compose logs lab",
        "  lab:",
        "    <<: *program",
        "    command: >-",
        f"      python deploy/addresses.py --name {topology.name} --admin http://control-plane:{plane.admin} --viewers {address['VIEWER']}",
        f"      --api {address['API']} --operators {address['ADMIN']} --prometheus {address['PROMETHEUS']}",
        *([f"      --dns {address['DNS']}"] if topology.routers else []),
        f"    depends_on: {{{_what_lab_waits_for(has_demo=has_demo)}}}",
        "    mem_limit: 64m",
        f"    networks: [{layout.networks.desk}]",
    )
    return "\n".join([heading("What to open"), *([demo] if has_demo else []), lab])


def _what_lab_waits_for(*, has_demo: bool) -> str:
    if has_demo:
        return "demo-site: {condition: service_completed_successfully}"
    return "control-plane: {condition: service_healthy}"


def _worker(place: ViewersPlace) -> str:
    """Viewers of one place."""
    population = {"region": place.region, "client_subnet": place.client_subnet, "users": place.users}
    return lines(
        f"  load-{place.name}:",
        "    <<: *load-worker",
        "    command: >-",
        "      locust --locustfile loadtests/${CDNLAB_LOAD_PROFILE:-mixed}.py --worker --master-host load-master",
        "      --load-plan /var/lib/cdnlab/load-plan.json",
        "    environment:",
        f"      CDNLAB_DNS: {place.router}:53",
        f"      CDNLAB_POPULATIONS: '{json.dumps([population])}'",
        f"    dns: [{place.router}]",
        listed("networks", place.networks),
    )


def _network(definition: NetworkDefinition) -> str:
    addresses = {
        "subnet": definition.subnet,
        "ip_range": definition.dynamic,
        "gateway": definition.gateway,
        "aux_addresses": f"{{DefaultGatewayIPv4: {definition.default_gateway}}}" if definition.default_gateway else "",
    }
    given = ", ".join(f"{key}: {value}" for key, value in addresses.items() if value)
    return "\n".join(
        [
            *([f"  # {definition.comment}"] if definition.comment else []),
            f"  {definition.name}:",
            *(["    internal: true"] if definition.is_internal else []),
            "    labels: *lab",
            *([] if definition.is_translated else ["    driver_opts: *untranslated"]),
            *([f"    ipam: {{config: [{{{given}}}]}}"] if given else []),
        ]
    )
