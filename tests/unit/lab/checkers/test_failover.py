"""The failover table of runs whose course is known."""

import json
from typing import Any

from lab.checkers.failover import Failover, failover_table
from lab.history.reader import history_of
from tests.unit.lab.checkers.toy_cdn import history_rows

S = 1_000_000_000
NODES = [
    {"node": "e1", "role": "edge", "region": "eu", "address": "10.0.0.1"},
    {"node": "e2", "role": "edge", "region": "eu", "address": "10.0.0.2"},
    {"node": "ro1", "role": "dns_router", "region": "eu"},
    {"node": "ro2", "role": "dns_router", "region": "us"},
    {"node": "o1", "role": "origin", "address": "10.9.0.1"},
    {"node": "cp", "role": "control_plane"},
]


def at(seconds: float) -> int:
    return round(seconds * S)


def fault(name: str, place: str) -> dict[str, Any]:
    return {
        "id": "F1", "fault": name, "place": place, "began_ns": at(100), "injected_ns": at(100.5), "healing_ns": at(130), "healed_ns": at(131)
    }  # fmt: skip


def request(seconds: float, error: str | None = None, region: str = "eu", address: str = "10.0.0.2") -> dict[str, Any]:
    return {
        "id": f"load/{seconds}{region}", "intended_ns": at(seconds), "started_ns": at(seconds), "ended_ns": at(seconds + 0.1), "region": region,
        "address": address, "status": None if error else 200, "error": error,
    }  # fmt: skip


def served(seconds: float, result: str) -> dict[str, Any]:
    return {"node": "e2", "started_ns": at(seconds), "first_byte_ns": at(seconds), "result": result, "reason": "fresh"}


def table(**tables: list[dict[str, Any]]) -> Failover:
    (row,) = failover_table(history_of({"nodes": NODES} | tables))
    json.dumps(row.to_json())
    return row


def test_the_five_times_of_an_edge_that_dies() -> None:
    row = table(
        faults=[fault("kill", "e1")],
        fills=[{"node": "r", "upstream": "10.0.0.9:80", "ended_ns": at(101), "error": "refused"}],
        directory=[
            {"node": "e1", "at_ns": at(50), "state": "expired", "version": 1},
            {"node": "e1", "at_ns": at(106), "state": "expired", "version": 3},
        ],
        routed=[
            {"node": "ro1", "at_ns": at(106.25), "version": 3},
            {"node": "ro2", "at_ns": at(106.5), "version": 4},
            {"node": "ro2", "at_ns": at(108), "version": 5},
        ],
        requests=[
            request(90),
            request(101, "reset"),
            request(104, "refused", "us"),
            request(105),
            request(107, region="us"),
            request(140),
        ],
        served=[served(70 + each, "hit") for each in range(25)]
        + [served(100.5 + each / 4, "miss" if each < 40 else "hit") for each in range(100)],
    )
    assert [row.detected.seconds, row.decided.seconds, row.propagated.seconds, row.viewers_well.seconds] == [
        5.5,
        5.5,
        6.0,
        3.5,
    ]
    assert row.cache_refilled.seconds == 10.0
    eu, us = row.regions
    assert (eu.region, eu.before.requests, eu.during.requests, eu.during.failures, eu.after.requests) == (
        "eu",
        1,
        2,
        1,
        1,
    )
    assert (eu.well_seconds, us.well_seconds) == (0.5, 3.5)
    assert eu.went_to == (("e2", 2),)


def test_a_regional_cache_is_noticed_by_those_who_ask_it() -> None:
    nodes = [*NODES, {"node": "r1", "role": "regional", "region": "eu", "address": "10.0.1.1"}]
    fills = [{"node": "e1", "tier": "regional", "upstream": "10.0.1.1:8080", "ended_ns": at(101), "error": "refused"}]
    directory = [{"node": "r1", "at_ns": at(106), "state": "expired", "version": 3}]
    row = table(nodes=nodes, faults=[fault("kill", "r1")], fills=fills, directory=directory)
    assert (row.detected.seconds, row.decided.seconds, row.propagated.seconds) == (0.5, 5.5, None)
    assert "routers name edges only" in row.propagated.says


def test_an_origin_that_fails_is_decided_on_by_caches() -> None:
    fills = [
        {
            "node": "e1",
            "request_id": "q1",
            "tier": "origin",
            "upstream": "o1",
            "started_ns": at(101),
            "ended_ns": at(102),
            "status": 503,
        },
        {
            "node": "e1",
            "request_id": "q1",
            "tier": "origin",
            "upstream": "o2",
            "started_ns": at(102.5),
            "ended_ns": at(103),
            "status": 200,
        },
    ]
    row = table(
        faults=[fault("http-status", "o1")],
        fills=fills,
        requests=[request(101, "status 503"), request(125, "status 503")],
    )
    assert (row.detected.seconds, row.decided.seconds, row.propagated.seconds) == (1.5, 2.0, None)
    assert "o2" in row.decided.says
    assert row.viewers_well.seconds is None and "failed until it was healed" in row.viewers_well.says


def test_what_nobody_wrote_down_or_decides_has_a_reason() -> None:
    row = table(faults=[fault("kill", "e1")])
    for stage in (row.detected, row.decided, row.propagated, row.viewers_well, row.cache_refilled):
        assert stage.seconds is None and stage.says
    row = table(
        faults=[fault("control-plane-deaf", "cp")], leases=[{"node": "e1", "at_ns": at(105.5), "state": "expired"}]
    )
    assert (row.detected.seconds, row.decided.seconds) == (5.0, None)
    assert (
        table(
            faults=[fault("link-cut", "eu--us")], leases=[{"node": "e1", "at_ns": at(104), "state": "expired"}]
        ).detected.seconds
        == 3.5
    )


def test_the_table_of_a_whole_run() -> None:
    rows = failover_table(history_of(history_rows(4)))
    kill, origin = rows
    assert (kill.fault, origin.fault) == ("kill", "http-status")
    assert kill.decided.seconds is not None and kill.propagated.seconds is not None
    assert 4 < kill.decided.seconds < kill.propagated.seconds < 7
    assert kill.viewers_well.seconds == 0.0  # they go on to the next address
    assert origin.detected.seconds is not None and origin.detected.seconds < 1
    assert {region.region for region in kill.regions} == {"eu", "us"}
