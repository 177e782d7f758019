"""The flags of docs/contracts.md, parsed once into a frozen value."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from dns_router.sockets import format_address
from proto.seeds import parse_seed

_LARGEST_PORT: Final = 65535

_EXAMPLES: Final = """examples:
  python -m dns_router --node-id router-1 --region us-east-1 --listen 127.0.0.1:5300 --admin 127.0.0.1:5301 \\
                       --control-plane 127.0.0.1:4567 --state-dir .cdnlab/nodes/router-1
  dig @127.0.0.1 -p 5300 d1.cdn.localhost +subnet=10.1.0.0/16

A port of 0 takes a free one; the first log lines say which. In containers, bind 0.0.0.0 and advertise the container's address.
"""


@dataclass(frozen=True, slots=True)
class Address:
    """A `host:port` flag."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Options:
    """How this router was started."""

    node_id: str
    region: str
    listen: Address
    admin: Address
    control_planes: tuple[Address, ...]
    """At least one."""
    tls_folder: Path | None
    """None: the control plane is not asked for a certificate, and gets none."""
    state_folder: Path
    advertise: Address | None
    advertise_admin: Address | None
    may_have_faults: bool = False
    """`/faults` is there on the admin port."""
    history: Path | None = None
    """Where a history is kept while a run asks for it; None: nowhere."""
    seed: int | None = None
    """The lab's."""


def parse_address(text: str) -> Address:
    """`host:port` or `[host]:port`."""
    host, _, port = text.rpartition(":")
    bare_host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare_host or (":" in bare_host and bare_host == host):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT (an IPv6 host goes in brackets)")
    if not (port.isascii() and port.isdigit() and int(port) <= _LARGEST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} has no port from 0 to {_LARGEST_PORT}")
    return Address(bare_host, int(port))


def parse_addresses(text: str) -> tuple[Address, ...]:
    """One or more, with commas between them."""
    return tuple(parse_address(part.strip()) for part in text.split(","))


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Parse, or print what is wrong and exit with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m dns_router",
        description="The request router: authoritative DNS that answers with the nearest live edges.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    address = partial(parser.add_argument, type=parse_address, metavar="HOST:PORT")
    parser.add_argument("--node-id", type=_name, required=True, help="name of this router, unique in the lab")
    parser.add_argument("--region", type=_name, required=True, help="where it is")
    address("--listen", required=True, help="DNS over UDP and TCP")
    address("--admin", required=True, help="health, metrics and status over HTTP")
    parser.add_argument(
        "--control-plane",
        type=parse_addresses,
        required=True,
        help="where the change log comes from (gRPC); where there are several, the next one is tried when one is gone",
        metavar="HOST:PORT[,HOST:PORT...]",
    )
    tls_help = "ca.pem, certificate.pem, key.pem: what to reach the control plane with"
    parser.add_argument("--tls-dir", type=Path, help=tls_help, metavar="DIR")
    parser.add_argument("--state-dir", type=Path, required=True, help="what must survive a crash", metavar="DIR")
    address("--advertise", help="what others reach --listen by, when it differs")
    address("--advertise-admin", help="what others reach --admin by, when it differs")
    parser.add_argument("--allow-faults", action="store_true", help="for laboratories: /faults on the admin port")
    history_help = "for laboratories: keep a history there while a run asks for it"
    parser.add_argument("--history", type=Path, help=history_help, metavar="DIR")
    parser.add_argument(
        "--seed", type=parse_seed, help="the lab's: what is chance repeats with it (docs/repeating.md)", metavar="N"
    )
    flags = parser.parse_args(arguments)
    return Options(
        node_id=flags.node_id,
        region=flags.region,
        listen=flags.listen,
        admin=flags.admin,
        control_planes=flags.control_plane,
        tls_folder=flags.tls_dir,
        state_folder=flags.state_dir,
        advertise=flags.advertise,
        advertise_admin=flags.advertise_admin,
        may_have_faults=flags.allow_faults,
        history=flags.history,
        seed=flags.seed,
    )
