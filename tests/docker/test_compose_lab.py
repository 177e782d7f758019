"""The compose lab, really started: what the issue asks of containers, from `up --wait` to `down`.

The tests share one lab and stand in the order in which a person would try these things; each leaves it as it found it.
That `down` leaves nothing is checked where it happens, when the fixture `started_lab` ends.
"""

import json
import re
import urllib.request
from typing import Any

import dns.edns
import dns.message
import dns.query
import pytest
from docker.models.containers import Container

from proto.host_clock import HostClock
from proto.moments import DifferentClocksError, Moment, read_moment
from tests.docker.compose_lab import ROOT, ComposeLab, Distribution, StartedLab, ask_in, reached_at, run_in, wait_until
from tests.docker.origins import Origin
from tests.docker.viewers import Viewer

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

HEALTHY_WITHIN_SECONDS = 30
# A lease is 5 s, counted with a margin; the router hears of its end at once, and a viewer asks again after a TTL of 5 s.
OUT_OF_ANSWERS_WITHIN_SECONDS = 10


def read_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def edge_addresses(lab: ComposeLab, region: str) -> set[str]:
    """What the DNS router may answer for a place: where relays listen for its edges."""
    edges = lab.nodes("edge").values()
    return {reached_at(edge)[0] for edge in edges if edge.labels["cdnlab.region"] == region}


