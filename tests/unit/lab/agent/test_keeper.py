"""What the keeper does when things go wrong: at one of several nodes, in the undoing, and in the journal."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from lab.agent.journal import Journal
from lab.agent.keeper import Keeper, Order, Surroundings
from lab.cluster.interface import Cluster, Limits
from lab.cluster.status import RunningNode
from lab.errors import LabError, UsageError
from lab.faults.catalogue import find_fault
from lab.faults.lease import MOST_ATTEMPTS, MOST_LEASES, ConflictError, Lease, NotInForceError, Phase, check_room
from lab.topology.layout import Role

NODES = ("edge-1", "edge-2", "edge-3")


class FakeCluster:
    """Nodes that are there or not; `stubborn` ones refuse whatever is asked of them."""

    def __init__(self) -> None:
        self.running = dict.fromkeys(NODES, True)
        self.paused: set[str] = set()
        self.limited: dict[str, Limits] = {}
        self.stubborn: set[str] = set()

    def nodes(self) -> tuple[RunningNode, ...]:
        return tuple(
            RunningNode(name, Role.EDGE, "r", "P", "", "", "", running) for name, running in self.running.items()
        )

    def kill(self, node_id: str) -> None:
        self._check(node_id)
        self.running[node_id] = False

    def start(self, node_id: str) -> None:
        self._check(node_id)
        if self.running[node_id]:
            raise LabError(f"{node_id} is running already")
        self.running[node_id] = True

    def pause(self, node_id: str) -> None:
        self._check(node_id)
        self.paused.add(node_id)

    def unpause(self, node_id: str) -> None:
        self._check(node_id)
        self.paused.discard(node_id)

    def limits(self, node_id: str) -> Limits:
        return self.limited.get(node_id, Limits(cpus=0.0, memory_mib=0))

    def set_limits(self, node_id: str, limits: Limits) -> None:
        self._check(node_id)
        known = self.limits(node_id)
        memory = known.memory_mib if limits.memory_mib is None else limits.memory_mib
        self.limited[node_id] = Limits(known.cpus if limits.cpus is None else limits.cpus, memory)

    def _check(self, node_id: str) -> None:
        if node_id in self.stubborn:
            raise LabError(f"{node_id} refuses\nand says a lot")


class Lab:
    """A keeper, its surroundings, and a clock that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.cluster, self.journal = FakeCluster(), Journal(folder)
        self.now, self.boot, self.told = 100.0, "boot", list[tuple[str, str]]()
        self._numbers = iter(range(1, 10_000))
        self.keeper = self.new_keeper()

    def new_keeper(self) -> Keeper:
        """As after a kill."""
        around = Surroundings(lambda: self.now, self.boot, lambda: f"f-{next(self._numbers)}", self._tell)
        self.keeper = Keeper(cast(Cluster, self.cluster), self.journal, around)
        return self.keeper

    def _tell(self, name: str, lease: Lease) -> None:
        self.told.append((name, lease.id))

    def inject(
        self, fault: str, target: str, seconds: float | None = 30, parameters: Mapping[str, object] = {}
    ) -> Lease:
        return self.keeper.inject(Order(fault, target, seconds, parameters))

    def at(self, now: float) -> None:
        self.now = now
        self.keeper.heal_due()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_fault_is_over_when_it_is_due_and_not_before(lab: Lab) -> None:
    lease = lab.inject("kill", "edge-1,edge-3")
    assert lab.cluster.running == {"edge-1": False, "edge-2": True, "edge-3": False}
    assert lab.keeper.next_due == 130
    lab.at(129.9)
    assert not lab.cluster.running["edge-1"] and lab.journal.read()[0] == [lease]
    lab.at(130)
    assert all(lab.cluster.running.values()) and lab.journal.read()[0] == [] and lab.keeper.leases == ()
    assert lab.told == [("injected", lease.id), ("healed", lease.id)]


def test_a_fault_that_is_refused_at_one_node_is_taken_back_at_the_others(lab: Lab) -> None:
    lab.cluster.stubborn.add("edge-2")
    with pytest.raises(LabError, match="edge-2 refuses"):
        lab.inject("kill", "role:edge")
    assert all(lab.cluster.running.values())
    assert lab.keeper.leases == () and lab.journal.read()[0] == []
    assert ("injected", "f-1") not in lab.told


def test_one_that_cannot_be_taken_back_is_tried_again(lab: Lab) -> None:
    lease = lab.inject("pause", "edge-1,edge-2")
    lab.cluster.stubborn.add("edge-2")
    lab.at(130)
    (left,) = lab.keeper.leases
    assert (left.nodes, left.phase, left.trouble) == (("edge-2",), Phase.HEALING, "edge-2 refuses")
    assert lab.cluster.paused == {"edge-2"} and left.due_at > 130
    lab.cluster.stubborn.clear()
    lab.at(left.due_at)
    assert lab.cluster.paused == set() and lab.keeper.leases == ()
    assert lab.told == [("injected", lease.id), ("heal_failed", lease.id), ("healed", lease.id)]


def test_it_gives_up_after_bounded_attempts_and_tries_again_when_somebody_or_a_new_agent_asks(lab: Lab) -> None:
    lease = lab.inject("pause", "edge-1")
    lab.cluster.stubborn.add("edge-1")
    attempts = 0
    while (due := lab.keeper.next_due) is not None:
        lab.at(due)
        attempts += 1
    assert attempts == MOST_ATTEMPTS and lab.now < 1000
    assert lab.keeper.leases[0].phase is Phase.GIVEN_UP
    assert lab.keeper.heal(lease.id).phase is Phase.HEALING, "told to try, it tries, and goes on"
    lab.cluster.stubborn.clear()
    lab.new_keeper().heal_due()
    assert lab.cluster.paused == set() and lab.keeper.leases == ()


