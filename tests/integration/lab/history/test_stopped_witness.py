"""A prober that is stopped while its request is under way, beside a wall clock that is set: the receipt comes meanwhile, and the request still began before it."""

import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from lab.checkers.quickstart import check_freshness
from lab.checkers.verdict import Outcome
from lab.history.observations import Promise
from lab.history.witnesses import version_body
from proto.host_clock import HostClock
from tests.integration.loadtests.test_viewer import EDGE_1, ScriptedEdge, ok
from tests.integration.prober_process import Prober, prober

DEADLINE_SECONDS = 15.0
HOST, PATH = "d1.cdn.localhost", "/bucket/news/front.txt"


class HeldAnswer:
    """An action of a scripted edge: says that a request is there, and answers when it is told to."""

    def __init__(self, version: int) -> None:
        self.is_asked, self.may_answer, self.is_answered = threading.Event(), threading.Event(), threading.Event()
        self._answer = ok(version_body(version))

    def __call__(self, connection: socket.socket) -> bool:
        self.is_asked.set()
        self.may_answer.wait(DEADLINE_SECONDS)
        is_open = self._answer(connection)
        self.is_answered.set()
        return is_open


def wait_for_sightings(witness: Prober, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(witness.sightings()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("version_after", "outcome"), [(2, Outcome.VALID), (1, Outcome.INVALID)])
def test_an_answer_that_is_read_after_the_receipt_is_of_a_request_from_before(
    tmp_path: Path, version_after: int, outcome: Outcome
) -> None:
    held = HeldAnswer(version=1)
    edge = ScriptedEdge(EDGE_1, 0, held, ok(version_body(version_after)))
    try:
        with prober(tmp_path, HOST, PATH, {"edge-1": f"{EDGE_1}:{edge.port}"}) as witness:
            assert held.is_asked.wait(DEADLINE_SECONDS)
            witness.send(signal.SIGSTOP)
            held.may_answer.set()
            assert held.is_answered.wait(DEADLINE_SECONDS)
            promise = Promise("I1", 2, completed_at=HostClock().now())
            witness.send(signal.SIGCONT)
            wait_for_sightings(witness, 3)
            sightings = witness.sightings()
    finally:
        held.may_answer.set()
        edge.close()
    assert sightings[0].version == 1 and not sightings[0].began_at.is_after(promise.completed_at)
    assert check_freshness(sightings, [promise]).outcome is outcome
