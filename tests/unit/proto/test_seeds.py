"""One seed for a lab: who draws what from it, that it repeats, that others draw something else, and that nobody disturbs anybody."""

import argparse
import json
import os
import subprocess
import sys

import pytest

from origin.behaviors import parse_behavior
from origin.node import Clocks, OriginNode
from proto.fault_port import FaultPort
from proto.injected_faults import FaultKind, FaultParameter, InjectedFault, ValueKind
from proto.seeds import MOST_SEED, derived, parse_seed, rng_of
from tests.origin_builders import a_get

CHANCE = FaultParameter("probability", ValueKind.NUMBER, 0, 1, 1.0)
KINDS = (FaultKind("lose", (CHANCE,)), FaultKind("repeat", (CHANCE,)))


def test_what_is_derived_is_the_same_in_every_process() -> None:
    """Python's own hash is another one in each."""
    program = "from proto.seeds import derived; print(derived(7, 'edge-1', 'lose', 1))"
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    said = {subprocess.check_output([sys.executable, "-c", program], env=environment, timeout=30) for _ in range(2)}
    assert said == {f"{derived(7, 'edge-1', 'lose', 1)}\n".encode()}
    assert derived(7, "edge-1", "lose", 1) == 1253623540121797707


def test_every_name_has_another_seed() -> None:
    found = [derived(7, *names) for names in ((), ("a",), ("b",), ("a", "b"), ("a", 1), ("a", 2))] + [derived(8, "a")]
    assert len(set(found)) == len(found) and all(0 <= each < 1 << 63 for each in found)


def test_without_a_seed_it_is_chance() -> None:
    assert rng_of(None, "a").random() != rng_of(None, "a").random()


@pytest.mark.parametrize("text", ["", "-1", "x", "1.5", str(MOST_SEED + 1), "9" * 100, "\u0661"])
def test_what_is_no_seed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no seed"):
        parse_seed(text)
    assert (parse_seed("0"), parse_seed(str(MOST_SEED))) == (0, MOST_SEED)


# Faults


def begun(port: FaultPort, kind: str) -> InjectedFault:
    document = {"kind": kind, "parameters": {"probability": 0.5}, "lease_seconds": 30}
    told = port.answer("POST", "/faults", json.dumps(document).encode())
    fault = port.in_force(kind)
    assert told is not None and told[0] == 201 and fault is not None
    return fault


def ended(port: FaultPort, fault: InjectedFault) -> None:
    assert port.answer("DELETE", f"/faults/{fault.id}", b"") is not None


def thrown(fault: InjectedFault, times: int = 20) -> list[float]:
    return [fault.dice() for _ in range(times)]


async def test_a_fault_throws_the_same_whatever_others_throw() -> None:
    alone, beside = FaultPort(KINDS, seed=7), FaultPort(KINDS, seed=7)
    expected = thrown(begun(alone, "lose"))
    other, lose = begun(beside, "repeat"), begun(beside, "lose")
    assert [(other.dice(), lose.dice())[1] for _ in range(20)] == expected
    assert thrown(begun(FaultPort(KINDS, seed=8), "lose")) != expected


async def test_the_second_fault_of_a_kind_is_another_one_and_repeats_too() -> None:
    def second(port: FaultPort) -> list[list[float]]:
        first = begun(port, "lose")
        both = [thrown(first)]
        ended(port, first)
        return [*both, thrown(begun(port, "lose"))]

    one, again = second(FaultPort(KINDS, seed=7)), second(FaultPort(KINDS, seed=7))
    assert one == again and one[0] != one[1]


async def test_faults_without_a_seed_are_chance() -> None:
    assert thrown(begun(FaultPort(KINDS), "lose")) != thrown(begun(FaultPort(KINDS), "lose"))


# Origins


def statuses(node_id: str, seed: int | None) -> list[int]:
    """Of a hundred requests to an origin that fails every other time."""
    node = OriginNode(node_id, Clocks(lambda: 1_000.0, lambda: 1_000.0), seed=seed)
    behavior = {"path_prefix": "/echo/", "status": 503, "probability": 0.5}
    node.behaviors.add(parse_behavior(behavior), 1_000.0)
    return [node.decide(a_get("/echo/x")).response.status for _ in range(100)]


def test_behaviors_of_an_origin_repeat() -> None:
    seven = statuses("origin-1", 7)
    assert seven == statuses("origin-1", 7) and 30 < seven.count(503) < 70
    assert statuses("origin-2", 7) != seven, "each origin has its own"
    assert statuses("origin-1", 8) != seven
    assert statuses("origin-1", None) != statuses("origin-1", None)