def test_leases_of_another_boot_are_over(lab: Lab) -> None:
    lab.inject("pause", "edge-1", 3000)
    lab.new_keeper().heal_due()
    assert lab.cluster.paused == {"edge-1"}
    lab.boot, lab.now = "another", 5.0
    lab.new_keeper().heal_due()
    assert lab.cluster.paused == set() and lab.keeper.leases == ()


def test_a_node_that_died_while_it_was_paused_is_not_brought_back(lab: Lab) -> None:
    lab.inject("pause", "edge-1")
    lab.cluster.running["edge-1"] = False
    lab.at(130)
    assert lab.keeper.leases == () and not lab.cluster.running["edge-1"]


def test_a_node_that_somebody_else_has_started_is_left_alone(lab: Lab) -> None:
    lab.inject("kill", "edge-1")
    lab.cluster.start("edge-1")
    lab.at(130)
    assert lab.keeper.leases == () and lab.cluster.running["edge-1"]


def test_limits_are_those_from_before(lab: Lab) -> None:
    lab.cluster.limited["edge-1"] = Limits(cpus=2.0, memory_mib=256)
    lab.inject("limit-memory", "role:edge", 30, {"mib": 64})
    lab.inject("limit-cpu", "edge-1", 30, {"cpus": 0.5})
    assert lab.cluster.limited["edge-1"] == Limits(cpus=0.5, memory_mib=64)
    lab.new_keeper()
    lab.at(130)
    assert lab.cluster.limited["edge-1"] == Limits(cpus=2.0, memory_mib=256)
    assert lab.cluster.limits("edge-2").memory_mib == 0


def test_what_is_broken_is_not_broken_again(lab: Lab) -> None:
    lease = lab.inject("kill", "edge-1")
    with pytest.raises(ConflictError, match=rf"edge-1 has kill already \({lease.id}\)"):
        lab.inject("kill", "role:edge")
    assert lab.cluster.running["edge-2"]
    lab.cluster.running["edge-3"] = False
    with pytest.raises(ConflictError, match="edge-3 is not running: `cdnlab start edge-3` starts it"):
        lab.inject("pause", "edge-3")
    assert lab.inject("pause", "edge-2")


def test_start_ends_what_holds_a_node_or_starts_it(lab: Lab) -> None:
    lab.inject("kill", "edge-1,edge-2")
    lab.keeper.start("edge-1")
    assert lab.cluster.running == {"edge-1": True, "edge-2": False, "edge-3": True}
    assert lab.new_keeper().leases[0].nodes == ("edge-2",)
    lab.cluster.running["edge-3"] = False
    assert lab.keeper.start("edge-3") == () and lab.cluster.running["edge-3"]
    with pytest.raises(LabError, match="is running already"):
        lab.keeper.start("edge-3")


def test_there_are_not_too_many(lab: Lab) -> None:
    lease = lab.inject("limit-memory", "edge-1", 30, {"mib": 64})
    with pytest.raises(ConflictError, match="faults at once are the most"):
        check_room(find_fault("kill"), {}, ["edge-2"], [lease] * MOST_LEASES)
    check_room(find_fault("kill"), {}, ["edge-2"], [lease] * (MOST_LEASES - 1))


def test_a_lease_that_cannot_be_written_down_is_no_fault(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_lease: Lease) -> None:
        raise LabError("no space left on device")

    monkeypatch.setattr(lab.journal, "write", full)
    with pytest.raises(LabError, match="no space left"):
        lab.inject("kill", "edge-1")
    assert all(lab.cluster.running.values()) and lab.keeper.leases == ()


def test_a_disk_that_fills_up_keeps_nothing_from_healing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_word: object) -> None:
        raise LabError("no space left on device")

    first, second = lab.inject("pause", "edge-1"), lab.inject("pause", "edge-2")
    with monkeypatch.context() as patched:
        patched.setattr(lab.journal, "write", full)
        patched.setattr(lab.journal, "remove", full)
        lab.at(130)
        assert lab.cluster.paused == set()
        assert [lease.trouble for lease in lab.keeper.leases] == ["no space left on device"] * 2
    lab.at(131)
    assert lab.keeper.leases == () and lab.journal.read()[0] == []
    assert [lease_id for name, lease_id in lab.told if name == "healed"] == [first.id, second.id]


def test_an_injection_that_cannot_be_confirmed_on_disk_is_taken_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    write = lab.journal.write

    def full_later(lease: Lease) -> None:
        if lease.phase is Phase.INJECTED:
            raise LabError("no space left on device")
        write(lease)

    monkeypatch.setattr(lab.journal, "write", full_later)
    with pytest.raises(LabError, match="no space left"):
        lab.inject("kill", "edge-1")
    assert all(lab.cluster.running.values()) and lab.keeper.leases == () and lab.journal.read()[0] == []


def test_what_is_not_there_is_named_with_what_there_is(lab: Lab) -> None:
    with pytest.raises(UsageError, match="no fault 'burn': there are kill, stop, "):
        lab.inject("burn", "edge-1")
    with pytest.raises(NotInForceError, match=r"no fault 'f-9' is in force \(it may have healed\): there are none"):
        lab.keeper.heal("f-9")


def test_a_lab_without_relays_has_no_links(lab: Lab) -> None:
    for fault, target in (
        ("link-cut", "link:*"),
        ("partition", "halves"),
        ("cut", "edge-1"),
        ("link-slice", "link:a--b"),
    ):
        with pytest.raises(LabError, match="this lab has no relays between its places, so it has no links"):
            lab.inject(fault, target)
    assert lab.keeper.leases == () and lab.journal.read()[0] == []
