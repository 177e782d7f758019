"""Rows of faults, made of what an agent says that behaves badly: it is away, it forgets, it has leases of others, and it does things beside us."""

import threading
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import pytest

from lab.errors import LabError, UsageError
from lab.experiments.run_faults import FaultRows
from proto.host_clock import host_nanoseconds

SECONDS = 10.0
LAPSE_SECONDS = 0.1


class FakeAgent:
    """Lists leases that are in force. `beside` is done in the middle of a listing, after its answer is made."""

    def __init__(self) -> None:
        self.leases: dict[str, dict[str, Any]] = {}
        self.is_away = False
        self.loses_answers = False
        self.beside: Callable[[], object] = lambda: None
        self._numbers = count(1)

    def add(self, fault: str, *nodes: str, seconds: float | None = 60.0, links: tuple[str, ...] = ()) -> dict[str, Any]:
        now = host_nanoseconds()
        lease: dict[str, Any] = {
            "id": f"f{next(self._numbers)}", "fault": fault, "target": "t", "parameters": {"rate": "1"}, "nodes": list(nodes), "links": list(links),
            "state": "active" if seconds else "healed", "injected_monotonic_ns": now, "due_monotonic_ns": now + int(seconds * 1e9) if seconds else None,
        }  # fmt: skip
        if seconds:
            self.leases[lease["id"]] = lease
        return dict(lease)

    def inject(self, fault: str, target: str, seconds: float | None, _: Mapping[str, object]) -> dict[str, Any]:
        if self.is_away:
            raise LabError("the agent does not answer")
        lease = self.add(fault, target, seconds=seconds)
        if self.loses_answers:
            raise LabError("the agent does not answer")
        return lease

    def clear(self, lease_id: str) -> dict[str, Any]:
        if self.is_away:
            raise LabError("the agent does not answer")
        if lease_id not in self.leases:
            raise UsageError(f"no fault {lease_id}")
        return self.leases.pop(lease_id)

    def faults(self, _seconds: float) -> list[dict[str, Any]]:
        if self.is_away:
            raise LabError("the agent does not answer")
        answer = [dict(lease) for lease in self.leases.values()]
        self.beside()
        return answer


class Made:
    def __init__(self) -> None:
        self.agent = FakeAgent()
        self.told: list[str] = []
        self.rows = FaultRows(self.agent, lambda lease_id, _: self.told.append(lease_id))  # type: ignore[arg-type]

    def row(self, lease_id: str, place: str) -> dict[str, Any]:
        (found,) = [row for row in self.rows.rows() if (row["id"], row["place"]) == (lease_id, place)]
        return found


@pytest.fixture
def made() -> Made:
    return Made()


def test_each_place_of_a_lease_has_a_row_whose_moments_are_in_order(made: Made) -> None:
    lease = made.agent.add("loss", "edge-1", "edge-2", links=("a~b",))
    made.rows.look()
    assert sorted(row["place"] for row in made.rows.rows()) == ["a~b", "edge-1", "edge-2"]
    made.agent.clear(lease["id"])
    made.rows.look()
    assert made.told == [lease["id"]]
    for row in made.rows.rows():
        assert row["began_ns"] <= row["injected_ns"] <= row["healing_ns"] <= row["healed_ns"] <= host_nanoseconds()


def test_a_fault_that_is_over_at_once_is_told_to_nobody_and_closed(made: Made) -> None:
    lease = made.rows.inject("restart", "edge-1", None, {})
    row = made.row(lease["id"], "edge-1")
    assert row["began_ns"] <= row["injected_ns"] <= row["healed_ns"]
    made.rows.look()
    assert (made.told, made.rows.in_force(None)) == ([], [])


def test_a_lease_that_is_over_before_it_is_listed_is_over(made: Made) -> None:
    lease = made.rows.inject("kill", "edge-1", 1.0, {})
    made.agent.leases.clear()
    made.rows.look()
    made.rows.look()
    assert made.told == [lease["id"]]
    assert made.row(lease["id"], "edge-1")["healed_ns"] is not None


