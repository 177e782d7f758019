"""One time base: whoever stands still, and whatever becomes of wall clocks, a verdict is what it would have been; between clocks it is unknown (decision 29).

The prober and the control plane are processes under a wall clock that is set by hours, either way, twenty times a second. Beside the edges a liar is asked that serves
what was made first for ever: with it a promise is broken, and without it none is.
"""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lab.checkers.verdict import Outcome
from lab.experiments.receipts import invalidation_row
from lab.topology.layout import CONTROL_PLANE_ID
from proto.host_clock import HostClock, host_nanoseconds, host_seconds
from proto.moments import ClockAnchor, read_anchor
from proto.origin_stamp import STAMP_FIELD
from tests.integration.loadtests.test_viewer import ScriptedEdge, ok
from tests.integration.other_clocks import SMALLEST_STEP_SECONDS
from tests.integration.prober_process import OTHER_CLOCKS, Prober, judged, prober
from tests.integration.system_lab import ORIGIN, Site, SystemLab, wait_until

LIAR = "liar"
KEY = "time/front.txt"
PATH = f"/bucket/{KEY}"
STANDSTILL_SECONDS = 1.0
FLICKERS = 20


@contextmanager
def control_plane_with_other_clocks(lab: SystemLab, *words: str) -> Iterator[None]:
    """As if somebody set its machine's wall clock all the time."""
    usual = lab.command(CONTROL_PLANE_ID)
    lab.restart_as(CONTROL_PLANE_ID, [sys.executable, str(OTHER_CLOCKS), *words, *usual[2:]])
    lab.wait_serving()
    try:
        yield
    finally:
        lab.restart_as(CONTROL_PLANE_ID, usual)


@dataclass
class Run:
    """An object that changes, and what was promised of it."""

    lab: SystemLab
    site: Site
    prober: Prober
    receipts: list[dict[str, Any]]
    versions: int = 0
    changed_ns: int = 0

    def publish(self) -> str:
        """The next version; its invalidation, which is not complete yet."""
        self.versions += 1
        self.lab.put_object(KEY, b"version %d" % self.versions)
        self.changed_ns = host_nanoseconds()
        return self.lab.invalidate(self.site, PATH)

    def take_receipt(self, invalidation_id: str) -> dict[str, Any]:
        """Once it is complete."""
        wait_until(partial(self._is_completed, invalidation_id), "the receipt")
        receipt = self.lab.receipt(invalidation_id)
        self.receipts.append(receipt)
        return receipt

    def _is_completed(self, invalidation_id: str) -> bool:
        return bool(self.lab.receipt(invalidation_id)["status"] == "Completed")

    def wait_seen(self) -> None:
        """Until each edge has been seen with the newest version several times."""
        wait_until(self._is_seen, f"version {self.versions} at all edges")

    def _is_seen(self) -> bool:
        new = [
            each["viewer"]
            for each in self.prober.rows()
            if each["started_ns"] > self.changed_ns and each.get("status") == 200
        ]
        return all(new.count(f"probe/{edge}") >= 3 for edge in self.lab.edges())

    def outcome(self, *, with_liar: bool) -> Outcome:
        """Of the checker, from rows as a run of a scenario writes them."""
        rows = [each for each in self.prober.rows() if with_liar or each["viewer"] != f"probe/{LIAR}"]
        asked = {"host": self.site.host.partition(":")[0], "paths": PATH}
        return judged(rows, [self._row(each, asked) for each in self.receipts]).outcome

    def _row(self, receipt: dict[str, Any], asked: dict[str, str]) -> dict[str, Any]:
        return invalidation_row({"id": receipt["invalidation_id"], **asked}, receipt, HostClock().anchor)


