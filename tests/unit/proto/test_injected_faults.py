"""The table of faults of a program: what may be asked for, what is in force, and until when."""

import pytest

from proto.injected_faults import (
    MOST_AT_ONCE,
    FaultCollisionError,
    FaultKind,
    FaultParameter,
    InjectedFaults,
    UnusableFaultError,
    ValueKind,
)

KINDS = (
    FaultKind(
        "lose",
        (
            FaultParameter("probability", ValueKind.NUMBER, 0, 1, 1.0),
            FaultParameter("count", ValueKind.INTEGER, 0, 100, 0),
        ),
    ),
    FaultKind(
        "lie", (FaultParameter("address", ValueKind.ADDRESS), FaultParameter("why", ValueKind.TEXT, default="x"))
    ),
    *(FaultKind(f"k-{number}") for number in range(MOST_AT_ONCE)),
)


def table() -> InjectedFaults:
    return InjectedFaults(KINDS)


def test_a_fault_is_in_force_until_its_lease_is_over() -> None:
    faults = table()
    fault = faults.inject({"kind": "lose", "lease_seconds": 30}, "f-1", 100.0)
    assert fault.parameters == {"probability": 1.0, "count": 0} and faults.in_force("lose", 129.999) is fault
    assert faults.in_force("lie", 100.0) is None
    assert faults.in_force("lose", 130.0) is None and faults.all_in_force(130.0) == []
    assert faults.ended(130.0) == [fault] and faults.ended(130.0) == []


def test_a_fault_can_be_ended_early_and_once() -> None:
    faults = table()
    fault = faults.inject({"kind": "lose", "lease_seconds": 30}, "f-1", 100.0)
    assert faults.end("f-2", 101.0) is None
    assert faults.end("f-1", 101.0) is fault and faults.in_force("lose", 101.0) is None
    assert faults.end("f-1", 101.0) is None


def test_one_whose_lease_has_ended_cannot_be_ended() -> None:
    faults = table()
    faults.inject({"kind": "lose", "lease_seconds": 30}, "f-1", 100.0)
    assert faults.end("f-1", 130.0) is None


def test_one_of_a_kind_at_a_time_and_few_in_all() -> None:
    faults = table()
    faults.inject({"kind": "k-0", "lease_seconds": 30}, "f-1", 100.0)
    with pytest.raises(FaultCollisionError, match="k-0 is in force already, as f-1"):
        faults.inject({"kind": "k-0", "lease_seconds": 30}, "f-2", 129.0)
    faults.inject({"kind": "k-0", "lease_seconds": 30}, "f-3", 130.0)
    for number in range(1, MOST_AT_ONCE):
        faults.inject({"kind": f"k-{number}", "lease_seconds": 30}, f"g-{number}", 130.0)
    with pytest.raises(FaultCollisionError, match=f"{MOST_AT_ONCE} faults at once are the most"):
        faults.inject({"kind": "lose", "lease_seconds": 30}, "f-4", 130.0)


def test_a_listing_says_how_long_it_goes_on_and_what_it_has_done() -> None:
    faults = table()
    fault = faults.inject({"kind": "lie", "parameters": {"address": "::1"}, "lease_seconds": 2.5}, "f-1", 10.0)
    fault.times += 1
    assert fault.to_json(11.0) == {
        "id": "f-1",
        "kind": "lie",
        "parameters": {"address": "::1", "why": "x"},
        "lease_seconds": 2.5,
        "lease_remaining_seconds": 1.5,
        "ends_monotonic_ns": 12_500_000_000,
        "times": 1,
    }


@pytest.mark.parametrize(
    ("document", "problems"),
    [
        ([], ["a fault is a JSON object"]),
        ({}, ["lease_seconds must be a number from 0.001 to 3600", "kind must be one of lose, lie, k-0"]),
        ({"kind": "none", "lease_seconds": 1, "more": 1}, ["unknown member 'more'", "kind must be one of"]),
        ({"kind": "lose", "lease_seconds": 0}, ["lease_seconds must be"]),
        ({"kind": "lose", "lease_seconds": 3600.1}, ["lease_seconds must be"]),
        ({"kind": "lose", "lease_seconds": float("nan")}, ["lease_seconds must be"]),
        ({"kind": "lose", "lease_seconds": True}, ["lease_seconds must be"]),
        ({"kind": "lose", "lease_seconds": 1, "parameters": []}, ["parameters must be an object"]),
        (
            {"kind": "lose", "lease_seconds": -1, "parameters": {"probability": 2, "count": 1.5, "x": 1}},
            [
                "lease_seconds must be",
                "lose has no parameter 'x': there are probability, count",
                "probability must be a number from 0 to 1",
                "count must be a whole number from 0 to 100",
            ],
        ),
        ({"kind": "lie", "lease_seconds": 1}, ["address has to be given"]),
        (
            {"kind": "lie", "lease_seconds": 1, "parameters": {"address": "here", "why": "a\nb"}},
            ["address must be an address of IPv4 or IPv6", "why must be a printable text of 1 to 500 characters"],
        ),
        ({"kind": "lie", "lease_seconds": 1, "parameters": {"address": 5}}, ["address must be an address"]),
        ({"kind": "k-1", "lease_seconds": 1, "parameters": {"a": 1}}, ["k-1 has no parameter 'a': there are none"]),
    ],
)
def test_everything_that_is_wrong_is_told_at_once(document: object, problems: list[str]) -> None:
    faults = table()
    with pytest.raises(UnusableFaultError) as caught:
        faults.inject(document, "f-1", 0.0)
    told = str(caught.value).split("; ")
    assert len(told) == len(problems)
    assert all(part.startswith(problem) for part, problem in zip(told, problems, strict=True))
    assert faults.all_in_force(0.0) == []
