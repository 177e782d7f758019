"""Rules of single checkers, at their borders, in histories of a few rows."""

import re
from pathlib import Path
from typing import Any

import pytest

from lab.checkers.catalogue import CHECKERS, choose
from lab.checkers.collapse import collapse
from lab.checkers.configuration import configuration_monotonic
from lab.checkers.durability import durability
from lab.checkers.freshness import freshness_after_receipts
from lab.checkers.hits import hit_ratio
from lab.checkers.judgement import Judgement
from lab.checkers.lifetimes import Allowed, Policy, allowed_age, is_for_one
from lab.checkers.objectives import availability, errors, latency, statuses
from lab.checkers.recovery import recovery
from lab.checkers.routing import departure, returning
from lab.checkers.staleness import staleness
from lab.checkers.verdict import Outcome
from lab.history.reader import history_of

S = 1_000_000_000
Rows = list[dict[str, Any]]


def request(number: int, started: float, produced: float | None = None, **values: Any) -> dict[str, Any]:
    return {
        "id": f"load/{number}", "request_id": f"q{number}", "host": "d1.cdn.localhost", "path": "/a", "method": "GET", "status": 200, "address": "10.0.0.1",
        "intended_ns": round(started * S), "started_ns": round(started * S), "ended_ns": round(started * S) + S // 10, "region": "eu", "profile": "website",
        "stamp_produced_ns": None if produced is None else round(produced * S),
    } | values  # fmt: skip


def invalidation(paths: str, issued: float = 10, completed: float | None = 20, **values: Any) -> dict[str, Any]:
    return {
        "id": "I1", "host": "D1.CDN.localhost", "paths": paths, "index": 1, "issued_ns": round(issued * S),
        "completed_ns": None if completed is None else round(completed * S),
    } | values  # fmt: skip


def freshness(
    requests: Rows, *invalidations: dict[str, Any], query: str = "in_key", strict: bool = False, **tables: Rows
) -> Judgement:
    history = history_of({"requests": requests, "invalidations": invalidations, **tables})
    return freshness_after_receipts(history, query, every_receipt=False, strict_invalidation=strict)


@pytest.mark.parametrize(
    ("paths", "path", "covers"),
    [
        ("/a", "/a", True),
        ("/a", "/A", False),
        ("/a", "/a?x=1", False),
        ("/a?x=1", "/a?x=1", True),
        ("/a*", "/a?x=1", True),
        ("/*", "/a", True),
        ("/b /a", "/a", True),
        ("a", "/a", True),
        ("/dir/*", "/dir", False),
        ("/dir*", "/dir", True),
        ("/dir/*", "/dir/x/y", True),
        ("/*/x", "/a/x", False),
        ("/*/x", "/*/x", True),
    ],
)
def test_an_invalidation_covers_what_its_patterns_say(paths: str, path: str, covers: bool) -> None:
    found = freshness([request(1, 30, 5, path=path)], invalidation(paths))
    assert found.wrong == int(covers)
    assert found.outcome is (Outcome.INVALID if covers else Outcome.UNKNOWN)


def test_a_query_that_is_not_in_the_key_is_no_part_of_the_path() -> None:
    assert freshness([request(1, 30, 5, path="/a?x=1")], invalidation("/a"), query="not_in_key").wrong == 1


@pytest.mark.parametrize(
    ("started", "produced", "wrong"),
    [(20.001, 9.999, 1), (20, 9.999, 0), (20.001, 10, 0), (19, 5, 0)],
    ids=["old", "begun with the receipt", "made when it was issued", "before the receipt"],
)
def test_only_what_began_after_the_receipt_and_was_made_before_it_was_issued_is_old(
    started: float, produced: float, wrong: int
) -> None:
    assert freshness([request(1, started, produced)], invalidation("/a")).wrong == wrong


def test_another_host_and_an_incomplete_receipt_promise_nothing() -> None:
    requests = [request(1, 30, 5, host="d2.cdn.localhost"), request(2, 30, 5)]
    assert freshness(requests, invalidation("/a", completed=None)).outcome is Outcome.UNKNOWN
    assert freshness(requests[:1], invalidation("/a")).outcome is Outcome.UNKNOWN


