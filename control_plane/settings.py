"""The command line of the control plane, parsed once into a value; docs/contracts.md lists the flags."""

import argparse
import ipaddress
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proto.seeds import parse_seed

BEATS_PER_LEASE = 2
"""A lease has to outlast at least one lost beat."""

_ZONE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


class SettingsError(Exception):
    """Everything that is wrong with the command line."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it. Of other names than `localhost` that is not known, so no."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, slots=True)
class Settings:
    """How one control plane runs."""

    api: Address
    grpc: Address
    admin: Address
    state_dir: Path
    database: str | None
    """An address of PostgreSQL; None: SQLite, in `state_dir`."""
    advertise: Address | None
    """Where other control planes reach `grpc`; None: there."""
    zone: str
    routing_table: Path | None
    geo_table: Path | None
    """None: the table for a lab on this machine."""
    access_key_id: str
    secret_access_key_file: Path | None
    """None: the key that is documented."""
    tls_dir: Path | None
    """None: whoever reaches the gRPC port is a node."""
    heartbeat_seconds: float
    lease_seconds: float
    arguments: tuple[str, ...]
    """What all of this was parsed from, for the process of the management API."""
    may_have_faults: bool = False
    """`/faults` is there on the admin port."""
    history: Path | None = None
    """Where a history is kept while a run asks for it; None: nowhere."""
    seed: int | None = None
    """The lab's, from which what is chance in this program follows."""


def parse(arguments: Sequence[str]) -> Settings:
    """Settings from flags; `--help` and unknown flags end the program as argparse does, with status 0 and 2."""
    flags = _parser().parse_args(arguments)
    problems: list[str] = []
    addresses = {name: _address(name, getattr(flags, name), problems) for name in ("api", "grpc", "admin")}
    zone = flags.zone.rstrip(".").lower()
    if not _ZONE.fullmatch(zone):
        problems.append(f"--zone {flags.zone}: not a domain name")
    heartbeat_seconds = _seconds("--heartbeat-seconds", flags.heartbeat_seconds, problems)
    lease_seconds = _seconds("--lease-seconds", flags.lease_seconds, problems)
    if not problems and lease_seconds < BEATS_PER_LEASE * heartbeat_seconds:
        problems.append(f"--lease-seconds {lease_seconds:g}: shorter than {BEATS_PER_LEASE} heartbeats")
    if not flags.access_key_id:
        problems.append("--access-key-id must not be empty")
    if not (addresses["grpc"].is_loopback or flags.tls_dir or flags.insecure):
        problems.append(
            f"--grpc {flags.grpc}: whoever reaches it would be a node; "
            "give --tls-dir DIR, a loopback address, or --insecure if that is meant"
        )
    if flags.advertise:
        _address("advertise", flags.advertise, problems)
    if flags.database:
        problems += _problems_of_database(flags.database)
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(
        **addresses,
        state_dir=Path(flags.state_dir),
        database=flags.database,
        advertise=_address("advertise", flags.advertise, problems) if flags.advertise else None,
        zone=zone,
        routing_table=Path(flags.routing_table) if flags.routing_table else None,
        geo_table=Path(flags.geo_table) if flags.geo_table else None,
        access_key_id=flags.access_key_id,
        secret_access_key_file=Path(flags.secret_access_key_file) if flags.secret_access_key_file else None,
        tls_dir=Path(flags.tls_dir) if flags.tls_dir else None,
        heartbeat_seconds=heartbeat_seconds,
        lease_seconds=lease_seconds,
        arguments=tuple(arguments),
        may_have_faults=flags.allow_faults,
        history=Path(flags.history) if flags.history else None,
        seed=flags.seed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m control_plane",
        description="The control plane: management API, change log, leases and invalidation receipts.",
        epilog="example: python -m control_plane --api 127.0.0.1:4566 --grpc 127.0.0.1:4567 "
        "--admin 127.0.0.1:4568 --state-dir .cdnlab/nodes/control-plane --zone cdn.localhost",
        allow_abbrev=False,
    )
    parser.add_argument("--api", required=True, metavar="HOST:PORT", help="management API")
    parser.add_argument("--grpc", required=True, metavar="HOST:PORT", help="nodes connect here")
    parser.add_argument("--admin", required=True, metavar="HOST:PORT", help="health, metrics, status, receipts")
    parser.add_argument("--state-dir", required=True, metavar="DIR", help="what survives a restart")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="postgresql://USER@HOST:PORT/NAME, shared by several control planes; without it SQLite in --state-dir",
    )
    parser.add_argument(
        "--advertise", metavar="HOST:PORT", help="where other control planes reach --grpc; without it the same"
    )
    parser.add_argument("--zone", required=True, metavar="ZONE", help="domain names of distributions end with it")
    parser.add_argument("--routing-table", metavar="FILE.json", help="JSON form of cdn.v1.RoutingTable")
    parser.add_argument("--geo-table", metavar="FILE.csv", help="lines NETWORK,COUNTRY: where viewers are")
    parser.add_argument("--access-key-id", default="cdnlab", metavar="ID")
    parser.add_argument("--secret-access-key-file", metavar="FILE", help="its first line is the secret access key")
    certificates = parser.add_mutually_exclusive_group()
    certificates.add_argument(
        "--tls-dir", metavar="DIR", help="ca.pem, certificate.pem, key.pem: only nodes with a certificate may connect"
    )
    certificates.add_argument(
        "--insecure", action="store_true", help="listen for nodes beyond this machine although there is no --tls-dir"
    )
    parser.add_argument("--allow-faults", action="store_true", help="for laboratories: /faults on the admin port")
    parser.add_argument(
        "--history", metavar="DIR", help="for laboratories: keep a history there while a run asks for it"
    )
    parser.add_argument(
        "--seed", type=parse_seed, metavar="N", help="the lab's: what is chance repeats with it (docs/repeating.md)"
    )
    parser.add_argument("--heartbeat-seconds", default="1", metavar="N", help="how often nodes are expected to speak")
    parser.add_argument("--lease-seconds", default="5", metavar="N", help="how long a silent node counts as live")
    return parser


def _address(name: str, value: str, problems: list[str]) -> Address:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        problems.append(f"--{name} {value}: not HOST:PORT")
        return Address("", 0)
    return Address(host.strip("[]"), int(port))


def _problems_of_database(address: str) -> list[str]:
    """What is wrong with it as text; the rest is found out when it is used."""
    try:
        parts = urllib.parse.urlsplit(address)
        password = parts.password or urllib.parse.parse_qs(parts.query).get("password")
    except ValueError:
        return ["--database: not postgresql://USER@HOST:PORT/NAME"]
    if parts.scheme not in ("postgresql", "postgres"):
        return ["--database: not postgresql://USER@HOST:PORT/NAME"]
    if password:
        return ["--database: a password does not belong on a command line; put it in a file and add ?passfile=FILE"]
    return []


def _seconds(name: str, value: str, problems: list[str]) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        problems.append(f"{name} {value}: not a number of seconds between 0 and 3600")
    return seconds
