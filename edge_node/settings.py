"""The command line, parsed once into values that are known to be right."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path

from edge_node.model.configuration import Role
from edge_node.storage.eviction.registry import DEFAULT_POLICY, POLICIES
from edge_node.upstream.limits import DEFAULT_ORIGIN_CONNECTIONS
from edge_node.upstream.source_address import SourceAddress
from proto.seeds import derived, parse_seed

DEFAULT_CACHE_BYTES = 64 * 1024 * 1024
SMALLEST_CACHE_BYTES = 1024 * 1024
SMALLEST_DISK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node is told at its start."""

    node_id: str
    role: Role
    region: str
    pop: str
    listen: Address
    listen_shared: Address | None
    admin: Address
    control_planes: tuple[Address, ...]
    """At least one."""
    tls_dir: Path | None
    """None: the control plane is not asked for a certificate, and gets none."""
    state_dir: Path
    advertise: Address
    advertise_admin: Address
    cache_bytes: int
    eviction_policy: str
    disk_bytes: int
    """Of the disk tier; 0: there is none."""
    access_log: Path | None
    origin_connections: int = DEFAULT_ORIGIN_CONNECTIONS
    """To one origin, at work at once."""
    is_strictly_invalidated: bool = False
    """Without a lease nothing that is stored is served unconfirmed."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Connections from there begin with a PROXY header, version 2."""
    source: SourceAddress = field(default_factory=SourceAddress)
    """From where this node connects to others."""
    may_have_faults: bool = False
    """`/faults` is there on the admin port."""
    history: Path | None = None
    """Where a history is kept while a run asks for it; None: nowhere."""
    seed: int | None = None
    """The lab's, from which what is chance in this node follows."""

    @property
    def own_seed(self) -> int | None:
        """Of this node."""
        return None if self.seed is None else derived(self.seed, self.node_id)


def parse_address(text: str) -> Address:
    """`host:port`; an IPv6 host in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return Address(host.strip("[]"), int(port))


def parse_addresses(text: str) -> tuple[Address, ...]:
    """One or more, with commas between them."""
    return tuple(parse_address(part.strip()) for part in text.split(","))


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """One or more in CIDR notation, with commas between them; an address alone is a network of one."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NETWORK[,NETWORK...]: {error}") from error


def _loopback_address(text: str) -> str:
    try:
        if IPv4Address(text).is_loopback:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no address of 127.0.0.0/8")


def _cache_bytes(text: str) -> int:
    if not text.isdigit() or int(text) < SMALLEST_CACHE_BYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes, {SMALLEST_CACHE_BYTES} at least")
    return int(text)


def _disk_bytes(text: str) -> int:
    if text.isdigit() and (int(text) == 0 or int(text) >= SMALLEST_DISK_BYTES):
        return int(text)
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a number of bytes, {SMALLEST_DISK_BYTES} at least, or 0 for none"
    )


def _connections(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of connections, 1 at least")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge_node",
        description="A cache node of cdnlab, edge or regional.",
        epilog="example: python -m edge_node --node-id edge-1 --role edge --region eu-central-1 --pop FRA56-P1 --listen 127.0.1.1:8080 "
        "--admin 127.0.1.1:9100 --control-plane 127.0.0.1:4567 --state-dir state/edge-1",
    )
    parser.add_argument("--node-id", required=True, metavar="ID")
    parser.add_argument("--role", required=True, choices=[role.value for role in Role])
    parser.add_argument("--region", required=True)
    parser.add_argument("--pop", required=True, help="for example FRA56-P1")
    _add_address_flags(parser)
    _add_control_plane_flags(parser)
    parser.add_argument(
        "--state-dir",
        required=True,
        type=Path,
        metavar="DIR",
        help="for the last good snapshot, the invalidations that were applied, and the cache on disk",
    )
    parser.add_argument(
        "--advertise", type=parse_address, metavar="HOST:PORT", help="what others connect to, if it is not --listen"
    )
    parser.add_argument("--advertise-admin", type=parse_address, metavar="HOST:PORT", help="the same for --admin")
    _add_storage_flags(parser)
    parser.add_argument("--access-log", type=Path, metavar="FILE")
    parser.add_argument(
        "--history", type=Path, metavar="DIR", help="for laboratories: keep a history there while a run asks for it"
    )
    parser.add_argument(
        "--origin-connections",
        type=_connections,
        default=DEFAULT_ORIGIN_CONNECTIONS,
        metavar="N",
        help="to one origin at work at once; more requests wait for one of them, or get 503",
    )
    return parser


def _add_address_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        required=True,
        type=parse_address,
        metavar="HOST:PORT",
        help="for viewers, or for edges at a regional cache",
    )
    parser.add_argument(
        "--listen-shared", type=parse_address, metavar="HOST:PORT", help="a second address that several edges may share"
    )
    parser.add_argument(
        "--admin",
        required=True,
        type=parse_address,
        metavar="HOST:PORT",
        help="for operators: metrics, status, explain",
    )
    parser.add_argument(
        "--trusted-proxies",
        type=parse_networks,
        default=(),
        metavar="NETWORK[,NETWORK...]",
        help="connections from there begin with a PROXY protocol header (version 2), which says who the viewer is; for example 127.0.250.0/24",
    )
    parser.add_argument(
        "--source-address",
        type=_loopback_address,
        metavar="ADDRESS",
        help="of 127.0.0.0/8: from where to connect to the other addresses of it, so that they know who this is",
    )
    parser.add_argument("--allow-faults", action="store_true", help="for laboratories: /faults on the admin port")
    parser.add_argument(
        "--seed", type=parse_seed, metavar="N", help="the lab's: what is chance repeats with it (docs/repeating.md)"
    )


def _add_control_plane_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--control-plane",
        required=True,
        type=parse_addresses,
        metavar="HOST:PORT[,HOST:PORT...]",
        help="gRPC address; where there are several, the next one is tried when one is gone",
    )
    parser.add_argument(
        "--tls-dir", type=Path, metavar="DIR", help="ca.pem, certificate.pem, key.pem: what to reach it with"
    )


def _add_storage_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strict-invalidation",
        action="store_true",
        help="without a lease, confirm whatever is stored before it is served, also when the control plane is gone",
    )
    parser.add_argument("--cache-bytes", type=_cache_bytes, default=DEFAULT_CACHE_BYTES, metavar="N")
    parser.add_argument(
        "--eviction-policy", choices=sorted(POLICIES), default=DEFAULT_POLICY, help="what leaves memory first"
    )
    parser.add_argument(
        "--disk-bytes",
        type=_disk_bytes,
        default=0,
        metavar="N",
        help="a second tier of cache in STATE_DIR/cache; 0: none",
    )


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Exits with 2 and a message when they are wrong."""
    given = _parser().parse_args(arguments)
    return Settings(
        node_id=given.node_id,
        role=Role(given.role),
        region=given.region,
        pop=given.pop,
        listen=given.listen,
        listen_shared=given.listen_shared,
        admin=given.admin,
        control_planes=given.control_plane,
        tls_dir=given.tls_dir,
        state_dir=given.state_dir,
        advertise=given.advertise or given.listen,
        advertise_admin=given.advertise_admin or given.admin,
        cache_bytes=given.cache_bytes,
        eviction_policy=given.eviction_policy,
        disk_bytes=given.disk_bytes,
        access_log=given.access_log,
        origin_connections=given.origin_connections,
        is_strictly_invalidated=given.strict_invalidation,
        trusted_proxies=given.trusted_proxies,
        source=SourceAddress(given.source_address or ""),
        may_have_faults=given.allow_faults,
        history=given.history,
        seed=given.seed,
    )