def test_the_last_of_several_receipts_counts_and_the_first_still_does() -> None:
    receipts = [invalidation("/a", 10, 20), invalidation("/*", 30, 40, id="I2"), invalidation("/a", 35, 60, id="I3")]
    requests = [request(1, 25, 9), request(2, 25, 15), request(3, 45, 29), request(4, 45, 31), request(5, 61, 34)]
    assert [each.id for each in freshness(requests, *receipts).findings] == ["load/1", "load/3", "load/5"]


@pytest.mark.parametrize(
    ("fence", "left_out", "strict", "wrong"),
    [("alone", "e1", False, 0), ("alone", "e1", True, 1), ("fenced", "e1", False, 1), ("alone", "e2", False, 1)],
)
def test_who_hears_only_others_that_are_cut_off_is_excused_if_the_receipt_leaves_it_out(
    fence: str, left_out: str, strict: bool, wrong: int
) -> None:
    found = freshness(
        [request(1, 30, 5)],
        invalidation("/a", left_out=left_out),
        strict=strict,
        nodes=[{"node": "e1", "role": "edge", "address": "10.0.0.1"}],
        leases=[{"node": "e1", "at_ns": 8 * S, "state": "expired", "fence": fence}],
    )
    assert found.wrong == wrong


YEAR = 31_536_000.0


@pytest.mark.parametrize(
    ("field", "minimum", "usual", "on_error"),
    [
        ("max-age=10", 0, 10, 10 + YEAR),
        ("max-age=10, s-maxage=20", 0, 20, 20 + YEAR),
        ("max-age=10", 30, 30, 30 + YEAR),
        ("max-age=99999999", 0, YEAR, 2 * YEAR),
        ("max-age=10, stale-while-revalidate=5, stale-if-error=3", 0, 15, 15),
        ("max-age=10, stale-if-error=0", 0, 10, 10),
        ("max-age=10, must-revalidate", 0, 10, 10),
        ("max-age=x", 0, 0, YEAR),
        ("max-age=-1", 0, 0, YEAR),
        ("max-age=3, max-age=9", 0, 3, 3 + YEAR),
        ("no-store, max-age=10", 0, 0, 0),
        ("private", 7, 7, 7 + YEAR),
        ('private="set-cookie, x", max-age=10', 0, 10, 10 + YEAR),
        ("public", 0, 86_400, 86_400 + YEAR),
        (None, 0, 86_400, 86_400 + YEAR),
    ],
)
def test_how_old_an_answer_may_be(field: str | None, minimum: float, usual: float, on_error: float) -> None:
    assert allowed_age(field, Policy(minimum, 86_400, YEAR)) == Allowed(usual, on_error)


def test_only_a_whole_answer_is_for_one_person() -> None:
    assert is_for_one("Private, max-age=3") and is_for_one("no-store")
    assert not is_for_one('private="x"') and not is_for_one(None) and not is_for_one("public")


def stale(age: float, **tables: Rows) -> Judgement:
    rows = {
        "requests": [request(1, 100, 100 - age, cache_control="max-age=10, stale-if-error=20")],
        "fills": [],
        "served": [],
    }
    return staleness(history_of(rows | tables), 0.0, 86_400.0, YEAR)


def test_the_slack_of_staleness_is_what_moments_say() -> None:
    nodes = [
        {"node": "e1", "role": "edge", "address": "10.0.0.1"},
        {"node": "r1", "role": "regional", "address": "10.0.0.2"},
    ]
    carried = [
        {
            "node": "e1",
            "host": "d1.cdn.localhost",
            "path": "/a",
            "tier": "regional",
            "started_ns": 89 * S,
            "ended_ns": 91 * S,
        },
        {
            "node": "e2",
            "host": "d1.cdn.localhost",
            "path": "/a",
            "tier": "regional",
            "started_ns": 80 * S,
            "ended_ns": 99 * S,
        },
    ]
    assert stale(10.5).wrong == 1
    assert stale(10.5, nodes=nodes).wrong == 0  # Age has whole seconds
    assert stale(12.5, nodes=nodes).wrong == 1
    assert stale(12.5, nodes=nodes, fills=carried).wrong == 0  # two seconds on its way to this edge
    assert stale(13.5, nodes=nodes, fills=carried).wrong == 1  # how long another edge's took is nothing to it


def test_only_an_upstream_that_failed_opens_the_window_of_stale_if_error() -> None:
    served = {
        "host": "d1.cdn.localhost",
        "path": "/a",
        "reason": "stale_on_error",
        "started_ns": 100 * S,
        "ended_ns": 101 * S,
    }
    assert stale(25).wrong == 1
    assert stale(25, served=[served]).wrong == 0
    assert stale(31, served=[served]).wrong == 1
    assert stale(25, served=[served | {"started_ns": 90 * S, "ended_ns": 91 * S}]).wrong == 1


