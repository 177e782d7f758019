"""Faults of the management API: how its process hears of them, when they end there, and what a client is answered."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from control_plane.api_faults import ApiFaults, encode
from control_plane.aws_api.faulty import suffering
from control_plane.injected_faults import API_DELAY, API_ERROR, API_KINDS, API_THROTTLE
from proto.injected_faults import InjectedFault
from tests.fault_builders import Faults, StoodClock


def told(*faults: InjectedFault) -> ApiFaults:
    known = ApiFaults()
    known.told(encode(faults))
    return known


def a_fault(kind: str, ends_at: float = 1_030.0, **parameters: float) -> InjectedFault:
    return InjectedFault("f-1", kind, parameters, 30.0, ends_at)


class Client:
    """Asks an application."""

    def __init__(self, faults: ApiFaults, clock: Callable[[], float]) -> None:
        self.suffered: list[str] = []
        self._application = suffering(PlainTextResponse("fine"), faults, self.suffered.append, clock=clock)

    async def ask(self) -> tuple[int, bytes]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._application({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
        return sent[0]["status"], b"".join(each.get("body", b"") for each in sent)


def code_of(body: bytes) -> str | None:
    return ET.fromstring(body).findtext(".//{*}Code")


def test_all_that_are_in_force_replace_those_before() -> None:
    known = told(a_fault(API_ERROR, probability=1), a_fault(API_DELAY, by=2, probability=0.5))
    delay = known.in_force(API_DELAY, 1_000.0)
    assert delay is not None and delay.parameters == {"by": 2, "probability": 0.5}
    known.told(encode([a_fault(API_THROTTLE, probability=1)]))
    assert known.in_force(API_DELAY, 1_000.0) is None and known.in_force(API_THROTTLE, 1_000.0) is not None
    known.told(encode([]))
    assert known.in_force(API_THROTTLE, 1_000.0) is None


def test_each_ends_by_its_own_lease_although_nobody_says_so() -> None:
    known = told(a_fault(API_ERROR, ends_at=1_030.0))
    assert known.in_force(API_ERROR, 1_029.9) is not None and known.in_force(API_ERROR, 1_030.0) is None


@pytest.mark.parametrize(
    ("kind", "status", "code"), [(API_ERROR, 503, "ServiceUnavailable"), (API_THROTTLE, 400, "Throttling")]
)
async def test_refusals_are_those_that_clients_of_aws_know(kind: str, status: int, code: str) -> None:
    client = Client(told(a_fault(kind, probability=1)), StoodClock())
    answered, body = await client.ask()
    assert (answered, code_of(body)) == (status, code) and client.suffered == [kind]


async def test_only_some_are_refused() -> None:
    client = Client(told(a_fault(API_ERROR, probability=0.3)), StoodClock())
    statuses = [(await client.ask())[0] for _ in range(200)]
    assert 30 <= statuses.count(503) <= 90 and statuses.count(200) == 200 - statuses.count(503)
    assert len(client.suffered) == statuses.count(503)


async def test_an_answer_that_is_late_is_the_same() -> None:
    client = Client(told(a_fault(API_DELAY, by=0.05, probability=1)), StoodClock())
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    assert await client.ask() == (200, b"fine")
    assert loop.time() - began_at >= 0.049, "a timer may ring a millisecond early"


async def test_what_the_port_takes_is_what_the_api_understands() -> None:
    faults = Faults(API_KINDS)
    for kind in API_KINDS:
        faults.begin(kind.name, **({"by": 1} if kind.name == "clock-offset" else {}))
    known = ApiFaults()
    known.told(encode(filter(None, (faults.port.in_force(kind.name) for kind in API_KINDS))))
    assert all(known.in_force(kind.name, faults.clock()) is not None for kind in API_KINDS)