def fetches_from_regional(edge: Container) -> float:
    """Of an edge's life so far."""
    page = ask_in(
        edge,
        do="request",
        address="127.0.0.1",
        port=9100,
        path="/metrics",
        host="",
        method="GET",
        body=None,
        headers={},
    )
    found = re.search(r'^cdn_upstream_fetches_total\{tier="regional"\} (\S+)$', page["body"], re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_it_is_healthy_in_time(started_lab: StartedLab) -> None:
    states = {name: node.attrs["State"]["Health"]["Status"] for name, node in started_lab.lab.nodes().items()}
    assert states == dict.fromkeys(states, "healthy")
    assert len(states) == 13  # with the relays
    print(f"\nup --wait: {started_lab.seconds_to_healthy:.1f} s")
    assert started_lab.seconds_to_healthy < HEALTHY_WITHIN_SECONDS


def test_all_run_the_same_build(lab: ComposeLab) -> None:
    assert len({node.attrs["Image"] for node in lab.nodes().values()}) == 1


def test_both_compose_files_say_the_same(lab: ComposeLab) -> None:
    from_root = json.loads(lab.compose("config", "--format", "json"))
    from_deploy = json.loads(lab.compose("config", "--format", "json", folder=ROOT / "deploy"))
    # The templates (x-...) stay behind when a file is included.
    assert from_root == {name: part for name, part in from_deploy.items() if not name.startswith("x-")}


def test_it_comes_up_with_something_to_see_and_says_where(lab: ComposeLab, viewers: dict[str, Viewer]) -> None:
    said = lab.compose("logs", "--no-log-prefix", "lab")
    assert "the lab three-regions is up: 6 edges, 2 regional caches, 1 router" in said
    found = re.search(r"site +http://([^:/]+)", said)
    assert found, said
    page = viewers["eu-central-1"].get(found[1], "/")
    assert page.status == 200 and "<html" in page.body


def test_each_viewer_is_sent_to_the_edges_of_its_place(
    lab: ComposeLab, viewers: dict[str, Viewer], distribution: Distribution
) -> None:
    """By where they come from: these queries carry no client subnet, and relays connect from another address for each place of clients."""
    for place, viewer in viewers.items():
        assert set(viewer.resolve(distribution.domain_name)) == edge_addresses(lab, place)


def test_who_asks_from_the_machine_is_in_the_default_region(lab: ComposeLab, distribution: Distribution) -> None:
    """The engine shows such a client as a gateway; a client subnet in the query says where it really is."""
    host, _, port = lab.published("dns-1", "53/udp").rpartition(":")

    def addresses(*options: dns.edns.Option) -> set[str]:
        query = dns.message.make_query(distribution.domain_name, "A", use_edns=0, options=list(options))
        return {record.address for rrset in dns.query.udp(query, host, 5, int(port)).answer for record in rrset}

    assert addresses() == edge_addresses(lab, "us-east-1")
    assert addresses(dns.edns.ECSOption("10.2.0.0", 24)) == edge_addresses(lab, "eu-central-1")


def test_a_hit_through_two_tiers(
    lab: ComposeLab, viewers: dict[str, Viewer], distribution: Distribution, origin: Origin
) -> None:
    """Both edges of a POP get the object with one request to the origin; then each has it itself.

    To a viewer a hit at either tier is a hit (reference 2.12); which tier it was is in the edges' own counters.
    """
    path = "/bucket/news/two-tiers.txt"
    origin.put(path, "first")
    viewer = viewers["eu-central-1"]
    edges = [lab.container("edge-fra56-p1-1"), lab.container("edge-fra56-p1-2")]
    addresses = [reached_at(edge)[0] for edge in edges]
    asked_before = [fetches_from_regional(edge) for edge in edges]

    responses = [viewer.get_from(address, distribution.domain_name, path) for address in addresses * 2]

    assert [response.body for response in responses] == ["first"] * 4
    assert [response.headers["x-cache"] for response in responses] == [
        "Miss from cloudfront",
        "Hit from cloudfront",
        "Hit from cloudfront",
        "Hit from cloudfront",
    ]
    assert {response.headers["x-amz-cf-pop"] for response in responses} == {"FRA56-P1"}
    assert [fetches_from_regional(edge) for edge in edges] == [count + 1 for count in asked_before]
    assert origin.times_asked(path) == 1


def test_the_published_port_of_an_edge_serves(lab: ComposeLab, distribution: Distribution) -> None:
    url = f"http://{lab.published('edge-iad89-p1-1', '8080/tcp')}/index.html"
    request = urllib.request.Request(url, headers={"Host": distribution.domain_name})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200
        assert response.headers["X-Amz-Cf-Pop"] == "IAD89-P1"


def test_an_invalidation_has_a_receipt_of_every_node(
    lab: ComposeLab, viewers: dict[str, Viewer], cloudfront: Any, distribution: Distribution, origin: Origin
) -> None:
    path = "/bucket/news/front.txt"
    origin.put(path, "old")
    for viewer in viewers.values():
        assert viewer.get(distribution.domain_name, path).body == "old"
    origin.put(path, "new")

    asked_at = HostClock().now()
    batch = {"Paths": {"Quantity": 1, "Items": [path]}, "CallerReference": "tests/docker"}
    created = cloudfront.create_invalidation(DistributionId=distribution.id, InvalidationBatch=batch)["Invalidation"]
    cloudfront.get_waiter("invalidation_completed").wait(
        DistributionId=distribution.id, Id=created["Id"], WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )

    receipt = read_json(f"http://{lab.published('control-plane', '4568/tcp')}/receipts/{created['Id']}")
    assert receipt["status"] == "Completed"
    acknowledged = {node["id"] for node in receipt["nodes"] if node["state"] == "acknowledged"}
    assert acknowledged == {*lab.nodes("edge"), *lab.nodes("regional"), *lab.nodes("dns_router")}
    assert receipt["completed_monotonic_ns"] >= receipt["issued_monotonic_ns"]
    check_that_it_came_after(asked_at, receipt)
    for viewer in viewers.values():
        for address in edge_addresses(lab, viewer.region):
            assert viewer.get_from(address, distribution.domain_name, path).body == "new"


def check_that_it_came_after(asked_at: Moment, receipt: dict[str, Any]) -> None:
    """By the kernel's clock, which containers share with this process; not with Docker Desktop, whose virtual machine has a boot of its own: then nobody knows."""
    completed_at = read_moment(receipt["clock"], receipt, "completed")
    assert completed_at.boot_id
    if completed_at.boot_id == asked_at.boot_id:
        assert completed_at.is_after(asked_at) and HostClock().now().is_after(completed_at)
    else:
        with pytest.raises(DifferentClocksError):
            completed_at.is_after(asked_at)


def test_a_killed_edge_leaves_the_answers_and_viewers_go_on(
    lab: ComposeLab, viewers: dict[str, Viewer], distribution: Distribution
) -> None:
    viewer, name = viewers["eu-central-1"], distribution.domain_name
    both = edge_addresses(lab, "eu-central-1")
    victim = lab.nodes("edge")["edge-fra56-p1-1"]
    dead, _ = reached_at(victim)
    victim.kill()
    try:
        # From the first moment: the dead address may still be answered, then the viewer tries the next.
        assert viewer.get(name, "/index.html").status == 200
        seconds = wait_until(
            lambda: viewer.get(name, "/index.html").status == 200 and dead not in viewer.resolve(name),
            OUT_OF_ANSWERS_WITHIN_SECONDS,
            f"{dead} out of the answers",
        )
        print(f"\nkilled edge out of the answers after {seconds:.1f} s")
        assert both - {dead} <= set(viewer.resolve(name))
    finally:
        victim.start()
    wait_until(lambda: set(viewer.resolve(name)) == both, OUT_OF_ANSWERS_WITHIN_SECONDS, f"{dead} answered again")
    assert viewer.get_from(dead, name, "/index.html").status == 200


def test_a_place_without_edges_is_served_from_the_next(
    lab: ComposeLab, viewers: dict[str, Viewer], distribution: Distribution
) -> None:
    """Paused, not killed: no drain, no reset, as when a building loses its uplink. us-east-1 is nearest to Frankfurt."""
    viewer, name = viewers["eu-central-1"], distribution.domain_name
    home = edge_addresses(lab, "eu-central-1")
    victims = [lab.nodes("edge")[node] for node in ("edge-fra56-p1-1", "edge-fra56-p1-2")]
    for victim in victims:
        victim.pause()
    try:
        wait_until(
            lambda: not home & set(viewer.resolve(name)), OUT_OF_ANSWERS_WITHIN_SECONDS, "Frankfurt out of the answers"
        )
        response = viewer.get(name, "/index.html")
        assert (response.status, response.headers["x-amz-cf-pop"]) == (200, "IAD89-P1")
        assert response.failed_addresses == ()
    finally:
        for victim in victims:
            victim.unpause()
    wait_until(lambda: set(viewer.resolve(name)) == home, OUT_OF_ANSWERS_WITHIN_SECONDS, "Frankfurt answered again")


def serves(viewer: Viewer, address: str, name: str) -> bool:
    """Connected one is in any case, to the relay; without a program behind it that is a reset."""
    try:
        return viewer.get_from(address, name, "/index.html").status == 200
    except AssertionError:
        return False


def test_a_restarted_lab_remembers(lab: ComposeLab, viewers: dict[str, Viewer], distribution: Distribution) -> None:
    """kill -9 of the control plane and of an edge: the configuration and the last good snapshot are on the volume."""
    control_plane, edge = lab.nodes()["control-plane"], lab.nodes()["edge-nrt57-p1-1"]
    control_plane.kill()
    edge.kill()
    edge.start()
    address, _ = reached_at(edge)
    try:
        # Without a control plane: from its own disk.
        wait_until(
            lambda: serves(viewers["ap-northeast-1"], address, distribution.domain_name),
            15,
            "edge-nrt57-p1-1 serves again",
        )
    finally:
        control_plane.start()
    lab.wait_healthy("control-plane")
    wait_until(
        lambda: address in viewers["ap-northeast-1"].resolve(distribution.domain_name),
        15,
        "edge-nrt57-p1-1 answered again",
    )
    status = read_json(f"http://{lab.published('control-plane', '4568/tcp')}/status")
    assert distribution.id in {each["id"] for each in status["distributions"]}


def test_nodes_are_known_by_their_certificates(lab: ComposeLab) -> None:
    """That they are live says that theirs are good; that whoever has none gets nothing is shown without containers."""
    assert "(with certificates)" in lab.compose("logs", "control-plane")
    for node_id, container in lab.nodes("edge").items():
        key = f"/etc/cdnlab/tls/{node_id}/key.pem"
        assert run_in(container, "stat", "-c", "%a %u", key).split() == ["600", "10001"]
    maker = lab.container("certificates")
    assert (maker.status, maker.attrs["State"]["ExitCode"]) == ("exited", 0)


def test_nobody_is_root_and_no_root_file_system_is_writable(lab: ComposeLab) -> None:
    containers = [each for each in lab.containers("com.docker.compose.oneoff=False") if each.status == "running"]
    assert len(containers) == 15  # 13 nodes, Prometheus, and what tells the addresses
    for container in containers:
        # What runs: the relays begin as root, and who looks into their container is what they began as.
        status = dict(line.split(":", 1) for line in run_in(container, "cat", "/proc/1/status").splitlines())
        assert "0" not in status["Uid"].split() + status["Gid"].split(), container.name
        assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Amb")} == {0}, container.name
        assert int(status["NoNewPrivs"]) == 1, container.name
        refused, _ = container.exec_run(["touch", "/opt/written"], user="root")
        assert refused != 0, container.name
        assert container.attrs["HostConfig"]["Memory"] > 0
        published = [binding for bindings in container.ports.values() for binding in bindings or ()]
        assert {binding["HostIp"] for binding in published} <= {"127.0.0.1"}
