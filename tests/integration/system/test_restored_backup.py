"""The control plane's database is replaced by an older copy, by the book and by hand: every node ends on the one history, and no cache keeps what the lost one left."""

import contextlib
import signal
import sqlite3
from pathlib import Path

from lab.cluster.database import put_in_place, take_backup
from lab.topology.layout import CONTROL_PLANE_ID
from tests.integration.system_lab import Site, SystemLab, all_of, wait_until

LEASE_SECONDS = 2.0
EU = "eu-central-1"


def seen_version(lab: SystemLab, edge: str, site: Site, key: str) -> int:
    """The version of an object that an edge serves."""
    reply = lab.get(edge, site.host, f"/bucket/{key}")
    assert reply.status == 200
    return int(reply.headers["x-amz-version-id"])


def seen_versions(lab: SystemLab, site: Site, key: str) -> set[int]:
    """By all edges."""
    return {seen_version(lab, edge, site, key) for edge in lab.edges()}


def invalidated(lab: SystemLab, site: Site, *paths: str) -> str:
    """The id of an invalidation that is complete."""
    identifier = lab.invalidate(site, *paths)
    lab.wait_completed(site, identifier)
    return identifier


def is_of_one_history(lab: SystemLab) -> bool:
    """Every node stands where the log ends."""
    head = lab.control_status()
    nodes = [lab.status(node_id) for node_id in lab.synchronized()]
    return {(node["log_id"], node["applied_index"]) for node in nodes} == {(head["log_id"], head["head_index"])}


def test_after_a_restored_backup_no_cache_has_what_was_stored_before_it(lab: SystemLab, tmp_path: Path) -> None:
    """Nobody but the caches knew of the lost invalidations, and what they had stored may be older than one of them."""
    site, file = lab.make_site(), tmp_path / "backup.sqlite3"
    contents = take_backup(lab.processes, file)
    log_id = lab.control_status()["log_id"]
    assert (contents.log_id, contents.head_index) == (log_id, lab.control_status()["head_index"])
    assert lab.put_object("lost/page", b"1") == 1
    assert seen_versions(lab, site, "lost/page") == {1}
    assert lab.put_object("lost/page", b"2") == 2
    lost = invalidated(lab, site, "/bucket/lost/*")
    assert seen_versions(lab, site, "lost/page") == {2}
    assert lab.put_object("lost/page", b"3") == 3
    assert seen_versions(lab, site, "lost/page") == {2}, "it is not cached, so nothing is shown by the end of it"

    assert put_in_place(lab.processes, file) == contents

    assert lab.control_status()["log_id"] != log_id
    wait_until(lambda: is_of_one_history(lab), "every node is on the one log")
    assert seen_versions(lab, site, "lost/page") == {3}
    assert lost not in {each["Id"] for each in listed_invalidations(lab, site)}
    assert lab.put_object("lost/page", b"4") == 4
    kept = invalidated(lab, site, "/bucket/lost/*")
    assert all_of(lab.receipt(kept)["nodes"], "acknowledged") == set(lab.synchronized())
    assert seen_versions(lab, site, "lost/page") == {4}


def listed_invalidations(lab: SystemLab, site: Site) -> list[dict[str, str]]:
    return list(lab.cloudfront.list_invalidations(DistributionId=site.id)["InvalidationList"].get("Items", []))


def test_an_edge_of_a_lost_history_never_serves_what_the_log_has_invalidated_since(
    lab: SystemLab, tmp_path: Path
) -> None:
    """A copy without a mark is put in place by hand; when the edge comes back, the log has other entries at the indexes that it has applied."""
    site, edge = lab.make_site(), lab.edges(EU)[0]
    copy = tmp_path / "by-hand.sqlite3"
    with contextlib.closing(sqlite3.connect(database(lab))) as live, contextlib.closing(sqlite3.connect(copy)) as to:
        live.backup(to)
    log_id = lab.control_status()["log_id"]
    assert lab.put_object("fork/page", b"1") == 1
    assert seen_version(lab, edge, site, "fork/page") == 1
    for number in range(3):
        invalidated(lab, site, f"/lost/{number}")
    applied_index = lab.status(edge)["applied_index"]
    with lab.stopped(edge):
        replace_database_by_hand(lab, copy)
        assert lab.put_object("fork/page", b"2") == 2
        kept = invalidated(lab, site, "/bucket/fork/*")
        assert edge in all_of(lab.receipt(kept)["nodes"], "left_out")
        for number in range(4):
            invalidated(lab, site, f"/kept/{number}")
        assert lab.receipt(kept)["index"] <= applied_index < lab.control_status()["head_index"]
    wait_until(lambda: is_of_one_history(lab), "every node is on the one history")
    assert lab.control_status()["log_id"] == log_id, "by what the nodes say the log does not change"
    assert seen_versions(lab, site, "fork/page") == {2}
    lab.wait_serving(edge)
    assert edge in all_of(lab.receipt(invalidated(lab, site, "/x"))["nodes"], "acknowledged")


def database(lab: SystemLab) -> Path:
    return lab.processes.state.path / "nodes" / CONTROL_PLANE_ID / "control-plane.sqlite3"


def replace_database_by_hand(lab: SystemLab, copy: Path) -> None:
    """As somebody does who does not know of `cdnlab restore`."""
    lab.kill(CONTROL_PLANE_ID, signal.SIGTERM)
    wait_until(lambda: lab.is_gone(CONTROL_PLANE_ID), "the control plane has ended")
    for beside in database(lab).parent.glob("*-wal"), database(lab).parent.glob("*-shm"):
        for path in beside:
            path.unlink()
    database(lab).write_bytes(copy.read_bytes())
    lab.start(CONTROL_PLANE_ID)
    lab.wait_serving(CONTROL_PLANE_ID)