def fill(number: int, started: float, ended: float, **values: Any) -> dict[str, Any]:
    return {
        "node": "r1", "request_id": f"q{number}", "tier": "origin", "method": "GET", "key": "k", "index": 3, "started_ns": round(started * S),
        "ended_ns": round(ended * S), "is_shared": True, "must_confirm": False, "received_bytes": 100, "path": "/a",
    } | values  # fmt: skip


@pytest.mark.parametrize(
    ("fills", "wrong"),
    [
        ([fill(1, 0, 2), fill(2, 1, 3)], 1),
        ([fill(1, 0, 2), fill(2, 2, 3)], 0),
        ([fill(1, 0, 2), fill(2, 1, 3, index=4)], 0),
        ([fill(1, 0, 2), fill(2, 1, 3, key="other")], 0),
        ([fill(1, 0, 2), fill(2, 1, 3, node="r2")], 0),
        ([fill(1, 0, 2), fill(2, 1, 3, range="bytes=0-1")], 0),
        ([fill(1, 0, 2, is_shared=False), fill(2, 1, 3)], 0),
        ([fill(1, 0, 2, variant="de"), fill(2, 1, 3, variant="en")], 0),
        ([fill(1, 0, 2, variant="de"), fill(2, 1, 3, variant="de")], 1),
        ([fill(1, 0, 9), fill(2, 4.9, 6)], 1),
        ([fill(1, 0, 9), fill(2, 5, 6), fill(3, 5.1, 8), fill(4, 5.2, 7)], 0),
        ([fill(1, 0, 6), fill(2, 5, 8), fill(3, 6.5, 7)], 0),
        ([fill(1, 0, 20, head_ns=1 * S), *[fill(number, 4 + number, 15) for number in (2, 3, 4)]], 3),
        ([fill(1, 0, 20, head_ns=6 * S), *[fill(number, 4 + number, 15) for number in (2, 3, 4)]], 0),
        ([fill(1, 0, 4, received_bytes=2 << 20), fill(2, 1, 3), fill(3, 1.5, 2.5)], 1),
        ([fill(0, 0, 1, is_shared=False), fill(1, 5, 8), fill(2, 6, 7)], 0),
        ([fill(0, 0, 1, is_shared=False), fill(1, 12, 15), fill(2, 13, 14)], 1),
        ([fill(1, 0, 2, received_bytes=1 << 21), fill(2, 1, 3)], 0),
        ([fill(1, 0, 4), fill(2, 1, 2), fill(3, 3, 5)], 2),
    ],
)
def test_what_counts_as_a_second_fetch(fills: Rows, wrong: int) -> None:
    assert collapse(history_of({"fills": fills}), 5.0, 10.0, 1 << 20).wrong == wrong


@pytest.mark.parametrize(("confirming", "wrong"), [((), 2), ((2,), 1), ((1,), 1), ((2, 3), 0), ((1, 2, 3), 0)], ids=str)
def test_what_must_be_confirmed_is_fetched_anew_and_is_nobody_elses(confirming: tuple[int, ...], wrong: int) -> None:
    """The third one could have joined the first, whatever the second does."""
    fills = [fill(1, 1, 4), fill(2, 2, 4), fill(3, 2.5, 4)]
    tables: dict[str, Rows] = {
        "fills": [each | {"must_confirm": number in confirming} for number, each in enumerate(fills, 1)]
    }
    assert collapse(history_of(tables), 5.0, 10.0, 1 << 20).wrong == wrong


@pytest.mark.parametrize(("role", "wrong"), [("edge", 1), ("dns_router", 0)])
def test_only_who_stores_responses_must_remember_every_invalidation(role: str, wrong: int) -> None:
    applied = [
        {"node": "n1", "at_ns": 1 * S, "log_id": "L", "index": 4, "how": "entry"},
        {"node": "n1", "at_ns": 9 * S, "log_id": "L", "index": 3, "how": "disk"},
    ]
    acknowledgements = [{"node": "n1", "invalidation_id": "I1", "state": "acknowledged", "at_ns": 2 * S}]
    tables: dict[str, Rows] = {
        "applied": applied,
        "acknowledgements": acknowledgements,
        "invalidations": [{"id": "I1", "index": 4}],
        "nodes": [{"node": "n1", "role": role}],
    }
    assert configuration_monotonic(history_of(tables)).wrong == wrong


