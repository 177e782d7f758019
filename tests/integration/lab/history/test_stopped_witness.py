"""A prober that is stopped while its request is under way, beside a wall clock that is set: the receipt comes meanwhile, and the request still began before it."""

import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from proto.host_clock import host_nanoseconds
from proto.origin_stamp import STAMP_FIELD
from tests.integration.loadtests.test_viewer import EDGE_1, Action, ScriptedEdge, ok
from tests.integration.prober_process import Prober, judged, prober

DEADLINE_SECONDS = 15.0
HOST, PATH = "d1.cdn.localhost", "/bucket/news/front.txt"


def made_at(produced_ns: int) -> Action:
    """An answer that an origin has made then."""
    return ok(b"hello", f"{STAMP_FIELD}: origin-1;v{produced_ns};{produced_ns};;\r\n")


class HeldAnswer:
    """An action of a scripted edge: says that a request is there, and answers when it is told to."""

    def __init__(self, produced_ns: int) -> None:
        self.is_asked, self.may_answer, self.is_answered = threading.Event(), threading.Event(), threading.Event()
        self._answer = made_at(produced_ns)

    def __call__(self, connection: socket.socket) -> bool:
        self.is_asked.set()
        self.may_answer.wait(DEADLINE_SECONDS)
        is_open = self._answer(connection)
        self.is_answered.set()
        return is_open


def wait_for_rows(witness: Prober, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(witness.rows()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("is_new_afterwards", [True, False])
def test_an_answer_that_is_read_after_the_receipt_is_of_a_request_from_before(
    tmp_path: Path, is_new_afterwards: bool
) -> None:
    made_before_ns = host_nanoseconds()
    issued_ns = host_nanoseconds()
    held = HeldAnswer(made_before_ns)
    afterwards = made_at(host_nanoseconds() if is_new_afterwards else made_before_ns)
    edge = ScriptedEdge(EDGE_1, 0, held, afterwards)
    try:
        with prober(tmp_path, HOST, PATH, {"edge-1": f"{EDGE_1}:{edge.port}"}) as witness:
            assert held.is_asked.wait(DEADLINE_SECONDS)
            witness.send(signal.SIGSTOP)
            held.may_answer.set()
            assert held.is_answered.wait(DEADLINE_SECONDS)
            receipt = {
                "id": "I1",
                "host": HOST,
                "paths": PATH,
                "issued_ns": issued_ns,
                "completed_ns": host_nanoseconds(),
            }
            witness.send(signal.SIGCONT)
            wait_for_rows(witness, 3)
            rows = witness.rows()
    finally:
        held.may_answer.set()
        edge.close()
    assert rows[0]["stamp_produced_ns"] == made_before_ns and rows[0]["started_ns"] < receipt["completed_ns"]
    judgement = judged(rows, [receipt])
    assert judgement.judged == len(rows) - 1 and not judgement.doubts
    assert judgement.wrong == (0 if is_new_afterwards else len(rows) - 1)
