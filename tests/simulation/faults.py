"""What each fault of a plan does to the network, and how it heals."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from control_plane.leases import counted_seconds
from tests.simulation.disk import Disk
from tests.simulation.node import Node
from tests.simulation.plan import LEASE_SECONDS, PLANE, ROUTER, STOPS, Event
from tests.simulation.processes import Plane
from tests.simulation.world import MemoryLedger

if TYPE_CHECKING:
    from tests.simulation.scenario import Simulation

RETAINED_SECONDS = 2.2 * LEASE_SECONDS
"""How long entries stay in the log at least where it is trimmed: no lease outlives them."""


def _nothing() -> None:
    """It needs no healing, or has been seen to already."""


class Faults:
    """Of one run."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._world, self._network = simulation.world, simulation.network
        self._is_over = False
        self._restored_at = 0.0
        """Until then nobody starts the control plane: leases that its backup does not know are not over."""

    @property
    def _plane(self) -> Plane:
        return self._simulation.plane

    def begin(self, event: Event) -> None:
        """Do it, and have it heal."""
        if self._is_over:
            return
        node = self._simulation.nodes.get(event.subject)
        if event.kind in STOPS:
            assert node is not None
            self._stop(node, event.kind)
            self._world.after(event.seconds, lambda: self._restart(node))
        elif node is not None:
            self._begin_at(node, event)
        elif event.subject == ROUTER:
            self._begin_at_router(event)
        elif event.kind == "partition":
            self._network.cut(event.cut, event.seconds)
        else:
            self._begin_at_plane(event)

    def end(self) -> None:
        """Heal everything; nothing happens any more."""
        self._is_over = True
        self._plane.stall_probability = 0.0
        self._network.heal_everything()
        self._plane.ledger.is_full = False
        self._plane.stall_probability = 0.0
        self._restart_plane()
        for twin in self._simulation.twins:
            twin.crash()
        self._restart_router()
        for node in self._simulation.nodes.values():
            node.is_wedged = node.is_mute = False
            node.set_cut_off(False)
            if node.is_up:
                node.session.cut(silently=False)
            self._heal_disk(node)

    # Nodes

    def _begin_at(self, node: Node, event: Event) -> None:
        heal: Callable[[], None] = _nothing
        match event.kind:
            case "cut" | "silence":
                if node.is_up:
                    node.session.cut(silently=event.kind == "silence")
            case "cut_off":
                node.set_cut_off(True)
                heal = partial(node.set_cut_off, False)
            case "mute":
                node.is_mute = True
                heal = partial(setattr, node, "is_mute", self._simulation.plan.conditions.is_everybody_mute)
            case "wedge":
                node.is_wedged = True
                heal = partial(setattr, node, "is_wedged", False)
            case "suspend":
                self._network.stand_still(node.place)
                heal = partial(self._network.go_on, node.place, partial(self._simulation.look_at, node))
            case "trim":
                node.set_cut_off(True)
                if node.is_up:
                    node.session.cut(silently=False)
                self._world.after(event.seconds, lambda: self._plane.ledger.trim(self._world.now))
                self._world.after(RETAINED_SECONDS, lambda: node.set_cut_off(False))
            case "twin":
                heal = self._begin_twin(node)
            case "disk_full" | "killed_writing" | "disk_slow":
                self._break_disk(node, event)
        self._world.after(event.seconds, heal)

    def _begin_twin(self, node: Node) -> Callable[[], None]:
        """A second process with the same identity, as where a state directory and a certificate were copied; and what ends it."""
        twin = self._simulation.make_twin(node)
        twin.start()
        return twin.crash

    def _break_disk(self, node: Node, event: Event) -> None:
        match event.kind:
            case "disk_full":
                node.disk.is_full = True
                if event.detail:
                    self._world.after(event.seconds, lambda: self._stop(node, "node_crash"))
            case "killed_writing":
                node.disk.kill_in_the_middle(int(event.detail))
            case "disk_slow":
                node.disk.is_slow = True
        self._world.after(event.seconds, lambda: self._heal_disk(node))

    def _stop(self, node: Node, fault: str) -> None:
        if not node.is_up or (node.is_draining and fault == "leave"):
            return
        if fault == "leave":
            node.leave()
        else:
            node.crash()
        match fault:
            case "wipe":
                node.disk = Disk(self._world, node.node_id)
            case "power_loss":
                node.disk.lose_power()
            case "damaged_journal":
                node.disk.damage_journal()

    def _heal_disk(self, node: Node) -> None:
        """Whatever it did to the process is over."""
        node.disk.is_full, node.disk.kill_in, node.disk.is_slow = False, None, False
        self._restart(node)

    def _restart(self, node: Node) -> None:
        if node.is_draining:
            node.crash()
        if not node.is_up:
            node.start()
            self._simulation.look_at_all()

    # The router

    def _begin_at_router(self, event: Event) -> None:
        router, after = self._simulation.router, self._world.after
        assert router is not None
        match event.kind:
            case "router_crash":
                router.crash()
                after(event.seconds, self._restart_router)
            case "router_disk_full":
                router.files.is_full = True
                after(event.seconds, partial(setattr, router.files, "is_full", False))
            case "suspend":
                self._network.stand_still(ROUTER)
                after(event.seconds, partial(self._network.go_on, ROUTER))

    def _restart_router(self) -> None:
        router = self._simulation.router
        if router is not None and not router.is_up:
            router.start()

    # The control plane

    def _begin_at_plane(self, event: Event) -> None:
        after, plane = self._world.after, self._plane
        match event.kind:
            case "plane_crash":
                plane.crash()
                after(event.seconds, self._restart_plane)
            case "plane_suspend":
                self._network.stand_still(PLANE)
                after(event.seconds, lambda: self._network.go_on(PLANE))
            case "clock_step":
                plane.clock_offset_seconds += float(event.detail)
                plane.crash()
                after(event.seconds, self._restart_plane)
            case "new_log":
                self._replace_plane(event.seconds)
            case "restored_backup":
                backup, made_at = plane.ledger.copy(), self._world.now
                is_other = event.detail == "as another log"
                after(event.seconds, lambda: self._restore(plane, backup, made_at, is_other=is_other))
            case "ledger_full":
                self._fill_ledger(event)

    def _fill_ledger(self, event: Event) -> None:
        """The control plane's database takes no writes for a while, and perhaps the process is killed meanwhile."""
        after, ledger, seconds = self._world.after, self._plane.ledger, event.seconds
        ledger.is_full = True
        after(seconds, lambda: setattr(ledger, "is_full", False))
        if event.detail:
            after(seconds / 2, self._plane.crash)
            after(seconds + 0.1, self._restart_plane)

    def _restart_plane(self) -> None:
        if self._plane.coordinator is None and self._world.now >= self._restored_at:
            self._plane.start()

    def _restore(self, plane: Plane, backup: MemoryLedger, made_at: float, *, is_other: bool) -> None:
        """An older copy of the database, when every lease that was granted since is over."""
        if plane is not self._plane or self._is_over:
            return
        plane.crash()
        if is_other:
            log_id = self._simulation.new_log_id()
        else:
            log_id = backup.log_id
            self._simulation.checker.promises.withdraw(log_id, made_at)
            self._simulation.checker.forget_acknowledgements()
        plane.restore(backup, log_id)
        lost_seconds = counted_seconds(LEASE_SECONDS)
        self._restored_at = self._world.now + lost_seconds
        self._world.after(lost_seconds, self._restart_plane)

    def _replace_plane(self, healed_after: float) -> None:
        """The address leads to a control plane with another database."""
        self._plane.crash()
        simulation = self._simulation
        simulation.plane = simulation.new_plane()
        self._world.after(healed_after, self._restart_plane)
        for node in simulation.nodes.values():
            node.plane = simulation.plane
            if node.is_up:
                node.session.plane = simulation.plane
        if simulation.router is not None:
            simulation.router.follow(simulation.plane)