KILL = {
    "id": "F1",
    "fault": "kill",
    "place": "e1",
    "began_ns": 10 * S,
    "injected_ns": 11 * S,
    "healing_ns": 30 * S,
    "healed_ns": 31 * S,
}
EDGE = {"node": "e1", "role": "edge", "address": "10.0.0.1", "region": "eu"}


def test_an_error_is_excused_only_at_the_edge_that_died_and_in_that_moment() -> None:
    requests = [
        request(1, 10.5, error="reset"),
        request(2, 12.5, error="reset"),
        request(3, 13.5, error="refused"),
        request(4, 10.5, error="reset", address="10.0.0.2"),
        request(5, 5, status=503),
        request(6, 5, status=404),
        request(7, 5, error="reset", profile="probe"),
    ]
    found = errors(history_of({"requests": requests, "faults": [KILL], "nodes": [EDGE]}), 0, "all", 0.0, 2.0)
    assert sorted(each.id or "" for each in found.findings) == ["load/3", "load/4", "load/5"]
    assert errors(history_of({"requests": requests, "faults": [KILL], "nodes": [EDGE]}), 3, "all", 0.0, 2.0).wrong == 0


@pytest.mark.parametrize(
    ("changed", "is_excused"),
    [
        ({}, True),
        ({"path": "/other"}, False),
        ({"node": "e2"}, False),
        ({"upstream": "10.0.0.8:8080"}, False),
        ({"error": None}, False),
        ({"head_ns": None}, False),  # the edge could have asked another one
        ({"started_ns": 11.5 * S}, False),
        ({"ended_ns": 9 * S}, False),
    ],
)
def test_a_body_on_its_way_from_a_cache_that_is_killed_is_excused(changed: dict[str, object], is_excused: bool) -> None:
    regional = {"node": "r1", "role": "regional", "address": "10.0.0.9", "region": "eu"}
    asked = request(1, 10.5, error="cut", first_byte_ns=10.2 * S)
    fill = {
        "node": "e1",
        "path": asked["path"],
        "upstream": "10.0.0.9:8080",
        "started_ns": 10 * S,
        "head_ns": 10.1 * S,
        "ended_ns": 11 * S,
        "error": "truncated",
    }
    tables = {
        "requests": [asked],
        "faults": [KILL | {"place": "r1"}],
        "nodes": [EDGE, regional],
        "fills": [fill | changed],
    }
    assert errors(history_of(tables), 0, "all", 0.0, 2.0).wrong == (0 if is_excused else 1)


@pytest.mark.parametrize(("when", "total"), [("all", 4), ("outside_of_faults", 2), ("inside_of_faults", 2)])
def test_a_request_is_inside_of_a_fault_when_any_of_it_is(when: str, total: int) -> None:
    requests = [request(1, 9), request(2, 9.95), request(3, 30), request(4, 31.1)]
    found = availability(history_of({"requests": requests, "faults": [KILL]}), 0.9, "*", when, 0.0)
    assert (found.judged, found.outcome) == (total, Outcome.VALID)


WRITE = {"kind": "object", "subject": "/bucket/a", "node": "o1", "version": "v2", "asked_ns": 10 * S, "confirmed_ns": 11 * S}  # fmt: skip
LATER = {"node": "o1", "request_id": "q1", "method": "GET", "path": "/bucket/a?x=1", "status": 200, "version": "v2", "started_ns": 15 * S}  # fmt: skip
NONE = {"status": 404, "version": None}


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        ({}, 0),
        ({"version": "v1"}, 1),
        (NONE, 1),
        (NONE | {"status": 410}, 1),
        (NONE | {"node": "o2"}, 0),
        (NONE | {"started_ns": 10 * S}, 0),
        (NONE | {"status": 503}, 0),
        (NONE | {"method": "DELETE"}, 0),
        (NONE | {"path": "/bucket/b"}, 0),
    ],
)
def test_an_object_that_was_confirmed_is_lost_where_its_origin_has_another_version_or_none(
    answer: dict[str, Any], lost: int
) -> None:
    assert durability(history_of({"writes": [WRITE], "origin_requests": [LATER | answer]})).wrong == lost


