"""The services of a Compose file that are the lab's nodes: caches, routers, origins, and the relays between them. Pure; the control plane is in the template."""

from itertools import pairwise

from lab.cluster.compose_text import folded, heading, labels, lines, networks, ports, published
from lab.cluster.container_layout import RELAYS_MEMORY_MIB, STATE, TLS, ContainerLayout, history_of, published_variable
from lab.cluster.container_networks import PLANES
from lab.topology.layout import ALLOW_FAULTS, NodeSpec, Role


def region_services(layout: ContainerLayout, region: str) -> str:
    """All nodes of a region, under a heading."""
    services = [_service(layout, node) for node in layout.nodes if node.region == region]
    return "\n".join([heading(region), *(service for service in services if service)])


def relay_services(layout: ContainerLayout) -> str:
    """The relays, under a heading; nothing without distance."""
    found = [_relays(layout, node) for node in layout.of_role(Role.WAN)]
    return "\n".join([heading("The internet"), *found, ""]) if found else ""


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


def _relays(layout: ContainerLayout, node: NodeSpec) -> str:
    port = layout.topology.ports.wan
    return lines(
        f"  {node.id}:",
        "    <<: *program",
        "    # It begins as root to take the addresses that it listens at (deploy/relay_addresses.py), and becomes user 10001 without any right before",
        "    # it opens the first socket. As the first process, for one that waits for it would stay root.",
        '    user: "0:0"',
        "    cap_add: [NET_ADMIN, SETGID, SETUID]",
        "    init: false",
        '    sysctls: {net.ipv4.ip_forward: "0", net.ipv4.conf.all.arp_ignore: "0"}',
        "    command: python -m deploy.relay_addresses --config /etc/cdnlab/wan.yaml --user 10001",
        "    healthcheck:",
        "      <<: *health",
        f'      test: [CMD, python, -IS, /opt/cdnlab/deploy/healthcheck.py, "{port}", /healthz]',
        f"    mem_limit: {RELAYS_MEMORY_MIB}m",
        "    configs: [{source: wan, target: /etc/cdnlab/wan.yaml}]",
        *ports([published(layout, "WAN", port)]),
        *networks(layout.networks.attachments(node.id)),
        *labels(layout, node),
    )


def _cache(layout: ContainerLayout, node: NodeSpec) -> str:
    flags = dict(pairwise(node.flags))
    own = [f"{name} {flags[name]}" for name in ("--cache-bytes", "--eviction-policy", "--disk-bytes") if name in flags]
    viewer, admin = layout.topology.ports.viewer, layout.topology.ports.admin
    reached = layout.networks.reached_at(node)
    trusted = layout.networks.trusted_proxies if node.role is Role.EDGE else ""
    command = [
        *f"python -m edge_node --node-id {node.id} --role {node.role} --region {node.region} --pop {node.pop}".split(),
        *f"--listen {layout.networks.listens_at(node)}:{viewer} --advertise {reached.http}".split(),
        *f"--admin 0.0.0.0:{admin} --advertise-admin {reached.admin}".split(),
        *(["--trusted-proxies", trusted] if trusted else []),
        *_grpc(layout, node),
        *" ".join(own).split(),
        *f"--access-log {STATE / node.id}/access.log --history {history_of(node.id)} {ALLOW_FAULTS} {layout.seed_flag}".split(),
    ]
    own_ports = [published(layout, published_variable(node), viewer)] if node.role is Role.EDGE else []
    if own_ports and node.id == layout.of_role(Role.EDGE)[0].id:
        own_ports.insert(0, published(layout, "VIEWER", viewer))
    return lines(
        f"  {node.id}:",
        "    <<: *cache",
        "    command: >-",
        folded(command, 6),
        f"    mem_limit: {layout.memory_mib(node)}m",
        *ports(own_ports),
        *networks(layout.networks.attachments(node.id)),
        *labels(layout, node),
    )


def default_control_plane(layout: ContainerLayout) -> str:
    """Where nodes find the first control plane."""
    return f"{layout.networks.grpc_host(PLANES[0])}:{layout.topology.ports.control_plane.grpc}"


def _grpc(layout: ContainerLayout, node: NodeSpec) -> list[str]:
    return [
        *("--control-plane", f"${{CDNLAB_CONTROL_PLANES:-{default_control_plane(layout)}}}"),
        *("--tls-dir", str(TLS / node.id), "--state-dir", str(STATE / node.id)),
    ]


def _router(layout: ContainerLayout, node: NodeSpec) -> str:
    admin, reached = layout.topology.ports.admin, layout.networks.reached_at(node)
    command = [
        *f"python -m dns_router --node-id {node.id} --region {node.region} --listen 0.0.0.0:53".split(),
        *f"--advertise {reached.dns} --admin 0.0.0.0:{admin} --advertise-admin {reached.admin}".split(),
        *_grpc(layout, node),
        *("--history", history_of(node.id), ALLOW_FAULTS),
        *layout.seed_flag.split(),
    ]
    own_ports = [published(layout, "DNS", 53, f"/{protocol}") for protocol in ("udp", "tcp")]
    return lines(
        f"  {node.id}:",
        "    <<: *program",
        "    command: >-",
        folded(command, 6),
        "    depends_on: {control-plane: {condition: service_started}}",
        "    healthcheck: *health",
        "    mem_limit: 128m",
        '    volumes: ["state:/var/lib/cdnlab", "tls:/etc/cdnlab/tls:ro"]',
        *ports(own_ports if node.id == layout.of_role(Role.DNS_ROUTER)[0].id else []),
        *networks(layout.networks.attachments(node.id)),
        *labels(layout, node),
    )


def _origin(layout: ContainerLayout, node: NodeSpec) -> str:
    content = f"{layout.networks.listens_at(node)}:{layout.topology.ports.origin}"
    flags = f"--node-id {node.id} --listen {content} --admin 0.0.0.0:{layout.topology.ports.admin}"
    flags += f" --history {history_of(node.id)} {layout.seed_flag}"
    return lines(
        f"  {node.id}:",
        "    <<: *origin",
        f"    command: python -m origin {flags}",
        *networks(layout.networks.attachments(node.id)),
        *labels(layout, node),
    )
