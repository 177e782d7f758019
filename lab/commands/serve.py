"""`cdnlab serve URL`: a distribution in front of an application on this machine.

Uses the lab that is up, or brings up the smallest one of processes; on the way out it removes what it made: the lab, or only
the distribution. Containers have a 127.0.0.1 of their own, so an application that listens there is none for a lab in containers;
and with relays between them they reach nobody but each other, and what the relays have a proxy for.
"""

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from lab.clients.management_api import (
    ALL_METHODS,
    USE_ORIGIN_CACHE_CONTROL_HEADERS_QUERY_STRINGS,
    Distribution,
    ManagementApi,
    OriginAddress,
    SiteConfig,
)
from lab.cluster.compose import ComposeCluster
from lab.cluster.finding import find_lab_if_any
from lab.cluster.interface import Cluster
from lab.cluster.processes import ProcessCluster
from lab.cluster.status import RunningNode
from lab.commands.viewer_urls import curl_command, opens_as_it_stands, site_json, url_of, why_not
from lab.commands.what_ended import describe_stop
from lab.errors import LabError, UsageError
from lab.interrupts import endings, interruptible, uninterrupted
from lab.terminal import make_console
from lab.topology.layout import Role
from lab.topology.reader import read_topology, shipped_topology

PROBE_SECONDS = 1.0
WATCH_SECONDS = 0.5
LAB_PREFIX = 16
"""All addresses of a lab in containers are in one network of this size (lab/cluster/container_layout.py)."""


@dataclass(frozen=True, slots=True)
class Served:
    """What was made, to be removed again."""

    lab: Cluster
    is_own_lab: bool
    distribution: Distribution


def run(*, url: str, is_detached: bool, is_json: bool, state_dir: Path, loopback: str | None) -> int:
    console = make_console(is_for_people=not is_json)
    origin = parse_application(url)
    if not is_listening(origin):
        console.print(f"[yellow]nothing answers at {url} yet[/]; until it does, viewers get errors")
    with interruptible():
        served = put_in_front(origin, url, state_dir, loopback)
        try:
            print_address(console, served, url)
            if is_json:
                print(json.dumps(to_json(served), indent=2), flush=True)
            if not is_detached:
                wait_for_the_end(console, served)
        finally:
            if not is_detached:
                with uninterrupted():
                    console.print(take_away(served))
    return 0


def to_json(served: Served) -> dict[str, object]:
    """What a script goes on with."""
    facts, distribution = served.lab.facts, served.distribution
    return {
        "distribution": site_json(distribution.id, distribution.domain_name, facts),
        "api": {"endpoint": facts.endpoint},
    }


def wait_for_the_end(console: Console, served: Served) -> None:
    """Until Ctrl-C, or until somebody else has taken the lab down."""
    with endings() as is_over:
        console.print("Ctrl-C ends it")
        while not is_over(WATCH_SECONDS) and served.lab.is_up:
            pass


def parse_application(url: str) -> OriginAddress:
    """UsageError when it is not a plain http URL."""
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError as error:
        raise UsageError(f"{url!r}: {error}") from error
    if parts.scheme == "https":
        raise UsageError(f"{url}: the lab's edges speak plain HTTP to origins; give an http:// URL")
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(f"{url!r} is not a URL such as http://127.0.0.1:3000")
    if parts.query or parts.fragment:
        raise UsageError(f"{url}: give the application's address only, without ? and #")
    return OriginAddress(parts.hostname, port, parts.path.rstrip("/"))


def is_listening(origin: OriginAddress) -> bool:
    """Whether the application accepts connections now."""
    try:
        socket.create_connection((origin.host, origin.port), PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def put_in_front(origin: OriginAddress, url: str, state_dir: Path, loopback: str | None) -> Served:
    """LabError, and nothing left behind, when it fails."""
    lab, is_own = _lab_for(state_dir, loopback)
    if not is_own:
        _check_is_reachable(lab, origin)
    site = SiteConfig(
        comment=f"cdnlab serve {url}"[:128],
        origin=origin,
        cache_policy_id=USE_ORIGIN_CACHE_CONTROL_HEADERS_QUERY_STRINGS,
        allowed_methods=ALL_METHODS,
    )
    try:
        with ManagementApi(lab.status().api) as api:
            distribution = api.create_distribution(site)
            api.wait_deployed(distribution.id)
    except BaseException:
        if is_own:
            lab.take_down()
        raise
    return Served(lab, is_own, distribution)


def _lab_for(state_dir: Path, loopback: str | None) -> tuple[Cluster, bool]:
    """The lab that is up, or one of our own."""
    lab = find_lab_if_any(state_dir)
    if lab is None:
        return ProcessCluster.up(read_topology(shipped_topology("serve"), loopback), state_dir), True
    if loopback is not None:
        raise UsageError("--loopback: a lab is up already, with addresses of its own")
    return lab, False


def _check_is_reachable(lab: Cluster, origin: OriginAddress) -> None:
    """LabError when the lab's nodes would look for the application in their own containers."""
    if isinstance(lab, ComposeCluster) and is_this_machine(origin.host):
        raise LabError(
            f"the lab runs in containers, and {origin.host} is the container itself there: have the application listen on an address of this "
            "machine's network, and give that one; or take the lab down, then `serve` brings up one of processes"
        )
    if isinstance(lab, ComposeCluster) and not is_within_reach(origin.host, lab.nodes()):
        raise LabError(
            f"the lab runs in containers with relays between them, which lead to nobody else, so to {origin.host} there is no way: make a proxy to the application "
            "over the relays' API, and give that one's address (docs/containers.md, networks); or bring up a lab with --no-relays"
        )


def is_within_reach(host: str, nodes: Sequence[RunningNode]) -> bool:
    """Without relays, whatever the machine reaches. With them, what is at an address of the lab's own, or is an origin of it by name."""
    reached_at = [node.advertised for node in nodes if node.advertised]
    if not reached_at:
        return True
    if any(node.id == host and node.role is Role.ORIGIN for node in nodes):
        return True
    try:
        return ip_address(host) in ip_network(f"{reached_at[0].rpartition(':')[0]}/{LAB_PREFIX}", strict=False)
    except ValueError:
        return False


def is_this_machine(host: str) -> bool:
    """A loopback address or name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def print_address(console: Console, served: Served, url: str) -> None:
    """The URL to open, or the command that works where it does not."""
    facts, domain_name = served.lab.facts, served.distribution.domain_name
    if opens_as_it_stands(facts):
        console.print(f"{url} is served at [bold]{url_of(domain_name, facts)}[/]")
    else:
        console.print(f"{url} is served: [bold]{curl_command(domain_name, facts)}[/]")
        console.print(f"  {why_not(facts)}", markup=False)
    console.print(f"distribution {served.distribution.id}; management API {facts.endpoint}")


def take_away(served: Served) -> str:
    """The lab if it is ours, else the distribution; what was done, in one line."""
    if served.is_own_lab:
        return describe_stop(served.lab.take_down())
    try:
        with ManagementApi(served.lab.status().api) as api:
            api.delete_distribution(served.distribution.id)
    except LabError as error:
        return f"distribution {served.distribution.id} is not removed: {error}"
    return f"distribution {served.distribution.id} removed; the lab stays up"