@pytest.mark.parametrize(("process", "lost"), [("first", 1), ("second", 0)])
def test_what_an_origin_forgets_with_its_process_is_no_loss(process: str, lost: int) -> None:
    lives = [
        {"node": "o1", "process": "first", "started_ns": 1 * S},
        {"node": "o1", "process": process, "started_ns": 12 * S},
        {"node": "o2", "process": "other", "started_ns": 12 * S},
    ]
    tables: dict[str, Rows] = {"writes": [WRITE], "origin_requests": [LATER | NONE], "lives": lives}
    assert durability(history_of(tables)).wrong == lost


def test_a_write_that_nobody_confirmed_may_have_been_done() -> None:
    unconfirmed = WRITE | {"version": None, "asked_ns": 14 * S, "confirmed_ns": None}
    answers = [LATER | {"version": "v3", "started_ns": 15 * S}]
    assert durability(history_of({"writes": [WRITE, unconfirmed], "origin_requests": answers})).wrong == 0


def test_who_never_got_a_byte_waited_until_the_end() -> None:
    slow = [
        request(number, number, ended_ns=(number + 30) * S, first_byte_ns=None, error="timeout") for number in (2, 3)
    ]
    quick = [request(1, 1, first_byte_ns=round(1.01 * S))]
    limits = {"p95": 500.0}
    assert (
        latency(history_of({"requests": [*quick, *slow]}), limits, "*", "all", "first_byte").outcome is Outcome.INVALID
    )


@pytest.mark.parametrize(("asked", "wrong"), [(20, 1), (26.5, 1), (27.5, 0)])
def test_who_hangs_until_a_fault_is_undone_was_not_well(asked: float, wrong: int) -> None:
    """Unless it had only just asked: that may be the end's doing."""
    requests = [request(1, asked, ended_ns=31 * S, error="timeout"), request(2, 15)]
    assert recovery(history_of({"requests": requests, "faults": [KILL]}), 3.0, "injection", 1.0).wrong == wrong


@pytest.mark.parametrize(("log", "wrong"), [("L", 1), ("M", 0)])
def test_what_was_acknowledged_of_another_log_is_not_forgotten(log: str, wrong: int) -> None:
    """Of a control plane that was restored from a backup meanwhile."""
    tables: dict[str, Rows] = {
        "applied": [
            {"node": "n1", "at_ns": 1 * S, "log_id": "L", "index": 50, "how": "entry"},
            {"node": "n1", "at_ns": 5 * S, "log_id": log, "index": 3, "how": "snapshot"},
            {"node": "n1", "at_ns": 9 * S, "log_id": log, "index": 3, "how": "disk"},
        ],
        "acknowledgements": [{"node": "n1", "invalidation_id": "I1", "state": "acknowledged", "at_ns": 2 * S}],
        "invalidations": [{"id": "I1", "index": 50}],
        "nodes": [{"node": "n1", "role": "edge"}],
    }
    sentences = [each.sentence for each in configuration_monotonic(history_of(tables)).findings]
    assert sum("had acknowledged" in each for each in sentences) == wrong


@pytest.mark.parametrize("field", ['private="x", private', "max-age=5, PRIVATE", "no-store"])
def test_what_is_for_one_is_so_however_often_it_is_said(field: str) -> None:
    assert is_for_one(field) and not is_for_one('private="x", max-age=5')


def test_what_was_written_again_is_not_asked_for_as_before() -> None:
    again = WRITE | {"version": "v3", "asked_ns": 14 * S, "confirmed_ns": 16 * S}
    answers = [LATER | {"version": "v3"}, LATER | {"version": "v2", "started_ns": 17 * S}]
    assert durability(history_of({"writes": [WRITE, again], "origin_requests": answers})).wrong == 1


def test_each_region_has_its_own_objective() -> None:
    requests = [request(number, number) for number in range(90)] + [request(99, 1, region="us", error="refused")]
    history = history_of({"requests": requests})
    assert availability(history, 0.9, "*", "all", 0.0).outcome is Outcome.INVALID
    assert availability(history, 0.9, ("eu",), "all", 0.0).outcome is Outcome.VALID
    assert availability(history, 0.9, ("eu", "moon"), "all", 0.0).outcome is Outcome.UNKNOWN


