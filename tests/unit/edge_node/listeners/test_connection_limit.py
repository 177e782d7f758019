"""How many viewers so many file descriptors are enough for, and who goes when there are too many."""

from dataclasses import dataclass, field

import pytest

from edge_node.listeners.connection_limit import (
    LEAST_CONNECTIONS,
    MOST_CONNECTIONS,
    OWN_DESCRIPTORS,
    Shedder,
    limit_for,
    wanted_descriptors,
)
from edge_node.listeners.serving import OpenConnection

WANTED = wanted_descriptors()


@pytest.mark.parametrize("descriptors", [OWN_DESCRIPTORS + 100, 1_024, 4_096, 20_000, WANTED, 1_048_576])
def test_there_is_a_descriptor_for_each_viewer_for_its_fetch_and_for_the_node_itself(descriptors: int) -> None:
    connections = limit_for(descriptors).connections
    assert 2 * connections + OWN_DESCRIPTORS <= descriptors
    assert connections == MOST_CONNECTIONS or 2 * (connections + 1) + OWN_DESCRIPTORS > descriptors


def test_some_viewers_are_served_with_the_least_of_limits() -> None:
    assert limit_for(64).connections == LEAST_CONNECTIONS


@dataclass(eq=False)
class Viewer:
    """A connection that is asked to go, or not."""

    name: str
    rank: tuple[bool, float] | None
    gone: list[str] = field(default_factory=list)

    def check_deadline(self, now: float) -> None: ...

    def shed_rank(self, now: float) -> tuple[bool, float] | None:
        return self.rank

    def shed(self) -> None:
        self.gone.append(self.name)

    def drain(self) -> None: ...

    def abort(self) -> None: ...


def test_who_has_been_idle_for_longest_goes_first_then_heads_that_have_begun_and_nobody_who_is_being_answered() -> None:
    gone: list[str] = []
    busy = Viewer("busy", None, gone)
    connections: set[OpenConnection] = {
        busy, Viewer("head", (True, 1.0), gone), Viewer("new", (False, 9.0), gone), Viewer("old", (False, 5.0), gone),
    }  # fmt: skip
    shedder = Shedder()
    for _ in range(5):
        shedder.shed(connections, 0.0)
    assert gone == ["old", "new", "head"] and connections == {busy}
    assert shedder.shed_connections == 3


def test_after_a_look_in_vain_a_flood_costs_no_further_one_for_a_moment() -> None:
    gone: list[str] = []
    viewer = Viewer("viewer", None, gone)
    shedder = Shedder()
    assert shedder.shed({viewer}, 50.0) == 0
    viewer.rank = (False, 1.0)
    assert shedder.shed({viewer}, 50.05) == 0
    assert shedder.shed({viewer}, 50.2) == 1 and gone == ["viewer"]


def test_one_of_sixty_four_goes_at_once() -> None:
    gone: list[str] = []
    connections: set[OpenConnection] = {Viewer(str(number), (False, float(number)), gone) for number in range(640)}
    assert Shedder().shed(connections, 0.0) == 10
    assert gone == [str(number) for number in range(10)] and len(connections) == 630


def test_a_line_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    shedder = Shedder()
    for tenth in range(250):
        shedder.tell("too many", f"{tenth} closed", 1_000.0 + tenth / 10)
    assert [record.getMessage() for record in caplog.records] == [f"too many: {n} closed" for n in (0, 100, 200)]
    shedder.tell("none left", "one closed", 1_025.0)
    assert len(caplog.records) == 4
