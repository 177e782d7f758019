"""Brings a lab up to the point where it is proven to work: all nodes live, a demo site deployed, a hit through both tiers.

In containers the service `demo-site` makes the same site without the proof (deploy/demo_site.py); whoever comes later uses the one that is there.
"""

from dataclasses import dataclass
from pathlib import Path

from lab.clients.http_client import site_host, split_address
from lab.clients.management_api import CACHING_OPTIMIZED, Distribution, ManagementApi, OriginAddress, SiteConfig
from lab.cluster.disk_room import disk_room_warning
from lab.cluster.interface import Cluster, Say, first_of_role
from lab.cluster.runners import BRING_UP
from lab.errors import LabError
from lab.experiments.verification import VerifiedHit, verify_hit_through_both_tiers
from lab.interrupts import uninterrupted
from lab.runner import Runner
from lab.topology.layout import Role
from lab.topology.model import Topology

DEMO_COMMENT = "cdnlab demo site"


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo site and the proof that it is served."""

    distribution: Distribution
    hit: VerifiedHit


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lab, run how, and from which folder."""

    topology: Topology
    runner: Runner
    state_dir: Path


def bring_up(wanted: Wanted, say: Say, *, with_demo: bool) -> tuple[Cluster, Demo | None]:
    """LabError, and nothing left running, when any of it fails."""
    topology = wanted.topology
    if warning := disk_room_warning(topology, wanted.state_dir.resolve()):
        say(warning)
    lab = BRING_UP[wanted.runner](topology, wanted.state_dir, say)
    try:
        return lab, make_demo(lab) if with_demo and topology.demo_distribution else None
    except BaseException:
        with uninterrupted():
            lab.abandon()
        raise


def make_demo(lab: Cluster) -> Demo:
    """A distribution in front of the first origin, everywhere, and proven by requests."""
    status = lab.status()
    origin = first_of_role(status, Role.ORIGIN)
    if origin is None:
        raise LabError("the lab has no origin of its own for a demo site")
    with ManagementApi(status.api) as api:
        distribution = ensure_demo_site(api, origin.node.reached_at)
    host = site_host(distribution.domain_name, lab.facts.viewer_port)
    return Demo(distribution, verify_hit_through_both_tiers(status, host, origin.node.admin))


def ensure_demo_site(api: ManagementApi, origin_address: str) -> Distribution:
    """The demo site in front of an origin, deployed: made now, unless it is there."""
    host, port = split_address(origin_address)
    site = SiteConfig(
        comment=DEMO_COMMENT,
        origin=OriginAddress(host, port),
        cache_policy_id=CACHING_OPTIMIZED,
        default_root_object="index.html",
    )
    distribution = api.find_distribution(DEMO_COMMENT) or api.create_distribution(site)
    api.wait_deployed(distribution.id)
    return distribution
