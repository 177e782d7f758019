"""Brings a lab up to the point where it is proven to work: all nodes live, a demo site deployed, a hit through both tiers."""

from dataclasses import dataclass
from pathlib import Path

from lab.clients.http_client import split_address
from lab.clients.management_api import CACHING_OPTIMIZED, Distribution, ManagementApi, OriginAddress, SiteConfig
from lab.cluster.disk_room import disk_room_warning
from lab.cluster.processes import ProcessLab, Say
from lab.experiments.verification import VerifiedHit, verify_hit_through_both_tiers
from lab.topology.layout import Role
from lab.topology.model import Topology

DEMO_COMMENT = "cdnlab demo site"


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo site and the proof that it is served."""

    distribution: Distribution
    hit: VerifiedHit


def bring_up(topology: Topology, state_dir: Path, say: Say, *, with_demo: bool) -> tuple[ProcessLab, Demo | None]:
    """LabError, and nothing left running, when any of it fails."""
    if warning := disk_room_warning(topology, state_dir.resolve()):
        say(warning)
    lab = ProcessLab.up(topology, state_dir, say)
    try:
        return lab, make_demo(lab) if with_demo and topology.demo_distribution else None
    except BaseException:
        lab.end_processes()
        raise


def make_demo(lab: ProcessLab) -> Demo:
    """A distribution in front of the first origin, everywhere, and proven by requests."""
    status = lab.status()
    origin = status.of_role(Role.ORIGIN)[0].node
    host, port = split_address(origin.http)
    site = SiteConfig(
        comment=DEMO_COMMENT,
        origin=OriginAddress(host, port),
        cache_policy_id=CACHING_OPTIMIZED,
        default_root_object="index.html",
    )
    with ManagementApi(status.api) as api:
        distribution = api.create_distribution(site)
        api.wait_deployed(distribution.id)
    hit = verify_hit_through_both_tiers(
        status, site_host(distribution.domain_name, lab.record.viewer_port), origin.admin
    )
    return Demo(distribution, hit)


def site_host(domain_name: str, viewer_port: int) -> str:
    """What a browser sends as Host: the port only when it is not the scheme's own (RFC 9110 section 7.2)."""
    return domain_name if viewer_port == 80 else f"{domain_name}:{viewer_port}"