def named(asked: float, addresses: str) -> dict[str, Any]:
    return {
        "router": "ro",
        "region": "eu",
        "asked_ns": round(asked * S),
        "answered_ns": round(asked * S) + 1000,
        "addresses": addresses,
    }


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([named(5, "10.0.0.1"), named(18, "10.0.0.1"), named(20, "10.0.0.2")], Outcome.VALID),
        ([named(5, "10.0.0.1"), named(19.5, "10.0.0.1")], Outcome.INVALID),
        ([named(5, "10.0.0.1"), named(18, "10.0.0.2")], Outcome.UNKNOWN),
        ([named(5, "10.0.0.2"), named(20, "10.0.0.2")], Outcome.UNKNOWN),
        ([named(5, "10.0.0.1"), named(20, "10.0.0.11")], Outcome.VALID),
        ([named(5, "10.0.0.1"), named(29.9999999, "10.0.0.1"), named(20, "10.0.0.2")], Outcome.VALID),
    ],
    ids=["in time", "too late", "not watched", "never named", "a longer address", "across the end"],
)
def test_a_dead_edge_is_named_for_its_lease_and_no_longer(answers: Rows, outcome: Outcome) -> None:
    history = history_of({"dns_answers": answers, "faults": [KILL], "nodes": [EDGE]})
    assert departure(history, 5.0, 3.0).outcome is outcome


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([named(5, "10.0.0.1"), named(20, "10.0.0.2"), named(32, "10.0.0.1")], Outcome.INVALID),
        ([named(5, "10.0.0.1"), named(20, "10.0.0.2"), named(41, "10.0.0.1")], Outcome.VALID),
        ([named(5, "10.0.0.1"), named(20, "10.0.0.1"), named(32, "10.0.0.1")], Outcome.UNKNOWN),
        (
            [named(5, "10.0.0.1"), named(10.2, "10.0.0.2"), named(10.8, "10.0.0.1"), named(32, "10.0.0.1")],
            Outcome.UNKNOWN,
        ),
    ],
    ids=["before it has caught up", "afterwards", "it was not left out", "it was left out before it was dead"],
)
def test_an_edge_has_returned_when_it_was_left_out(answers: Rows, outcome: Outcome) -> None:
    applied = [
        {"node": "e1", "at_ns": 5 * S, "log_id": "L", "index": 4, "how": "entry"},
        {"node": "e2", "at_ns": 20 * S, "log_id": "L", "index": 5, "how": "entry"},
        {"node": "e1", "at_ns": 40 * S, "log_id": "L", "index": 5, "how": "entry"},
    ]
    history = history_of({"dns_answers": answers, "faults": [KILL], "nodes": [EDGE], "applied": applied})
    assert returning(history, 60.0).outcome is outcome


def test_a_viewer_that_was_told_a_dead_edge_is_evidence_as_well() -> None:
    requests = [request(1, 25, dns_answer="10.0.0.2,10.0.0.1", dns_asked_ns=24 * S)]
    answers = [named(5, "10.0.0.1"), named(20, "10.0.0.2")]
    history = history_of({"dns_answers": answers, "requests": requests, "faults": [KILL], "nodes": [EDGE]})
    assert [each.id for each in departure(history, 5.0, 3.0).findings] == ["load/1"]


def test_a_death_while_the_control_plane_has_a_fault_is_not_judged() -> None:
    faults = [KILL, KILL | {"id": "F2", "place": "cp", "fault": "control-plane-deaf"}]
    nodes = [EDGE, {"node": "cp", "role": "control_plane"}]
    history = history_of(
        {"dns_answers": [named(5, "10.0.0.1"), named(25, "10.0.0.1")], "faults": faults, "nodes": nodes}
    )
    assert departure(history, 5.0, 3.0).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("failed", "after", "outcome"),
    [
        (13.9, "injection", Outcome.VALID),
        (14.1, "injection", Outcome.INVALID),
        (29.95, "injection", Outcome.VALID),
        (33.9, "heal", Outcome.VALID),
        (34.1, "heal", Outcome.INVALID),
    ],
)
def test_viewers_are_well_from_the_bound_on(failed: float, after: str, outcome: Outcome) -> None:
    requests = [request(1, failed, error="refused"), request(2, 20), request(3, 40)]
    assert recovery(history_of({"requests": requests, "faults": [KILL]}), 3.0, after, 1.0).outcome is outcome


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("bodies", "checkers are a list of names, or of names with their parameters"),
        (["bodeis"], "no checker 'bodeis'"),
        ([{"availability": {"at_least": 1.5}}], "availability: at_least: 1.5 is not a share from 0 to 1"),
        ([{"availability": {"at_least": True}}], "availability: at_least: True is not a share"),
        ([{"availability": {"atleast": 1}}], "availability: no parameter 'atleast': at_least, region"),
        ([{"availability": {"region": []}}], "availability: region: [] is not a list of names"),
        ([{"availability": 3}], "availability: its parameters are names with values, not 3"),
        ([{"availability": {"outside_of_faults": True, "inside_of_faults": True}}], "give neither"),
        ([{"recovery": {"within_seconds": "soon"}}], "recovery: within_seconds: 'soon' is not a duration"),
        ([{"recovery": {"after": "x"}}], "recovery: after: 'x' is not injection, heal"),
        (["latency"], "latency: wants a limit: p50_ms"),
        (["hit_ratio"], "hit_ratio: wants at_least or of_before"),
        (["bodies", "bodies"], "two checks are named bodies"),
        ([{"bodies": {"as": 3}}], "bodies: as: 3 is no name"),
    ],
)
def test_a_wrong_choice_says_what_is_wrong(wanted: object, problem: str) -> None:
    _, problems = choose(wanted)
    assert any(problem in each for each in problems), problems


