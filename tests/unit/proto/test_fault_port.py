"""What `/faults` answers, and that whoever cares is told when a fault begins and when it is over, also by its lease alone."""

import asyncio
import json
from typing import Any

import pytest

from proto.fault_port import FaultPort
from proto.injected_faults import FaultKind, FaultParameter, ValueKind

KINDS = (FaultKind("lose", (FaultParameter("probability", ValueKind.NUMBER, 0, 1, 1.0),)), FaultKind("lie"))


class Clock:
    """Stands still until somebody sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def posted(port: FaultPort, kind: str = "lose", lease_seconds: float = 30.0) -> dict[str, Any]:
    told = port.answer("POST", "/faults", json.dumps({"kind": kind, "lease_seconds": lease_seconds}).encode())
    assert told is not None and told[0] == 201
    document: dict[str, Any] = json.loads(told[2])
    return document


def status_of(port: FaultPort, method: str, path: str, body: bytes = b"") -> int | None:
    told = port.answer(method, path, body)
    return None if told is None else told[0]


def listed(port: FaultPort) -> list[str]:
    told = port.answer("GET", "/faults", b"")
    assert told is not None and told[0] == 200
    return [fault["id"] for fault in json.loads(told[2])["faults"]]


async def test_a_fault_is_posted_listed_and_deleted() -> None:
    port = FaultPort(KINDS, Clock())
    fault = posted(port)
    assert (fault["kind"], fault["parameters"], fault["times"]) == ("lose", {"probability": 1.0}, 0)
    assert listed(port) == [fault["id"]] and port.in_force("lose") is not None and port.in_force("lie") is None
    assert status_of(port, "DELETE", f"/faults/{fault['id']}") == 200
    assert status_of(port, "DELETE", f"/faults/{fault['id']}") == 404
    assert listed(port) == [] and port.in_force("lose") is None
    assert posted(port)["id"] != fault["id"], "an id is never used again, also by the next process"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/faults", b"{", 400),
        ("POST", "/faults", b"[" * 100_000, 400),
        ("POST", "/faults", b'{"kind": "other", "lease_seconds": 1}', 400),
        ("PUT", "/faults", b"", 405),
        ("DELETE", "/faults", b"", 405),
        ("POST", "/faults/f-1", b"", 405),
        ("GET", "/faultsy", b"", None),
        ("GET", "/status", b"", None),
    ],
)
async def test_what_is_no_fault(method: str, path: str, body: bytes, status: int | None) -> None:
    assert status_of(FaultPort(KINDS, Clock()), method, path, body) == status


async def test_a_second_one_of_a_kind_is_refused() -> None:
    port = FaultPort(KINDS, Clock())
    posted(port)
    assert status_of(port, "POST", "/faults", b'{"kind": "lose", "lease_seconds": 1}') == 409


async def test_listeners_are_told_of_both_ends() -> None:
    port, told = FaultPort(KINDS, Clock()), list[bool]()
    port.when_changed("lose", lambda: told.append(port.in_force("lose") is not None))
    fault = posted(port)
    posted(port, "lie")
    port.answer("DELETE", f"/faults/{fault['id']}", b"")
    assert told == [True, False]


async def test_a_lease_ends_although_nobody_asks() -> None:
    port, over = FaultPort(KINDS), asyncio.Event()
    posted(port, "lose", 30.0)
    port.when_changed("lie", lambda: None if port.in_force("lie") else over.set())
    posted(port, "lie", 0.02)
    async with asyncio.timeout(10):
        await over.wait()
    assert len(listed(port)) == 1


async def test_a_timer_that_comes_early_waits_on() -> None:
    """It runs by another clock than the leases do."""
    clock, told = Clock(), list[float]()
    port = FaultPort(KINDS, clock)
    posted(port, "lose", 0.001)
    port.when_changed("lose", lambda: told.append(clock.now))
    await asyncio.sleep(0.01)
    assert told == []
    clock.now = 200.0
    async with asyncio.timeout(10):
        while not told:
            await asyncio.sleep(0.001)
    assert told == [200.0] and listed(port) == []