@contextmanager
def started_run(lab: SystemLab, folder: Path) -> Iterator[Run]:
    site = lab.make_site()
    lab.put_object(KEY, b"version 1")
    made_ns = host_nanoseconds()
    stamp = f"{STAMP_FIELD}: {ORIGIN};v1;{made_ns};;\r\n"
    liar = ScriptedEdge(lab.http(lab.edges()[0]).rpartition(":")[0], 0, ok(b"version 1", stamp))
    try:
        edges = {edge: lab.http(edge) for edge in lab.edges()} | {LIAR: f"{liar.address}:{liar.port}"}
        with prober(folder, site.host, PATH, edges) as witness:
            run = Run(lab, site, witness, [], versions=1, changed_ns=made_ns)
            run.wait_seen()
            yield run
    finally:
        liar.close()


def check_that_it_is_not_the_time(anchor: ClockAnchor | None) -> None:
    """Else nothing would be shown."""
    assert anchor is not None
    assert abs(anchor.wall_seconds(host_seconds()) - time.time()) >= SMALLEST_STEP_SECONDS / 2


def test_neither_steps_of_wall_clocks_nor_standing_still_turn_a_verdict_around(lab: SystemLab, tmp_path: Path) -> None:
    with control_plane_with_other_clocks(lab), started_run(lab, tmp_path) as run:
        check_that_it_is_not_the_time(run.prober.anchor)
        while_the_prober_stands_still(run)
        while_the_control_plane_stands_still(run)
        while_both_stand_still_now_and_then(run)
        for receipt in run.receipts:
            check_that_it_is_not_the_time(read_anchor(receipt["clock"]))
        assert run.outcome(with_liar=False) is Outcome.VALID
        assert run.outcome(with_liar=True) is Outcome.INVALID


def while_the_prober_stands_still(run: Run) -> None:
    """It reads its clock, stops, and sends its request when the receipt is there; or has sent it, and reads the answer then."""
    run.prober.send(signal.SIGSTOP)
    try:
        run.take_receipt(run.publish())
    finally:
        run.prober.send(signal.SIGCONT)
    run.wait_seen()


def while_the_control_plane_stands_still(run: Run) -> None:
    """Edges have the invalidation, or have not, and it hears of that later."""
    invalidation_id = run.publish()
    with run.lab.stopped(CONTROL_PLANE_ID):
        time.sleep(STANDSTILL_SECONDS)  # what is tested is that time passes
    receipt = run.take_receipt(invalidation_id)
    assert receipt["issued_monotonic_ns"] < receipt["completed_monotonic_ns"]
    run.wait_seen()


def while_both_stand_still_now_and_then(run: Run) -> None:
    invalidation_id = run.publish()
    for number in range(FLICKERS):
        with run.lab.stopped(CONTROL_PLANE_ID) if number % 2 else nullcontext():
            run.prober.send(signal.SIGSTOP)
            time.sleep(0.01 * (number % 7))
            run.prober.send(signal.SIGCONT)
            time.sleep(0.01 * (number % 5))
    run.take_receipt(invalidation_id)
    run.wait_seen()


def test_a_control_plane_in_another_machine_is_not_judged(lab: SystemLab, tmp_path: Path) -> None:
    """As with Docker Desktop. It is also a reboot for the leases and receipts that are in its database."""
    site = lab.make_site()
    lab.wait_completed(site, earlier := lab.invalidate(site, "/*"))
    before = lab.receipt(earlier)
    boot = tmp_path / "boot_id"
    boot.write_text("of-a-virtual-machine\n")
    with control_plane_with_other_clocks(lab, "--boot-id-file", str(boot)), started_run(lab, tmp_path) as run:
        receipt = run.take_receipt(run.publish())
        run.wait_seen()
        assert receipt["clock"]["boot_id"] == "of-a-virtual-machine"
        assert lab.control_status()["clock"] == receipt["clock"]
        assert lab.receipt(earlier) == before, "an old receipt stays what it was"
        for with_liar in (False, True):
            assert run.outcome(with_liar=with_liar) is Outcome.UNKNOWN


def test_every_process_says_whose_clock_it_has(lab: SystemLab) -> None:
    own = HostClock().anchor
    for node_id in (CONTROL_PLANE_ID, ORIGIN, *lab.synchronized()):
        anchor = read_anchor(lab.status(node_id)["clock"])
        assert anchor is not None and anchor.shares_base_with(own)
        assert anchor.monotonic_ns <= host_seconds() * 1e9
