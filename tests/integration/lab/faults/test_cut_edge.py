"""An edge that is cut off serves nothing that a receipt says is gone (docs/invalidation.md): real programs, with distance between them, and a cut at the relays."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.agent.client import AgentClient, connect
from lab.clients.http_client import Reply, UnreachableError, ask, get_json
from lab.clients.management_api import CACHING_OPTIMIZED, ManagementApi, OriginAddress, SiteConfig
from lab.cluster.processes import ProcessCluster
from lab.commands.invalidate import wait_for_receipt
from lab.topology.layout import Layout
from tests import warm_start
from tests.integration.lab.agent.sleeping_lab import until
from tests.integration.lab.faults.relay_lab import EDGE, FAR_EDGE, FAR_REGIONAL, ORIGIN, pair_topology

LOOPBACK = "127.72.0.0/16"
LEAST_ANSWERS = 2
AFTERWARDS_SECONDS = 3.0
"""For so long after the receipt the edge is asked: longer than anything it believes of others."""


@dataclass(frozen=True, slots=True)
class Site:
    """One object behind the lab."""

    lab: ProcessCluster
    api: ManagementApi
    host: str
    distribution_id: str
    path: str = "/page.html"

    def publish(self, body: str) -> None:
        headers = [("cache-control", "max-age=3600"), ("content-type", "text/plain")]
        address = self.lab.addresses(ORIGIN).http
        reply = ask(address, f"/bucket/site{self.path}", method="PUT", headers=headers, body=body.encode())
        assert reply.status in (200, 201)

    def ask(self, edge: str) -> Reply:
        """Past the relays: the edge itself, whoever routes to it."""
        return ask(self.lab.addresses(edge).http, self.path, headers=[("host", self.host)], timeout_seconds=30)

    def warm(self, edge: str, body: str) -> None:
        """It has this, and serves it as a hit."""
        until(lambda: self.ask(edge).body == body.encode(), f"{edge} has {body}")
        until(lambda: self.ask(edge).headers["x-cache"].startswith("Hit"), f"{edge} has stored {body}")

    def invalidate(self) -> dict[str, Any]:
        """The receipt, complete."""
        invalidation = self.api.invalidate(self.distribution_id, [self.path])
        receipt = wait_for_receipt(self.lab.status(), invalidation)
        assert receipt["status"] == "Completed", receipt
        return receipt

    def applied(self, edge: str) -> int:
        index: int = get_json(self.lab.addresses(edge).admin, "/status")["applied_index"]
        return index


def quick_config(origin: OriginAddress) -> dict[str, Any]:
    """A distribution that waits for nobody long: an edge waits for its regional cache as long as that may wait for origins, two minutes by default."""
    config = SiteConfig("cut", origin, CACHING_OPTIMIZED).to_api(f"cut {time.time_ns()}")
    (item,) = config["Origins"]["Items"]
    item.update(ConnectionAttempts=1, ConnectionTimeout=1)
    item["CustomOriginConfig"]["OriginReadTimeout"] = 1
    return config


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    folder: Path = tmp_path_factory.mktemp("lab") / ".cdnlab"
    with ProcessCluster.up(pair_topology(LOOPBACK), folder, launch=warm_start.launch) as running:
        yield running


@pytest.fixture(scope="module")
def site(lab: ProcessCluster) -> Iterator[Site]:
    origin = next(each for each in Layout(pair_topology(LOOPBACK), lab.state.path).nodes() if each.id == ORIGIN)
    host, _, port = origin.advertised.http.rpartition(":")
    with ManagementApi(lab.status().api) as api:
        made = api.create(quick_config(OriginAddress(host, int(port), "/bucket/site")))
        api.wait_deployed(made.id)
        yield Site(lab, api, made.domain_name, made.id)


@pytest.fixture
def agent(lab: ProcessCluster) -> Iterator[AgentClient]:
    client = connect(lab.state.path)
    yield client
    client.clear_all()
    for each in (EDGE, FAR_EDGE, FAR_REGIONAL):
        lab.wait_until_live(each)


@pytest.mark.parametrize(
    "direction",
    ["both", pytest.param("in", marks=pytest.mark.nightly), pytest.param("out", marks=pytest.mark.nightly)],
)
def test_an_edge_that_is_cut_off_from_its_tier_and_the_control_plane_serves_nothing_old_after_a_receipt(
    lab: ProcessCluster, site: Site, agent: AgentClient, direction: str
) -> None:
    old, new = f"old {direction}", f"new {direction}"
    site.publish(old)
    site.invalidate()
    for edge in (EDGE, FAR_EDGE):
        site.warm(edge, old)
    agent.inject("cut", FAR_EDGE, 120, {"from": f"control-plane,{FAR_REGIONAL}", "direction": direction})
    assert site.ask(FAR_EDGE).body == old.encode(), "it holds a lease, and no receipt can come without it"
    site.publish(new)
    receipt = site.invalidate()
    completed_at, said = time.monotonic(), list[bytes]()
    while time.monotonic() < completed_at + AFTERWARDS_SECONDS or len(said) < LEAST_ANSWERS:
        said.append(site.ask(FAR_EDGE).body)
    assert set(said) == {new.encode()} == {site.ask(EDGE).body}
    if direction != "out":
        assert site.applied(FAR_EDGE) < receipt["index"], "nobody has told it"
    lines = {each["id"]: each for each in receipt["nodes"]}
    assert (lines[FAR_EDGE]["state"], lines[FAR_EDGE]["fenced_by"]) == ("left_out", "lease_over"), json.dumps(lines)
    assert {lines[each]["state"] for each in (EDGE, FAR_REGIONAL)} == {"acknowledged"}, "nobody else was cut off"
    agent.clear_all()
    lab.wait_until_live(FAR_EDGE)
    site.warm(FAR_EDGE, new)
    assert site.applied(FAR_EDGE) >= receipt["index"]


def test_an_edge_whose_region_is_parted_from_the_rest_is_told_of_in_the_receipt(
    lab: ProcessCluster, site: Site, agent: AgentClient
) -> None:
    """Those who are cut off together are the case that nobody can decide (docs/invalidation.md, the third row): hits go on. The other side is right at once."""
    site.publish("old parted")
    site.invalidate()
    for edge in (EDGE, FAR_EDGE):
        site.warm(edge, "old parted")
    agent.inject("partition", "halves:eu-central-1", 120, {})
    site.publish("new parted")
    receipt = site.invalidate()
    lines = {each["id"]: each for each in receipt["nodes"]}
    assert {lines[each]["state"] for each in (FAR_EDGE, FAR_REGIONAL)} == {"left_out"}
    assert lines[EDGE]["state"] == "acknowledged"
    assert site.ask(EDGE).body == b"new parted"
    agent.clear_all()
    lab.wait_until_live(FAR_EDGE)
    site.warm(FAR_EDGE, "new parted")


def test_a_node_that_is_cut_off_from_all_cannot_be_reached_by_viewers(
    lab: ProcessCluster, site: Site, agent: AgentClient
) -> None:
    reached = next(each.advertised for each in lab.nodes() if each.id == FAR_EDGE)
    assert ask(reached, site.path, headers=[("host", site.host)]).status == 200
    agent.inject("cut", FAR_EDGE, 120, {})
    with pytest.raises(UnreachableError, match="timed out"):
        ask(reached, site.path, headers=[("host", site.host)], timeout_seconds=0.5)
    agent.clear_all()
    with suppress(UnreachableError):
        ask(reached, site.path, headers=[("host", site.host)])
    until(lambda: ask(reached, site.path, headers=[("host", site.host)]).status == 200, "it is reached again")
