"""Injects faults and undoes them, each behind its lease in the journal. One thread at a time; what is slow is slow here.

The order is what makes it safe to be killed anywhere: the lease is on disk before anything is done, and goes after all of it is undone, so that
the next keeper finds whatever is not in order, and undoes it (perhaps again, which does no harm).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from lab.agent.journal import Journal
from lab.cluster.interface import Cluster
from lab.errors import LabError
from lab.faults.actions import ACTIONS, Remember
from lab.faults.catalogue import find_fault, lease_of
from lab.faults.choosing import check_they_run, choose_places
from lab.faults.fault import Fault
from lab.faults.lease import LEASE_ID, Lease, NotInForceError, Phase, Place, check_room, next_due
from lab.faults.parameters import Value, read_parameters

Tell = Callable[[str, Lease], None]
"""What has happened (`injected`, `healed`, `heal_failed`) to which lease."""


class Moment(StrEnum):
    """Where the keeper can be: tests stop it there."""

    CHECKED = "checked"
    JOURNALED = "journaled"
    INJECTED = "injected"
    UNDONE = "undone"


Reached = Callable[[Moment], None]


def go_on(_moment: Moment) -> None:
    """Nobody wants to know."""


def say_nothing() -> None:
    """Nobody looks whether it goes on."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the keeper is given: the host's clock (seconds) and which boot it is of, names for leases, whom to tell, where to stop, and to whom to say
    before each node that the work goes on."""

    now: Callable[[], float]
    boot_id: str
    new_id: Callable[[], str]
    tell: Tell
    reached: Reached = go_on
    moved: Callable[[], None] = say_nothing


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to be broken; `lease_seconds` None for the fault's own."""

    fault: str
    target: str
    lease_seconds: float | None
    parameters: Mapping[str, object]


class Keeper:
    """The leases of a lab."""

    def __init__(self, lab: Cluster, journal: Journal, around: Surroundings) -> None:
        self._lab, self._journal, self._around = lab, journal, around
        found, self.unreadable = journal.read()
        again = [lease.found_again(around.boot_id, around.now()) for lease in found]
        self._leases = {lease.id: lease for lease in again}

    @property
    def leases(self) -> tuple[Lease, ...]:
        """Oldest first."""
        return tuple(self._leases.values())

    @property
    def next_due(self) -> float | None:
        return next_due(self.leases)

    def inject(self, order: Order) -> Lease:
        """Returns when it is done at every place. LabError, and nothing of it left, when it cannot be done at one."""
        fault = find_fault(order.fault)
        lease = self._new_lease(fault, order)
        self._around.reached(Moment.CHECKED)
        self._keep(lease)
        self._around.reached(Moment.JOURNALED)
        try:
            places = [self._inject_at(lease, place) for place in lease.places]
            self._around.reached(Moment.INJECTED)
            injected = replace(lease, places=tuple(places), phase=Phase.INJECTED)
            self._keep(injected)
        except BaseException:
            self._heal(lease)
            raise
        self._around.tell("injected", injected)
        return self._heal(injected) if fault.is_momentary else injected

    def heal(self, lease_id: str) -> Lease:
        """Before its time. What of it could not be undone is still in it; NotInForceError for an id that is not there."""
        lease = self._leases.get(lease_id)
        if lease is None:
            there = ", ".join(self._leases) or "none"
            raise NotInForceError(f"no fault {lease_id!r} is in force (it may have healed): there are {there}")
        lease = replace(lease, attempts=0, phase=Phase.HEALING, due_at=self._around.now())
        self._keep(lease)  # whoever comes after a kill goes on with it
        return self._heal(lease)

    def heal_due(self) -> None:
        """Whatever is due now."""
        now = self._around.now()
        for lease in self.leases:
            if lease.is_due(now):
                self._heal(lease)

    def start(self, node_id: str) -> tuple[Lease, ...]:
        """Ends what keeps one node from running, or starts it when it is down; the leases that were ended there."""
        holding = [
            lease for lease in self.leases if node_id in lease.nodes and find_fault(lease.fault).aspect == "process"
        ]
        if not holding:
            self._lab.start(node_id)
        return tuple(self._heal_at(lease, node_id) for lease in holding)

    def _new_lease(self, fault: Fault, order: Order) -> Lease:
        seconds = lease_of(fault, order.lease_seconds)
        parameters = read_parameters(fault.parameters, order.parameters)
        names = choose_places(self._lab, fault, order.target, parameters)
        check_room(fault, parameters, names, self.leases)
        check_they_run(self._lab, fault, names)
        remember = ACTIONS[fault.name].remember
        places = tuple(self._remembered(remember, name) for name in names)
        now = self._around.now()
        return Lease(
            id=self._around.new_id(),
            fault=fault.name,
            target=order.target,
            parameters=parameters,
            places=places,
            boot_id=self._around.boot_id,
            lease_seconds=seconds,
            injected_at=now,
            due_at=now + seconds,
        )

    def _remembered(self, remember: Remember, node_id: str) -> Place:
        self._around.moved()
        return Place(node_id, remember(self._lab, node_id))

    def _inject_at(self, lease: Lease, place: Place) -> Place:
        self._around.moved()
        memory = ACTIONS[lease.fault].inject(self._lab, place.name, _told(lease))
        return replace(place, memory={**place.memory, **memory})

    def _heal_at(self, lease: Lease, node_id: str) -> Lease:
        """At one of its nodes; the others keep it."""
        place = next(place for place in lease.places if place.name == node_id)
        rest = lease.without(node_id)
        if not rest.places:
            return self._heal(lease)
        ACTIONS[lease.fault].undo(self._lab, node_id, _told(lease), place.memory)
        self._around.reached(Moment.UNDONE)
        self._keep(rest)
        healed = replace(lease, places=(place,))
        self._around.tell("healed", healed)
        return healed

    def _heal(self, lease: Lease) -> Lease:
        """At every node, whatever becomes of the others; no trouble with it is an error, it is in the lease."""
        troubles: dict[str, str] = {}
        for place in lease.places:
            self._around.moved()
            try:
                ACTIONS[lease.fault].undo(self._lab, place.name, _told(lease), place.memory)
            except LabError as error:
                troubles[place.name] = str(error).splitlines()[0]
        self._around.reached(Moment.UNDONE)
        if not troubles:
            try:
                return self._forget(lease)
            except LabError as error:
                troubles = {place.name: str(error) for place in lease.places}
        return self._try_again_later(lease, troubles)

    def _try_again_later(self, lease: Lease, troubles: Mapping[str, str]) -> Lease:
        """What of it is not in order. The journal may have an older word of it, which says the same: there is something to undo."""
        left = tuple(place for place in lease.places if place.name in troubles)
        trouble = "; ".join(dict.fromkeys(troubles.values()))
        failed = replace(lease, places=left).failed(trouble, self._around.now())
        self._leases[failed.id] = failed
        with suppress(LabError):
            self._journal.write(failed)
        self._around.tell("heal_failed", failed)
        return failed

    def _keep(self, lease: Lease) -> None:
        self._journal.write(lease)
        self._leases[lease.id] = lease

    def _forget(self, lease: Lease) -> Lease:
        self._journal.remove(lease.id)
        self._leases.pop(lease.id, None)
        healed = replace(lease, phase=Phase.HEALED, trouble="")
        self._around.tell("healed", healed)
        return healed


def _told(lease: Lease) -> Mapping[str, Value]:
    named = {LEASE_ID: lease.id} if ACTIONS[lease.fault].is_named else {}
    return {**lease.parameters, "lease_seconds": lease.lease_seconds, **named}
