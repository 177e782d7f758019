"""A table of faults of a program as tests have it: a clock that stands still until it is set, and faults that are asked for as a lab does."""

import json
from collections.abc import Iterable

from proto.fault_port import FaultPort
from proto.injected_faults import FaultKind, Value

LEASE_SECONDS = 30.0


class StoodClock:
    """Says what it is set to."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Faults:
    """The faults of one program. To be used on an event loop, since they end by themselves."""

    def __init__(self, kinds: Iterable[FaultKind], seed: int = 1) -> None:
        self.clock = StoodClock()
        self.port = FaultPort(kinds, self.clock, seed)

    def begin(self, kind: str, **parameters: Value) -> str:
        """The id of the fault."""
        document = {"kind": kind, "parameters": parameters, "lease_seconds": LEASE_SECONDS}
        told = self.port.answer("POST", "/faults", json.dumps(document).encode())
        assert told is not None and told[0] == 201, told
        return str(json.loads(told[2])["id"])

    def end(self, fault_id: str) -> None:
        told = self.port.answer("DELETE", f"/faults/{fault_id}", b"")
        assert told is not None and told[0] == 200, told

    def times(self, kind: str) -> int:
        """How often it has done something."""
        fault = self.port.in_force(kind)
        return 0 if fault is None else fault.times
