"""Counting instructions: what is read out of the words of wrk and callgrind, and what is said of 3 percent."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.peers import instructions
from benchmarks.peers.instructions import CountedEdge, answers, verdict
from benchmarks.peers.processes import BenchmarkError
from benchmarks.peers.servers import Place, Server

WRK = """\
Running 1s test @ http://127.60.1.3:8080/small/one
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms  310.00us   9.10ms   91.00%
  4012 requests in 1.10s, 5.62MB read
Requests/sec:   3647.27
Transfer/sec:      5.11MB
"""
CALLGRIND = """\
PID 7021: /usr/bin/python3 -m edge_node
sending command status internal to pid 7021

  Totals:     Ir{space}
   Th 1  111,576{space}
   Th 12  1,000,000,000{space}
"""


def test_the_answers_of_a_run_are_what_wrk_says() -> None:
    assert answers(WRK) == 4_012


@pytest.mark.parametrize("output", ["", WRK.replace("4012", "99")])
def test_a_run_with_too_few_answers_gives_no_figure(output: str) -> None:
    with pytest.raises(BenchmarkError, match="too few"):
        answers(output)


def edge_that_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, status: int = 0) -> CountedEdge:
    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, status, said, "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(instructions, "program", lambda name: name)
    server = Server("edge", Place(tmp_path, tmp_path, "127.60.1.3:8080"), "", (), "")
    return CountedEdge(server, 7_021)


def test_the_instructions_of_all_threads_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert edge_that_says(monkeypatch, tmp_path, CALLGRIND.format(space=" ")).instructions() == 1_000_111_576


@pytest.mark.parametrize(("said", "status"), [("PID 7021: gone", 0), (CALLGRIND.format(space=" "), 1)])
def test_without_a_count_there_is_no_figure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, status: int
) -> None:
    with pytest.raises(BenchmarkError, match="callgrind_control"):
        edge_that_says(monkeypatch, tmp_path, said, status).instructions()


@pytest.mark.parametrize(
    ("ratios", "expected"), [([0.75, 0.76], "shown"), ([0.99, 1.03], "shown"), ([0.99, 1.04], "MISSED")]
)
def test_the_dearest_round_decides(ratios: list[float], expected: str) -> None:
    assert verdict(ratios).endswith(expected)
