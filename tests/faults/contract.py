"""Every fault of the catalogue on one lab, one after the other: it is not there, it is injected and seen, it is healed and gone.

A class of tests that inherits from `FaultsContract` gives the scene. Whoever adds a fault adds its row, in a module of this package, to `ROWS` here.
"""

import itertools
import time
from pathlib import Path

import pytest

from lab.agent.journal import Journal
from lab.agent.keeper import Keeper, Order, Surroundings
from lab.agent.lab_clock import LabClock
from lab.clients.http_client import Reply
from lab.clients.management_api import CACHING_OPTIMIZED
from lab.errors import LabError
from lab.faults.catalogue import CATALOGUE
from lab.faults.lease import Lease, Phase
from proto.host_clock import host_seconds
from tests.faults import (
    rows_of_answers,
    rows_of_clocks,
    rows_of_control_planes,
    rows_of_disks,
    rows_of_links,
    rows_of_log,
    rows_of_names,
    rows_of_nodes,
    rows_of_origins,
)
from tests.faults.scene import (
    CONTROL_PLANE,
    EDGE,
    FAR_ORIGIN,
    ORIGIN,
    OTHER_EDGE,
    REGIONAL,
    ROUTER,
    Check,
    Row,
    Scene,
)

ROWS: dict[str, Row] = {
    **rows_of_nodes.ROWS,
    **rows_of_answers.ROWS,
    **rows_of_origins.ROWS,
    **rows_of_log.ROWS,
    **rows_of_names.ROWS,
    **rows_of_clocks.ROWS,
    **rows_of_disks.ROWS,
    **rows_of_control_planes.ROWS,
    **rows_of_links.ROWS,
}

DEADLINE_SECONDS = 25.0
_LEASE_SECONDS = 60.0
_LOOK_SECONDS = 0.05


def wait_until(check: Check, what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not check():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS:g} s: {what}"
        time.sleep(_LOOK_SECONDS)


class FaultsContract:
    """`scene` is shared by all of its tests; each leaves the lab as it was."""

    is_of_containers = False

    @pytest.fixture
    def keeper(self, scene: Scene, tmp_path: Path) -> Keeper:
        """What an agent has inside, without its process."""
        numbers = itertools.count(1)
        around = Surroundings(host_seconds, "boot", lambda: f"t-{next(numbers)}", _tell_nobody)
        return Keeper(scene.cluster, Journal(tmp_path), around)

    @pytest.mark.parametrize("name", CATALOGUE)
    def test_a_fault_is_seen_while_it_is_in_force(self, scene: Scene, keeper: Keeper, name: str) -> None:
        row, is_momentary = ROWS[name], CATALOGUE[name].is_momentary
        order = Order(name, row.target, None if is_momentary else _LEASE_SECONDS, row.parameters)
        if row.is_for_containers_only and not self.is_of_containers:
            with pytest.raises(LabError, match="a lab in containers has"):
                keeper.inject(order)
            return
        if row.needs_disk_tier and scene.status(row.target)["disk"] is None:
            with pytest.raises(LabError, match="kind must be one of"):
                keeper.inject(order)
            return
        symptom = row.watch(scene)
        wait_until(symptom.is_healed, f"{row.target} is well before {name}")
        lease = keeper.inject(order)
        try:
            wait_until(symptom.is_seen, f"{name} is seen at {row.target}")
        finally:
            healed = lease if is_momentary else keeper.heal(lease.id)
        assert healed.phase is Phase.HEALED, healed.trouble
        wait_until(symptom.is_healed, f"{name} is healed at {row.target}")
        wait_until(scene.is_whole, f"all nodes are live after {name}")

    def test_the_clock_goes_forward_on_all_programs(self, scene: Scene, tmp_path: Path) -> None:
        """No fault, and it is never undone: so it comes last. What was fresh for another day is not, at either tier."""
        site = scene.new_distribution(policy=CACHING_OPTIMIZED)
        scene.api.wait_deployed(site.id)
        name = scene.new_name()
        scene.put(name, "1", cache_control="max-age=86400")

        def get() -> Reply:
            return scene.get(EDGE, f"/bucket/faults/{name}", host=site.domain_name)

        assert [result_of(get()) for _ in range(2)] == ["Miss", "Hit"]
        moved = LabClock(scene.cluster, tmp_path / "clock.json").forward(86_400.0)
        assert (moved.told, moved.untold) == ((ORIGIN, FAR_ORIGIN), ())
        for node_id in (CONTROL_PLANE, EDGE, OTHER_EDGE, REGIONAL, ROUTER, ORIGIN):
            wait_until(lambda: scene.status(node_id)["clock_ahead_seconds"] == 86_400.0, f"{node_id} is a day ahead")  # noqa: B023
        confirmed = get()
        assert result_of(confirmed) == "RefreshHit" and int(confirmed.headers.get("age", "0")) < DEADLINE_SECONDS
        assert result_of(get()) == "Hit" and scene.is_whole()


def result_of(reply: Reply) -> str:
    """The first word of X-Cache."""
    return reply.headers["x-cache"].split()[0]


def _tell_nobody(_what: str, _lease: Lease) -> None:
    """Of what has happened to a lease."""
