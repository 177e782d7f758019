"""Who is told that the lab's clock goes forward, in which order, and what becomes of a move that fails half-way."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.agent.lab_clock import LabClock
from lab.clients.http_client import Reply, UnreachableError
from lab.cluster.interface import Addresses
from lab.cluster.status import RunningNode
from lab.errors import LabError, UsageError
from lab.topology.layout import Role

DAY = 86_400.0


@dataclass
class Programs:
    """A control plane and two origins, as their admin ports answer; and the lab that they are."""

    log: float = 0.0
    status: int = 200
    loses_answers: bool = False
    down: set[str] = field(default_factory=set)
    """Admin addresses."""
    origins: dict[str, float] = field(default_factory=lambda: {"o1": 0.0, "o2": 0.0})
    order: list[str] = field(default_factory=list)
    """Who was told something new."""

    def addresses(self, node_id: str) -> Addresses:
        return Addresses("", node_id, "")

    def nodes(self) -> tuple[RunningNode, ...]:
        edge = RunningNode("edge", Role.EDGE, "r", "", "", "edge", "", is_running=True)
        origins = (RunningNode(each, Role.ORIGIN, "r", "", "", each, "", is_running=True) for each in self.origins)
        return (edge, *origins)

    def ask(self, address: str, method: str, body: bytes | None, _seconds: float) -> Reply:
        if address in self.down:
            raise UnreachableError(f"{address} is gone")
        wanted = 0.0 if body is None else float(json.loads(body)["ahead_seconds"])
        if address in self.origins:
            if wanted != self.origins[address]:
                self.order.append(address)
            self.origins[address] = wanted
            return Reply(200, {}, b"{}")
        assert address == "control-plane", "edges hear of it from the log"
        if self.status != 200:
            return Reply(self.status, {}, b"not today")
        if method == "POST":
            self.log = wanted
            self.order.append(address)
            if self.loses_answers:
                self.loses_answers = False
                raise UnreachableError("timed out")
        return Reply(200, {}, json.dumps({"ahead_seconds": self.log, "index": 7}).encode())


def clock_of(programs: Programs, folder: Path) -> LabClock:
    return LabClock(programs, folder / "clock.json", programs.ask)  # type: ignore[arg-type]  # as much of a cluster as it needs


def test_origins_are_told_before_the_log(tmp_path: Path) -> None:
    programs = Programs()
    moved = clock_of(programs, tmp_path).forward(DAY)
    assert programs.order == ["o1", "o2", "control-plane"]
    assert moved.to_json() == {
        "ahead_seconds": DAY,
        "index": 7,
        "origins": [{"id": "o1", "told": True}, {"id": "o2", "told": True}],
    }


def test_moves_add_up(tmp_path: Path) -> None:
    programs = Programs()
    clock = clock_of(programs, tmp_path)
    clock.forward(DAY)
    assert clock.forward(1.5).ahead_seconds == DAY + 1.5 == programs.log


def test_an_origin_that_was_away_or_starts_again_is_told_later_also_by_the_next_agent(tmp_path: Path) -> None:
    programs = Programs(down={"o2"})
    moved = clock_of(programs, tmp_path).forward(DAY)
    assert (moved.told, moved.untold) == (("o1",), ("o2",))
    programs.down, programs.origins["o1"] = set(), 0.0
    after = clock_of(programs, tmp_path)
    assert after.is_ahead
    after.look_after_origins()
    assert programs.origins == {"o1": DAY, "o2": DAY}


def test_without_a_control_plane_origins_keep_what_they_were_told(tmp_path: Path) -> None:
    programs = Programs()
    clock_of(programs, tmp_path).forward(DAY)
    programs.down, programs.origins["o1"] = {"control-plane"}, 0.0
    clock = clock_of(programs, tmp_path)
    clock.look_after_origins()
    assert programs.origins["o1"] == DAY
    with pytest.raises(LabError, match="does not answer"):
        clock.forward(DAY)
    assert programs.origins == {"o1": DAY, "o2": DAY}


def test_the_log_counts_after_a_backup_was_restored(tmp_path: Path) -> None:
    programs = Programs()
    clock = clock_of(programs, tmp_path)
    clock.forward(DAY)
    programs.log = 0.0
    clock.look_after_origins()
    assert programs.origins == {"o1": 0.0, "o2": 0.0} and not clock.is_ahead


def test_a_move_of_which_the_answer_was_lost_is_what_the_log_says(tmp_path: Path) -> None:
    programs = Programs(loses_answers=True)
    with pytest.raises(LabError, match="timed out"):
        clock_of(programs, tmp_path).forward(DAY)
    assert programs.log == DAY and programs.origins == {"o1": DAY, "o2": DAY}


@pytest.mark.parametrize(("status", "told"), [(404, "--allow-faults"), (503, "not today")])
def test_a_control_plane_that_refuses_has_moved_nobody(tmp_path: Path, status: int, told: str) -> None:
    programs = Programs(status=status)
    with pytest.raises(LabError, match=told):
        clock_of(programs, tmp_path).forward(DAY)
    assert programs.order == [] and not (tmp_path / "clock.json").exists()


@pytest.mark.parametrize("seconds", [0.0, -DAY, 200 * 365 * DAY])
def test_there_is_no_other_way_than_forward_and_not_for_ever(tmp_path: Path, seconds: float) -> None:
    programs = Programs(log=DAY, origins={"o1": DAY})
    with pytest.raises(UsageError):
        clock_of(programs, tmp_path).forward(seconds)
    assert programs.order == []


def test_a_file_that_is_damaged_is_no_clock(tmp_path: Path) -> None:
    (tmp_path / "clock.json").write_text("{")
    assert not clock_of(Programs(), tmp_path).is_ahead