def test_an_agent_that_is_away_ends_nothing_and_is_heard_again(made: Made) -> None:
    lease = made.rows.inject("kill", "edge-1", 60.0, {})
    made.agent.is_away = True
    made.rows.look()
    assert made.rows.in_force("kill") == [lease["id"]]
    with pytest.raises(LabError):
        made.rows.inject("kill", "edge-2", 60.0, {})
    with pytest.raises(LabError):
        made.rows.heal(lease["id"])
    assert made.rows.in_force(None) == [lease["id"]]
    made.agent.is_away = False
    made.rows.heal(lease["id"])
    assert made.told == [lease["id"]]
    assert len(made.rows.rows()) == 1


def test_what_an_agent_did_whose_answer_was_lost_has_a_row(made: Made) -> None:
    made.agent.loses_answers = True
    with pytest.raises(LabError):
        made.rows.inject("kill", "edge-1", 60.0, {})
    made.rows.look()
    assert [row["place"] for row in made.rows.rows()] == ["edge-1"]


def test_leases_of_others_are_rows_and_not_ours_to_heal(made: Made) -> None:
    others = made.agent.add("kill", "edge-2")
    ours = made.rows.inject("kill", "edge-1", 60.0, {})
    made.rows.look()
    assert made.rows.in_force("kill") == [ours["id"]]
    assert made.row(others["id"], "edge-2")["began_ns"] == others["injected_monotonic_ns"]
    made.agent.clear(others["id"])
    made.rows.look()
    assert made.told == [others["id"]]


def test_what_has_healed_by_itself_is_healed_without_a_word(made: Made) -> None:
    lease = made.rows.inject("kill", "edge-1", 60.0, {})
    made.agent.leases.clear()
    made.rows.heal(lease["id"])
    row = made.row(lease["id"], "edge-1")
    assert (made.told, row["healing_ns"] <= row["healed_ns"]) == ([lease["id"]], True)
    before = made.rows.rows()
    made.rows.heal(lease["id"])
    assert (made.told, made.rows.rows()) == ([lease["id"]], before)


def test_what_was_due_while_nobody_looked_began_to_heal_when_it_was_due(made: Made) -> None:
    lease = made.rows.inject("kill", "edge-1", 1e-6, {})
    made.agent.leases.clear()
    made.rows.look()
    row = made.row(lease["id"], "edge-1")
    assert row["healing_ns"] == lease["due_monotonic_ns"] < row["healed_ns"]


def test_a_fault_that_is_injected_beside_a_look_is_not_taken_for_one_that_is_over(made: Made) -> None:
    injected = threading.Event()

    def inject() -> None:
        made.rows.inject("kill", "edge-1", 60.0, {})
        injected.set()

    beside = threading.Thread(target=inject)

    def in_the_middle() -> None:
        made.agent.beside = lambda: None
        beside.start()
        injected.wait(LAPSE_SECONDS)  # it must not get through, or the answer would be older than what is known

    made.agent.beside = in_the_middle
    made.rows.look()
    beside.join(SECONDS)
    assert injected.is_set()
    assert (made.told, len(made.rows.in_force("kill"))) == ([], 1)
    assert made.rows.rows()[0]["healed_ns"] is None


def test_many_threads_make_each_row_once(made: Made) -> None:
    """Those that inject and heal, and one that looks all the while."""
    is_over = threading.Event()

    def work(number: int) -> None:
        for _ in range(20):
            made.rows.heal(made.rows.inject("kill", f"edge-{number}", 60.0, {})["id"])

    def look() -> None:
        while not is_over.is_set():
            made.rows.look()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    looker = threading.Thread(target=look)
    for thread in (*workers, looker):
        thread.start()
    for thread in workers:
        thread.join(SECONDS)
    is_over.set()
    looker.join(SECONDS)
    rows = made.rows.rows()
    assert len(rows) == 60
    assert sorted(made.told) == sorted(row["id"] for row in rows)
    assert all(row["injected_ns"] <= row["healing_ns"] <= row["healed_ns"] for row in rows)
