"""What origins say of their answers, as viewers get it through two real tiers; and rows of requests, judged by what edges and the origin wrote down themselves."""

import zlib
from pathlib import Path

import pytest

from lab.clients.http_client import Reply, ask
from lab.experiments.load import LoadRun
from loadtests.plan import LoadPlan, parse_address
from loadtests.workload import Population
from proto.host_clock import host_nanoseconds
from proto.origin_stamp import OriginStamp, parse_stamp
from tests.integration.loadtests.test_request_history import read_requests
from tests.integration.system_lab import ORIGIN, ROUTER, SUBNETS, SystemLab, wait_until

PATH = "/bucket/stamped/a"
BODY = b"what is stamped"


def stamp_of(reply: Reply) -> OriginStamp:
    stamp = parse_stamp(reply.headers["x-origin-stamp"])
    assert stamp is not None, reply.headers
    return stamp


def test_a_refresh_hit_says_when_the_origin_confirmed_it_and_a_hit_repeats_it(lab: SystemLab) -> None:
    site, (edge, *_) = lab.make_site(), lab.edges("eu-central-1")
    put = ask(lab.http(ORIGIN), PATH, method="PUT", body=BODY, headers=[("cache-control", "max-age=1")])
    assert stamp_of(put).version == put.headers["x-amz-version-id"] == "1"
    before_ns = host_nanoseconds()
    first = lab.get(edge, site.host, PATH)
    made = stamp_of(first)
    assert first.headers["x-cache"].startswith("Miss")
    assert (made.node, made.version, made.checksum, made.identity) == (ORIGIN, "1", zlib.crc32(BODY), None)
    assert before_ns < made.produced_ns < host_nanoseconds()
    later: list[Reply] = []

    def is_confirmed() -> bool:
        later.append(lab.get(edge, site.host, PATH))
        return later[-1].headers["x-cache"].startswith("RefreshHit") and lab.origin_count(PATH) > 2

    wait_until(is_confirmed, "a 304 of the origin")
    assert {stamp_of(reply).version for reply in later} == {"1"}
    for reply in later:
        if reply.headers["x-cache"].startswith("Hit"):
            assert stamp_of(reply).produced_ns == made.produced_ns
    confirmed = stamp_of(later[-1])
    assert confirmed.produced_ns > made.produced_ns
    assert later[-1].body == BODY and confirmed.checksum == made.checksum
    # The origin's own log has both moments: one of the 200, one of a 304.
    noted = lab.origin("GET", f"/requests?path_prefix={PATH}")["requests"]
    statuses = {each["monotonic_ns"]: each["status"] for each in noted}
    assert (statuses[made.produced_ns], statuses[confirmed.produced_ns]) == (200, 304)
    hit = lab.get(edge, site.host, PATH)
    if hit.headers["x-cache"].startswith("Hit"):
        assert stamp_of(hit) == confirmed


@pytest.mark.slow
def test_rows_of_requests_are_those_of_edges_and_the_origin(lab: SystemLab, tmp_path: Path) -> None:
    """Who answered each: the request id of every row is in the log of the edge that the row names, and of each miss also in the origin's."""
    site = lab.make_site()
    populations = tuple(Population(region, f"{subnet}/24", 1) for region, subnet in SUBNETS.items())
    port = int(lab.http(lab.edges()[0]).rpartition(":")[2])
    router = lab.processes.record.node(ROUTER)
    assert router is not None
    dns = parse_address(router.dns)
    plan = LoadPlan(dns, site.host, port, populations, tmp_path / "load.jsonl", 4.0, tmp_path / "history")
    with LoadRun("website", plan, 4, 8, tmp_path) as run:
        assert run.wait() == 0, run.log_path.read_text(encoding="utf-8")
    rows = read_requests(tmp_path / "history")
    assert len(rows) > 100 and {row["region"] for row in rows} == set(SUBNETS)
    by_address = {lab.http(edge).rpartition(":")[0]: edge for edge in lab.edges()}
    logs = dict.fromkeys(by_address, "")

    def all_are_logged() -> bool:
        for address, edge in by_address.items():
            logs[address] = "\n".join(lab.access_log(edge))
        return all(row["request_id"] in logs[row["address"]] for row in rows)

    wait_until(all_are_logged, "every request of a row in the access log of its edge")
    noted = lab.origin("GET", "/requests?limit=10000")["requests"]
    asked = {value for each in noted for name, value in each["headers"] if name.lower() == "x-amz-cf-id"}
    assert any(row["request_id"] in asked for row in rows if row["x_cache"].startswith("Miss"))
    assert {row["stamp_produced_ns"] for row in rows} <= {each["monotonic_ns"] for each in noted}
    assert all(row["stamp_origin"] == ORIGIN and row["dns_answer"] for row in rows)
    for row in rows:
        if row["status"] == 200 and row["stamp_checksum"] is not None:
            assert row["body_checksum"] == row["stamp_checksum"]
