"""A router with faults answers as one without until one is injected, and a router that allows none has no class of them."""

import json
import random
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from dns_router.applier import RouterApplier
from dns_router.counters import Counters
from dns_router.injected_faults import KINDS, DelayedDatagrams, FaultyResponder, open_applier
from dns_router.model import Outcome, Reason
from dns_router.responder import Responder
from proto.fault_port import FaultPort
from proto.state_files import StateFiles
from tests.router_builders import TWO_EDGES_EACH, directory_message, distribution, snapshot

NAME = "d1.cdn.localhost"


class Router:
    """What is behind the sockets of a router, with faults."""

    def __init__(self, folder: Path) -> None:
        self.counters, self.port = Counters(), FaultPort(KINDS)
        self.responder = FaultyResponder(self.counters, random.Random(1), self.port)
        applier = open_applier(StateFiles(folder), self.responder, self.counters, {}, self.port)
        applier.apply_snapshot(snapshot(distribution()))
        applier.apply_directory(directory_message(*TWO_EDGES_EACH))

    def suffers(self, kind: str, **parameters: object) -> None:
        document = {"kind": kind, "parameters": parameters, "lease_seconds": 60}
        told = self.port.answer("POST", "/faults", json.dumps(document).encode())
        assert told is not None and told[0] == 201, told

    def answer(self, record_type: str = "A", name: str = NAME) -> dns.message.Message | None:
        wire = self.responder.respond_to_datagram(dns.message.make_query(name, record_type).to_wire(), "10.1.0.1")
        return None if wire is None else dns.message.from_wire(wire)

    def addresses(self, record_type: str = "A") -> set[str]:
        told = self.answer(record_type)
        assert told is not None and told.rcode() == dns.rcode.NOERROR
        return {record.address for records in told.answer for record in records}


@pytest.fixture
async def router(tmp_path: Path) -> Router:
    return Router(tmp_path)


def test_a_router_without_faults_has_none_of_this(tmp_path: Path) -> None:
    counters = Counters()
    applier = open_applier(StateFiles(tmp_path), Responder(counters, random.Random(1)), counters, {}, None)
    assert type(applier) is RouterApplier


async def test_without_a_fault_in_force_answers_are_as_ever(router: Router) -> None:
    assert router.addresses() == {"127.0.1.1", "127.0.1.2"}


async def test_a_wrong_answer_is_for_viewers_and_nobody_else(router: Router) -> None:
    router.suffers("dns-wrong-answer", address="192.0.2.1")
    assert router.addresses() == {"192.0.2.1"}
    zone = router.answer("SOA", "cdn.localhost")
    unknown = router.answer("A", "nobody.cdn.localhost")
    assert zone is not None and len(zone.answer) == 1
    assert unknown is not None and unknown.rcode() == dns.rcode.NXDOMAIN


async def test_failures_are_counted_as_failures(router: Router) -> None:
    router.suffers("dns-servfail")
    told = router.answer()
    assert told is not None and told.rcode() == dns.rcode.SERVFAIL and told.answer == []
    assert router.counters.by_reason()[Reason.INJECTED_FAULT] == 1
    assert Reason.INJECTED_FAULT.outcome is Outcome.FAILED


async def test_silence_is_no_answer(router: Router) -> None:
    router.suffers("dns-silence")
    assert router.answer() is None


async def test_a_delay_holds_so_many_datagrams_and_no_more(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dns_router.injected_faults.MOST_DELAYED", 2)
    router.suffers("dns-delay", by=60)
    listener = DelayedDatagrams(router.responder, router.port)
    for _ in range(5):
        listener.datagram_received(b"", ("127.0.0.1", 1))
    fault = router.port.in_force("dns-delay")
    assert fault is not None and fault.times == 2