def test_every_checker_with_its_witnesses_and_parameters_is_documented() -> None:
    lines = (Path(__file__).parents[4] / "docs" / "checkers.md").read_text().splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    assert set(rows) == set(CHECKERS)
    for name, checker in CHECKERS.items():
        _, _, _, witnesses, parameters, _ = rows[name].split("|")
        assert re.findall(r"`(\w+)`", witnesses) == list(checker.witnesses)
        assert [each.name for each in checker.parameters if f"`{each.name}`" not in parameters] == []


def test_a_choice_has_all_parameters_and_may_have_a_name_of_its_own() -> None:
    chosen, problems = choose(
        ["bodies", {"recovery": {"within_seconds": "1m30s", "as": "soon", "at_least": 1}}, {"recovery": None}]
    )
    assert problems == ()
    assert [(each.name, each.checker) for each in chosen] == [
        ("bodies", "bodies"),
        ("soon", "recovery"),
        ("recovery", "recovery"),
    ]
    assert chosen[1].values == {"within_seconds": 90.0, "after": "injection", "at_least": 1.0}
    assert len(choose([{"bodeis": {}}, {"latency": {"p50_ms": "x"}}, "hit_ratio"])[1]) == 4  # all at once


@pytest.mark.parametrize(
    ("paths", "at_least", "outcome"),
    [
        ("*", 0.5, Outcome.VALID),
        ("*", 0.6, Outcome.INVALID),
        (("/pages/*",), 1.0, Outcome.VALID),
        (("/api/*", "/none"), 0.1, Outcome.INVALID),
        (("/api/*", "/pages/1.html"), 0.33, Outcome.VALID),
        (("/pages/1xhtml",), 0.0, Outcome.UNKNOWN),
    ],
)
def test_a_hit_ratio_is_of_the_paths_that_are_asked_about(
    paths: str | tuple[str, ...], at_least: float, outcome: Outcome
) -> None:
    served = [
        {"node": "edge-1", "path": path, "result": result, "reason": "", "started_ns": 1}
        for path, result in (("/pages/1.html", "hit"), ("/pages/2.html?a=/api/", "hit"), ("/api/1", "miss"), ("/api/2", "miss"))
    ]  # fmt: skip
    history = history_of({"served": served, "nodes": [{"node": "edge-1", "role": "edge"}]})
    assert hit_ratio(history, at_least, None, "edge", 0.0, paths).outcome is outcome


@pytest.mark.parametrize(
    ("allowed", "region", "wrong"),
    [
        (("200",), "*", 3),
        (("200", "502"), "*", 2),
        (("200", "502", "none", "404"), "*", 0),
        (("200",), ("eu",), 2),
        ("*", "*", 0),
    ],
)
def test_statuses_are_those_that_are_allowed(
    allowed: str | tuple[str, ...], region: str | tuple[str, ...], wrong: int
) -> None:
    given = [(200, "eu"), (502, "eu"), (404, "us"), (None, "eu")]
    rows = [request(n, n, status=status, region=region) for n, (status, region) in enumerate(given)]
    probe = request(9, 9, status=500, profile="probe")
    found = statuses(history_of({"requests": [*rows, probe]}), allowed, region, "all", 0.0)
    assert (found.wrong, len(found.findings)) == (wrong, wrong)
