"""What programs do to themselves when they are told to: their ports, how long it lasts, and what a protocol that works makes of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

import dns.message
import dns.query
import dns.rcode
import pytest

from lab.clients.http_client import Reply, ask, split_address
from lab.cluster.processes import ProcessCluster
from lab.errors import LabError
from lab.faults.parameters import Value
from lab.faults.program import own_fault
from lab.topology.layout import ALLOW_FAULTS
from tests.faults.contract import wait_until
from tests.faults.rows_of_log import Change, InOrder, name_at
from tests.faults.scene import CONTROL_PLANE, EDGE, ORIGIN, OTHER_EDGE, REGIONAL, ROUTER, Scene

JSON = ("content-type", "application/json")
LONG_SECONDS = 600.0
FOLLOWERS = (EDGE, REGIONAL, ROUTER)


def call(
    scene: Scene,
    node_id: str,
    method: str,
    path: str,
    document: object = None,
    headers: Iterable[tuple[str, str]] = (JSON,),
) -> Reply:
    body = None if document is None else json.dumps(document).encode()
    return ask(scene.admin(node_id), path, method=method, headers=headers, body=body)


def inject(scene: Scene, node_id: str, kind: str, lease_seconds: float = LONG_SECONDS, **parameters: Value) -> str:
    """The id of the fault."""
    document = {"kind": kind, "parameters": parameters, "lease_seconds": lease_seconds}
    reply = call(scene, node_id, "POST", "/faults", document)
    assert reply.status == 201, reply
    return str(json.loads(reply.body)["id"])


def end(scene: Scene, node_id: str, fault_id: str) -> None:
    assert call(scene, node_id, "DELETE", f"/faults/{fault_id}").status == 200


def listed(scene: Scene, node_id: str) -> list[str]:
    return [each["id"] for each in json.loads(call(scene, node_id, "GET", "/faults").body)["faults"]]


# The port


@pytest.mark.parametrize("node_id", FOLLOWERS)
def test_a_fault_is_injected_listed_and_ended(scene: Scene, node_id: str) -> None:
    fault = inject(scene, node_id, "log-duplicate")
    assert listed(scene, node_id) == [fault]
    again = call(scene, node_id, "POST", "/faults", {"kind": "log-duplicate", "lease_seconds": 1})
    assert again.status == 409 and fault in again.body.decode()
    end(scene, node_id, fault)
    assert call(scene, node_id, "DELETE", f"/faults/{fault}").status == 404 and listed(scene, node_id) == []


@pytest.mark.parametrize("node_id", [*FOLLOWERS, CONTROL_PLANE])
def test_what_makes_no_sense_is_refused_with_everything_that_is_wrong(scene: Scene, node_id: str) -> None:
    wrong = call(scene, node_id, "POST", "/faults", {"kind": "rain", "lease_seconds": 0, "for": 5})
    told = wrong.body.decode()
    assert wrong.status == 400 and all(part in told for part in ("'for'", "lease_seconds must", "kind must be one of"))
    good = {"kind": "log-duplicate", "lease_seconds": 1}
    assert call(scene, node_id, "POST", "/faults", good, headers=()).status == 415
    page = (JSON, ("origin", "http://evil.example"))
    assert call(scene, node_id, "POST", "/faults", good, headers=page).status == 403
    assert call(scene, node_id, "PUT", "/faults").status == 405
    large = call(scene, node_id, "POST", "/faults", "x" * 70_000)
    assert large.status == 413
    assert listed(scene, node_id) == []


@pytest.mark.parametrize("node_id", [*FOLLOWERS, CONTROL_PLANE])
def test_without_the_flag_there_is_no_such_path(scene: Scene, cluster: ProcessCluster, node_id: str) -> None:
    with_it = cluster.node(node_id).command
    assert ALLOW_FAULTS in with_it
    restart_as(cluster, node_id, [word for word in with_it if word != ALLOW_FAULTS])
    try:
        for method, path in (("GET", "/faults"), ("POST", "/faults"), ("DELETE", "/faults/f-1")):
            unknown = call(scene, node_id, method, path.replace("faults", "unknown"), headers=())
            there = call(scene, node_id, method, path, headers=())
            assert (there.status, there.body) == (unknown.status, unknown.body) and there.status == 404
        with pytest.raises(LabError, match=f"{node_id} was started without --allow-faults"):
            own_fault("log-duplicate").inject(cluster, node_id, {"probability": 1.0, "lease_seconds": 1.0})
    finally:
        restart_as(cluster, node_id, with_it)
    wait_until(scene.is_whole, "all nodes are live")


def restart_as(cluster: ProcessCluster, node_id: str, command: Iterable[str]) -> None:
    cluster.stop(node_id)
    record = cluster.record
    nodes = (replace(node, command=tuple(command)) if node.id == node_id else node for node in record.nodes)
    cluster.state.write(replace(record, nodes=tuple(nodes)))
    cluster.start(node_id)
    cluster.wait_until_live(node_id)


# How long it lasts


def test_a_fault_ends_by_its_lease_although_nobody_ends_it(scene: Scene) -> None:
    wait_until(InOrder(scene, EDGE), "receipts come at once, also after a control plane that was restarted")
    change = Change(scene)
    inject(scene, EDGE, "lying-acknowledgement", 3.0)
    change.make()
    wait_until(lambda: change.is_completed() and change.is_stale(), "the lie is told")
    wait_until(change.is_fresh, "the truth after the lease")
    assert listed(scene, EDGE) == []
    wait_until(InOrder(scene, EDGE), "the edge follows the log")


def test_a_fault_ends_with_its_process_and_undoing_it_does_no_harm(scene: Scene, cluster: ProcessCluster) -> None:
    posting, told = own_fault("dns-servfail"), dict[str, Value](probability=1.0, lease_seconds=60.0)
    memory = posting.inject(cluster, ROUTER, told)
    assert scene.resolve().rcode() == dns.rcode.SERVFAIL
    cluster.kill(ROUTER)
    posting.undo(cluster, ROUTER, told, memory)
    cluster.start(ROUTER)
    cluster.wait_until_live(ROUTER)
    assert listed(scene, ROUTER) == [] and scene.resolved()
    posting.undo(cluster, ROUTER, told, memory)
    other = posting.inject(cluster, ROUTER, told)
    posting.undo(cluster, ROUTER, told, memory)
    assert scene.resolve().rcode() == dns.rcode.SERVFAIL, "nobody else's fault is ended"
    posting.undo(cluster, ROUTER, told, other)
    assert scene.resolved()


def test_whoever_does_not_know_which_one_it_is_finds_it(scene: Scene, cluster: ProcessCluster) -> None:
    """An agent that was killed before it could write down the id."""
    posting, told = own_fault("dns-servfail"), dict[str, Value](probability=1.0, lease_seconds=60.0)
    posting.inject(cluster, ROUTER, told)
    nothing: Mapping[str, Value] = {}
    posting.undo(cluster, ROUTER, {**told, "probability": 0.5}, nothing)
    assert len(listed(scene, ROUTER)) == 1
    posting.undo(cluster, ROUTER, told, nothing)
    assert listed(scene, ROUTER) == []


# What the protocol makes of it


def test_one_lost_entry_is_noticed_when_the_next_one_comes(scene: Scene) -> None:
    lost, next_one = Change(scene), Change(scene)
    fault = inject(scene, EDGE, "log-lose", count=1)
    lost.make()
    wait_until(lambda: scene.times(EDGE, "log-lose") == 1, "it is lost")
    next_one.make()
    wait_until(lambda: lost.is_completed() and next_one.is_completed(), "both receipts")
    assert [each.part(EDGE) for each in (lost, next_one)] == ["acknowledged"] * 2, "although the fault is in force"
    assert lost.is_fresh() and next_one.is_fresh()
    end(scene, EDGE, fault)


def test_a_lost_entry_that_nothing_follows_is_asked_for(scene: Scene) -> None:
    """A node that is a whole lease behind is refused another one, and says so on a stream of its own when the last one is over."""
    lost = Change(scene)
    fault = inject(scene, EDGE, "log-lose", count=1)
    lost.make()
    wait_until(lambda: scene.times(EDGE, "log-lose") == 1, "it is lost")
    head_index = scene.control_status()["head_index"]
    wait_until(lambda: scene.status(EDGE)["applied_index"] == head_index, "the edge has it, and no other one has come")
    wait_until(lambda: scene.is_whole() and lost.is_fresh(), "the edge is back, although the fault is in force")
    assert scene.control_status()["head_index"] == head_index
    end(scene, EDGE, fault)
    wait_until(lost.is_completed, "the receipt")


def test_a_regional_cache_that_lies_deceives_nobody(scene: Scene) -> None:
    """An edge that is further asks it to catch up, and is answered without its cache."""
    change = Change(scene, name_at(scene, REGIONAL))
    fault = inject(scene, REGIONAL, "lying-acknowledgement")
    change.make()
    wait_until(change.is_completed, "the receipt")
    assert change.part(REGIONAL) == "acknowledged" and change.is_fresh() and change.is_fresh(OTHER_EDGE)
    end(scene, REGIONAL, fault)
    wait_until(InOrder(scene, REGIONAL), "the regional cache follows the log")


def test_a_lie_about_configuration_is_found_by_the_next_heartbeat(scene: Scene) -> None:
    """A heartbeat has the checksum of what the node serves. It gets a snapshot, which leaves nothing of the lie."""
    change = Change(scene)
    fault = inject(scene, EDGE, "lying-acknowledgement")
    change.make()
    wait_until(lambda: change.is_completed() and change.is_stale(), "the lie is told")
    host = scene.new_distribution().domain_name
    wait_until(
        lambda: ask(scene.address(EDGE), "/", headers=[("host", host)]).status == 200, "the new distribution is served"
    )
    assert change.is_fresh() and listed(scene, EDGE) == [fault]
    assert scene.metric(CONTROL_PLANE, "cdn_control_nodes_started_over_total") >= 1
    end(scene, EDGE, fault)
    wait_until(InOrder(scene, EDGE), "the edge follows the log")


def test_what_was_stored_while_invalidations_were_ignored_is_trusted_by_no_other_process(
    scene: Scene, cluster: ProcessCluster
) -> None:
    """The journal of a node that is killed meanwhile would say that all of it was judged."""
    change = Change(scene, name_at(scene, REGIONAL))
    wait_until(lambda: scene.status(REGIONAL)["disk"]["entries"] > 0, "it is on disk")
    inject(scene, REGIONAL, "stale-regional")
    change.make()
    wait_until(lambda: change.is_completed() and change.is_stale(), "the regional cache is stale")
    cluster.kill(REGIONAL)
    cluster.start(REGIONAL)
    cluster.wait_until_live(REGIONAL)
    assert change.is_fresh(OTHER_EDGE)
    assert "serving from the snapshot on disk, cold" in "\n".join(cluster.logs(REGIONAL, 20))
    wait_until(InOrder(scene, REGIONAL), "the regional cache follows the log")


def test_a_stale_edge_deceives_its_own_viewers_until_it_is_healed(scene: Scene) -> None:
    change = Change(scene)
    fault = inject(scene, EDGE, "stale-regional")
    change.make()
    wait_until(lambda: change.is_completed() and change.is_stale(), "the edge is stale")
    assert change.is_fresh(OTHER_EDGE)
    end(scene, EDGE, fault)
    assert change.is_fresh(), "at once, also before the control plane is heard"
    wait_until(InOrder(scene, EDGE), "the edge follows the log")


@pytest.mark.parametrize("kind", ["log-lose", "lying-acknowledgement"])
def test_a_router_that_does_not_get_an_entry_does_not_know_the_name(scene: Scene, kind: str) -> None:
    fault = inject(scene, ROUTER, kind)
    site = scene.new_distribution()
    wait_until(lambda: scene.times(ROUTER, kind) > 0, "the entry has come")
    assert scene.resolve(name=site.domain_name).rcode() == dns.rcode.NXDOMAIN
    end(scene, ROUTER, fault)
    wait_until(lambda: scene.resolve(name=site.domain_name).rcode() == dns.rcode.NOERROR, "the name is known")
    wait_until(InOrder(scene, ROUTER), "the router follows the log")


def test_a_router_that_refuses_configuration_says_so_until_it_serves_it(scene: Scene) -> None:
    fault = inject(scene, ROUTER, "reject-configuration", reason="not this one")
    site = scene.new_distribution()
    wait_until(lambda: bool(scene.status(ROUTER)["rejections"]), "it is refused")
    (refusal,) = scene.status(ROUTER)["rejections"]
    assert (refusal["id"], refusal["reason"]) == (site.id, "not this one")
    assert scene.resolve(name=site.domain_name).rcode() == dns.rcode.NXDOMAIN
    end(scene, ROUTER, fault)
    assert scene.resolve(name=site.domain_name).rcode() == dns.rcode.NOERROR
    assert scene.status(ROUTER)["rejections"] == []
    wait_until(InOrder(scene, ROUTER), "the router follows the log")


def test_what_a_restarted_node_had_been_told_to_refuse_it_serves(scene: Scene, cluster: ProcessCluster) -> None:
    inject(scene, EDGE, "reject-configuration")
    site = scene.new_distribution()
    wait_until(lambda: bool(scene.status(EDGE)["rejections"]), "it is refused")
    cluster.kill(EDGE)
    cluster.start(EDGE)
    cluster.wait_until_live(EDGE)
    assert scene.status(EDGE)["rejections"] == []
    assert ask(scene.address(EDGE), "/", headers=[("host", site.domain_name)]).status == 200


# Names


def test_some_queries_fail_and_some_do_not(scene: Scene) -> None:
    fault = inject(scene, ROUTER, "dns-servfail", probability=0.5)
    codes = [scene.resolve().rcode() for _ in range(60)]
    assert {dns.rcode.SERVFAIL, dns.rcode.NOERROR} == set(codes)
    assert scene.times(ROUTER, "dns-servfail") == codes.count(dns.rcode.SERVFAIL)
    end(scene, ROUTER, fault)


def test_faults_of_names_are_the_same_over_tcp(scene: Scene) -> None:
    query = dns.message.make_query(scene.distribution.domain_name, "A")
    host, port = split_address(scene.cluster.addresses(ROUTER).dns)
    fault = inject(scene, ROUTER, "dns-wrong-answer", address="192.0.2.5")
    (records,) = dns.query.tcp(query, host, 5, port).answer
    assert [record.address for record in records] == ["192.0.2.5"]
    end(scene, ROUTER, fault)
    fault = inject(scene, ROUTER, "dns-silence")
    with pytest.raises(EOFError):
        dns.query.tcp(query, host, 5, port)
    end(scene, ROUTER, fault)


def test_an_address_of_the_other_family_is_no_answer(scene: Scene) -> None:
    before = scene.resolved()
    fault = inject(scene, ROUTER, "dns-wrong-answer", address="2001:db8::7")
    assert scene.resolved() == before
    end(scene, ROUTER, fault)


def test_origins_have_behaviors_in_place_of_faults(scene: Scene) -> None:
    assert call(scene, ORIGIN, "GET", "/faults").status == 404
