"""The faults that a router can be told to suffer, where it was started with `--allow-faults` (docs/faults.md): of the log, and answers that are none, late or wrong.

A router without the flag has the classes that these are made from, and none of this.
"""

import asyncio
import ipaddress
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from dns_router.applier import RouterApplier
from dns_router.configuration import KINDS_OF_A_LAB
from dns_router.counters import Counters
from dns_router.listeners import DatagramListener
from dns_router.model import Outcome, Query, Reason, RecordType, Resolution, ResponseCode
from dns_router.responder import Responder
from dns_router.response_wire import address_records
from proto.clock_faults import DRIFT_KIND
from proto.fault_port import FaultPort
from proto.faulty_session import refusing
from proto.injected_faults import FaultKind, FaultParameter, ValueKind
from proto.log_distortion import LOG_KINDS, REJECT_CONFIGURATION
from proto.state_files import StateFiles

SERVFAIL, SILENCE, WRONG_ANSWER, DELAY = "dns-servfail", "dns-silence", "dns-wrong-answer", "dns-delay"
MOST_DELAYED: Final = 4096
"""Datagrams that wait; what comes beyond is lost, as in a socket's buffer that is full."""

_PROBABILITY: Final = FaultParameter("probability", ValueKind.NUMBER, 0.000001, 1, 1.0)
KINDS: Final[tuple[FaultKind, ...]] = (
    *LOG_KINDS,
    FaultKind(SERVFAIL, (_PROBABILITY,)),
    FaultKind(SILENCE, (_PROBABILITY,)),
    FaultKind(WRONG_ANSWER, (FaultParameter("address", ValueKind.ADDRESS),)),
    FaultKind(DELAY, (FaultParameter("by", ValueKind.NUMBER, 0.001, 60),)),
    DRIFT_KIND,
)
"""It looks at a wall clock for its log alone."""


def open_applier(
    files: StateFiles,
    responder: Responder,
    counters: Counters,
    own_addresses: Mapping[int, bytes],
    faults: FaultPort | None,
) -> RouterApplier:
    """What a router does with what it is told, with faults where it allows them."""
    if faults is None:
        return RouterApplier(files, responder, counters, own_addresses)
    applier = RouterApplier(files, responder, counters, own_addresses, refusing(KINDS_OF_A_LAB, faults))

    def rejecting_changed() -> None:
        if faults.in_force(REJECT_CONFIGURATION) is None:
            applier.try_rejected_again()

    faults.when_changed(REJECT_CONFIGURATION, rejecting_changed)
    return applier


class FaultyResponder(Responder):
    """Answers as the faults in force will have it."""

    def __init__(self, counters: Counters, rng: random.Random, faults: FaultPort) -> None:
        super().__init__(counters, rng)
        self._faults = faults

    def _respond(self, wire: bytes, client_host: str, *, is_datagram: bool) -> bytes | None:
        return None if self._happens(SILENCE) else super()._respond(wire, client_host, is_datagram=is_datagram)

    def _resolve(self, query: Query, client_host: str) -> Resolution:
        if self._happens(SERVFAIL):
            return Resolution(Reason.INJECTED_FAULT, ResponseCode.SERVFAIL)
        resolution = super()._resolve(query, client_host)
        has_addresses = resolution.reason.outcome is Outcome.ANSWERED and resolution.reason is not Reason.ZONE_RECORD
        return self._falsified(query, resolution) if has_addresses else resolution

    def _falsified(self, query: Query, resolution: Resolution) -> Resolution:
        """An address of the other family is none for this question, and changes nothing."""
        fault = self._faults.in_force(WRONG_ANSWER)
        if fault is None or self.zone is None:
            return resolution
        address = ipaddress.ip_address(str(fault.parameters["address"]))
        record_type = RecordType.A if address.version == 4 else RecordType.AAAA
        if query.record_type != record_type:
            return resolution
        fault.times += 1
        answers = address_records(record_type, self.zone.answer_ttl_seconds, (address.packed,))
        return replace(resolution, answers=answers)

    def _happens(self, kind: str) -> bool:
        fault = self._faults.in_force(kind)
        if fault is None or fault.dice() >= float(fault.parameters["probability"]):
            return False
        fault.times += 1
        return True


class DelayedDatagrams(DatagramListener):
    """Takes datagrams late. TCP is not delayed: what comes on a connection has an order."""

    def __init__(self, responder: Responder, faults: FaultPort) -> None:
        super().__init__(responder)
        self._faults = faults
        self._waiting = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """See DatagramListener."""
        fault = self._faults.in_force(DELAY)
        if fault is None:
            super().datagram_received(data, addr)
        elif self._waiting < MOST_DELAYED:
            fault.times += 1
            self._waiting += 1
            asyncio.get_running_loop().call_later(float(fault.parameters["by"]), partial(self._take, data, addr))

    def _take(self, data: bytes, addr: tuple[str, int]) -> None:
        self._waiting -= 1
        super().datagram_received(data, addr)
