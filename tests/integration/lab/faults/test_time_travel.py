"""A TTL of a day, tested in seconds, with every program of a lab: both tiers, the origin, restarts, leases and receipts (docs/time-travel.md)."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from lab.agent.client import connect
from lab.agent.starting import start_agent
from lab.clients.http_client import Reply, get_json
from lab.clients.management_api import CACHING_OPTIMIZED
from lab.cluster.processes import ProcessCluster
from lab.topology.layout import Role
from tests.faults.contract import wait_until
from tests.faults.scene import CONTROL_PLANE, EDGE, ORIGIN, OTHER_EDGE, REGIONAL, ROUTER, Scene
from tests.integration.lab_harness import CommandLine

DAY = 86_400
SKEW = timedelta(seconds=60)
"""What the test itself may take."""
FOLLOWERS = {EDGE, OTHER_EDGE, REGIONAL, ROUTER}


class Traveller:
    """Moves the clock by the command line, and looks at what viewers get."""

    def __init__(self, scene: Scene, cluster: ProcessCluster) -> None:
        self.scene, self.cluster = scene, cluster
        self.commands = CommandLine(cluster.state.path.parent)
        self.site = scene.new_distribution(policy=CACHING_OPTIMIZED)
        """No cookies are forwarded, so that what is expired is confirmed (reference 2.4)."""
        scene.api.wait_deployed(self.site.id)

    def get(self, node_id: str, name: str) -> Reply:
        return self.scene.get(node_id, f"/bucket/faults/{name}", host=self.site.domain_name)

    def forward(self, duration: str) -> dict[str, Any]:
        done = self.commands.run("time", "forward", duration, "--json", "--state", str(self.cluster.state.path))
        assert done.status == 0, done.err
        told: dict[str, Any] = json.loads(done.out)
        return told

    def ahead(self, node_id: str) -> float:
        return float(self.scene.status(node_id)["clock_ahead_seconds"])

    def lab_now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead(CONTROL_PLANE))

    def asked_of_origin(self, path: str) -> int:
        return int(get_json(self.scene.admin(ORIGIN), f"/count?path={path}")["count"])


@pytest.fixture(scope="module")
def traveller(scene: Scene, cluster: ProcessCluster) -> Traveller:
    start_agent(cluster.state)
    assert connect(cluster.state.path).answers()
    return Traveller(scene, cluster)


def seen(reply: Reply) -> tuple[str, int]:
    """The result, and the age in days."""
    return reply.headers["x-cache"].split()[0], int(reply.headers.get("age", "0")) // DAY


def test_a_day_is_over_at_both_tiers_and_the_origin_confirms(traveller: Traveller) -> None:
    scene = traveller.scene
    name = scene.new_name()
    path = f"/bucket/faults/{name}"
    scene.put(name, "1", cache_control="max-age=86400")
    assert [seen(traveller.get(EDGE, name)), seen(traveller.get(EDGE, name))] == [("Miss", 0), ("Hit", 0)]
    traveller.get(OTHER_EDGE, name)
    asked = traveller.asked_of_origin(path)
    told = traveller.forward("1d")
    assert {each["id"]: each["state"] for each in told["nodes"]} == dict.fromkeys(FOLLOWERS, "acknowledged")
    assert all(each["told"] for each in told["origins"]) and told["index"] == scene.control_status()["head_index"]
    assert {traveller.ahead(each) for each in (*FOLLOWERS, ORIGIN, CONTROL_PLANE)} == {float(DAY)}
    confirmed = traveller.get(EDGE, name)
    assert seen(confirmed) == ("RefreshHit", 0) and confirmed.body == b"1"
    assert abs(parsedate_to_datetime(confirmed.headers["date"]) - traveller.lab_now()) < SKEW
    listed = get_json(scene.admin(ORIGIN), f"/requests?path_prefix={path}&limit=1")["requests"]
    assert (listed[-1]["status"], traveller.asked_of_origin(path)) == (304, asked + 1)
    assert seen(traveller.get(OTHER_EDGE, name))[0] == "RefreshHit", "of the regional cache, which has it confirmed"
    assert traveller.asked_of_origin(path) == asked + 1
    assert seen(traveller.get(EDGE, name)) == ("Hit", 0)


def test_what_is_on_disk_is_as_old_for_a_process_that_was_away(traveller: Traveller) -> None:
    scene, cluster = traveller.scene, traveller.cluster
    kept, expires = scene.new_name(), scene.new_name()
    for name, seconds in ((kept, 10 * DAY), (expires, DAY)):
        scene.put(name, "1", cache_control=f"max-age={seconds}")
        traveller.get(EDGE, name)
        wait_until(lambda: seen(traveller.get(EDGE, name))[0] == "Hit", "it is stored")  # noqa: B023
    cluster.stop(EDGE)
    wait_until(lambda: scene.state(EDGE) != "live", "its lease is over")
    told = traveller.forward("3d")
    assert {each["id"]: each["state"] for each in told["nodes"]}[EDGE] == "away"
    cluster.start(EDGE)
    cluster.wait_until_live(EDGE)
    assert traveller.ahead(EDGE) == traveller.ahead(REGIONAL)
    assert seen(traveller.get(EDGE, kept)) == ("Hit", 3)
    assert seen(traveller.get(EDGE, expires)) == ("RefreshHit", 0)
    cluster.kill(EDGE)
    cluster.start(EDGE)
    cluster.wait_until_live(EDGE)
    assert seen(traveller.get(EDGE, kept)) == ("Hit", 3)


def test_an_origin_that_starts_again_is_told(traveller: Traveller) -> None:
    traveller.cluster.kill(ORIGIN)
    told = traveller.forward("1h")
    assert {each["id"]: each["told"] for each in told["origins"]}[ORIGIN] is False
    traveller.cluster.start(ORIGIN)
    traveller.cluster.wait_until_live(ORIGIN)
    wait_until(lambda: traveller.ahead(ORIGIN) == traveller.ahead(CONTROL_PLANE), "the agent has told it")


def test_leases_receipts_and_the_api_go_on(traveller: Traveller) -> None:
    scene = traveller.scene
    wait_until(scene.is_whole, "all nodes are live")
    began, sessions = traveller.lab_now(), {each: scene.status(each)["lease"] for each in FOLLOWERS}
    traveller.forward("365d")
    assert {each: scene.status(each)["lease"] for each in FOLLOWERS} == sessions == dict.fromkeys(FOLLOWERS, "held")
    assert scene.is_whole()
    invalidation = scene.invalidate("anything")
    wait_until(lambda: scene.is_completed(invalidation), "the receipt")
    receipt = scene.receipt(invalidation)
    issued = datetime.fromisoformat(receipt["issued_at"])
    assert issued - began > timedelta(days=364) and abs(issued - traveller.lab_now()) < SKEW
    assert {line["id"]: line["seconds"] < SKEW.total_seconds() for line in receipt["nodes"]} == dict.fromkeys(
        FOLLOWERS, True
    )
    site = scene.new_distribution()
    api = boto3.client(
        "cloudfront",
        endpoint_url=(told := scene.cluster.status().api)["endpoint"],
        region_name=told["region"],
        aws_access_key_id=told["access_key_id"],
        aws_secret_access_key=told["secret_access_key"],
    )
    described = api.get_distribution(Id=site.id)["Distribution"]
    assert abs(described["LastModifiedTime"] - traveller.lab_now()) < SKEW, "and clients sign by the true time"


def test_everybody_can_be_asked_what_time_it_is(traveller: Traveller, tmp_path: Path) -> None:
    state = str(traveller.cluster.state.path)
    shown = json.loads(traveller.commands.run("time", "show", "--json", "--state", state).out)
    ahead = traveller.ahead(CONTROL_PLANE)
    assert {each["ahead_seconds"] for each in shown["nodes"]} == {ahead} == {shown["ahead_seconds"]}
    assert abs(datetime.fromisoformat(shown["time"]) - traveller.lab_now()) < SKEW
    assert {each["role"] for each in shown["nodes"]} == {each.value for each in Role} - {"wan"}
    refused = traveller.commands.run("time", "forward", "40000d", "--state", state)
    assert refused.status == 2 and refused.err.startswith("cdnlab: ") and traveller.ahead(CONTROL_PLANE) == ahead
    nowhere = traveller.commands.run("time", "forward", "1d", "--state", str(tmp_path / "none"))
    assert nowhere.status == 1 and "no lab is running" in nowhere.err
