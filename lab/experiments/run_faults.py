"""Follows the faults of a run: what the agent says of its leases becomes rows of the table `faults`, also of those that somebody else injects meanwhile."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from lab.agent.client import AgentClient, places_of
from lab.errors import LabError, UsageError
from proto.host_clock import host_nanoseconds

_LOOK_SECONDS = 2.0


class FaultRows:
    """`look` is to be called again and again; several threads may call all of it."""

    def __init__(self, agent: AgentClient, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
        """`tell` hears of a lease that is over: its id and itself."""
        self._agent = agent
        self._tell = tell
        self._turn = threading.Lock()
        """What the agent lists is compared with what is known of the same moment."""
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._open: dict[str, Mapping[str, Any]] = {}
        self._own: set[str] = set()
        """Leases of this run: those of others are watched and left alone."""

    def inject(
        self, fault: str, target: str, lease_seconds: float | None, parameters: Mapping[str, object]
    ) -> dict[str, Any]:
        """The lease, without lease_seconds of a fault that is over as soon as it is done. LabError when it cannot be done."""
        with self._turn:
            began_ns = host_nanoseconds()
            lease = self._agent.inject(fault, target, lease_seconds, parameters)
            with self._lock:
                self._own.add(lease["id"])
                self._note(lease, began_ns)
                if lease["state"] == "healed":  # one that was over as soon as it was done
                    self._close(lease["id"], host_nanoseconds())
        return lease

    def heal(self, lease_id: str) -> None:
        """Before its time. Nothing happens when it is over."""
        with self._turn:
            with self._lock:
                for (known, _), row in self._rows.items():
                    if known == lease_id:
                        row["healing_ns"] = row["healing_ns"] or host_nanoseconds()
            with suppress(UsageError):  # it may have healed by itself meanwhile
                self._agent.clear(lease_id)
        self.look()

    def look(self) -> None:
        """Whose lease is over by now. An agent that does not answer is asked again next time."""
        with self._turn:
            try:
                leases = self._agent.faults(_LOOK_SECONDS)
            except LabError:
                return
            over = self._compare(leases, host_nanoseconds())
        for lease_id, lease in over:
            self._tell(lease_id, lease)

    def _compare(self, leases: list[dict[str, Any]], seen_ns: int) -> list[tuple[str, Mapping[str, Any]]]:
        """Those that are over."""
        over = []
        with self._lock:
            for lease in leases:
                if lease["id"] not in self._open:
                    self._note(lease, lease.get("injected_monotonic_ns") or seen_ns)
            there = {lease["id"] for lease in leases}
            for lease_id in [each for each in self._open if each not in there]:
                over.append((lease_id, self._open[lease_id]))
                self._close(lease_id, seen_ns)
        return over

    def rows(self) -> list[dict[str, Any]]:
        """Of the table, as far as is known."""
        with self._lock:
            return [dict(row) for row in self._rows.values()]

    def in_force(self, fault: str | None) -> list[str]:
        """Ids of leases of this run, of one fault or of all."""
        with self._lock:
            found = [lease_id for lease_id, lease in self._open.items() if fault in (None, lease["fault"])]
            return [lease_id for lease_id in found if lease_id in self._own]

    def _note(self, lease: Mapping[str, Any], began_ns: int) -> None:
        now_ns = host_nanoseconds()
        self._open[lease["id"]] = lease
        for place in places_of(dict(lease)):
            self._rows[(lease["id"], place)] = {
                "id": lease["id"],
                "fault": lease["fault"],
                "target": lease["target"],
                "place": place,
                "parameters": json.dumps(lease["parameters"]),
                "began_ns": began_ns,
                "injected_ns": now_ns,
                "healing_ns": None,
                "healed_ns": None,
            }

    def _close(self, lease_id: str, seen_ns: int) -> None:
        lease = self._open.pop(lease_id)
        due_ns = lease.get("due_monotonic_ns")
        for (known, _), row in self._rows.items():
            if known == lease_id:
                row["healing_ns"] = row["healing_ns"] or min(due_ns or seen_ns, seen_ns)
                row["healed_ns"] = seen_ns
