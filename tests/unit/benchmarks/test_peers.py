"""What benchmarks do with what they measured: wrk's words, ratios, verdicts, the table; and the requests they send."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.peers.processes import BenchmarkError, cpu_seconds
from benchmarks.peers.requests import BROWSER_HEADERS, request_to, zipf_keys
from benchmarks.peers.results import BEST, Goal, Spread, alone, compared, judge, lines_of, ratios, table, write_results
from benchmarks.peers.session import turns
from benchmarks.peers.thinking import percentile, read_latencies, thinking
from benchmarks.peers.viewers import head_and_body_bytes
from benchmarks.peers.wrk import Load, parse
from benchmarks.profile_hits import read_perf

WRK = """Running 3s test @ http://127.60.1.3:8080/small/one
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   301.33us   95.24us   3.51ms   86.04%
    Req/Sec   105.46k     4.32k  112.31k    70.00%
  314711 requests in 3.00s, 444.81MB read
Requests/sec: 104870.72
Transfer/sec:    148.22MB
"""


def test_the_rates_that_wrk_prints_are_read() -> None:
    assert parse(WRK) == (104870.72, 148.22 * 1024**2)


@pytest.mark.parametrize(("unit", "factor"), [("", 1), ("K", 1024), ("M", 1024**2), ("G", 1024**3)])
def test_units_of_wrk_are_powers_of_1024(unit: str, factor: int) -> None:
    assert parse(WRK.replace("148.22MB", f"2.50{unit}B"))[1] == 2.5 * factor


@pytest.mark.parametrize(
    "line",
    ["  Non-2xx or 3xx responses: 12\n", "  Socket errors: connect 0, read 3, write 0, timeout 0\n"],
)
def test_a_run_in_which_requests_failed_is_refused(line: str) -> None:
    with pytest.raises(BenchmarkError, match="saw errors"):
        parse(WRK + line)


def test_a_run_in_which_nothing_was_answered_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="no request was answered"):
        parse(WRK.replace("104870.72", "0.00"))


def test_output_that_is_not_understood_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="unknown"):
        parse("wrk: cannot connect\n")


SAMPLES = {"edge": [120.0, 90.0, 110.0], "nginx": [100.0, 100.0, 50.0], "varnish": [60.0, 45.0, 55.0]}


def test_a_ratio_is_taken_within_each_round() -> None:
    found = ratios(SAMPLES)
    assert found["nginx"] == Spread(1.2, 0.9, 2.2, 3)
    assert found["varnish"] == Spread(2.0, 2.0, 2.0, 3)
    assert "edge" not in found


def test_servers_with_different_numbers_of_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios({"edge": [1.0], "nginx": [1.0, 2.0]})


def test_the_best_peer_is_the_one_with_the_lowest_ratio() -> None:
    assert judge(Goal(1.3, BEST), ratios(SAMPLES)) == ("at least 1.3 of the best", 1.2, False)


def test_the_best_peer_of_a_latency_is_the_one_with_the_highest_ratio() -> None:
    assert judge(Goal(1.2, BEST, is_at_most=True), ratios(SAMPLES)) == ("at most 1.2 of the best", 2.0, False)


def test_a_goal_against_a_peer_that_did_not_run_has_no_verdict() -> None:
    assert judge(Goal(1.0, "trafficserver"), ratios(SAMPLES)) is None
    assert judge(Goal(1.0, BEST), {}) is None


def test_the_bound_itself_meets_a_goal() -> None:
    assert Goal(600, is_at_most=True).is_met(600)
    assert not Goal(600, is_at_most=True).is_met(600.1)
    assert Goal(0.9).is_met(0.9)
    assert not Goal(0.9).is_met(0.89)


def test_the_table_has_a_line_for_each_figure_with_ratio_spread_goal_and_verdict() -> None:
    first = compared(("hit", "a hit", "requests/s"), SAMPLES, (Goal(1.0, "nginx"), Goal(1.3, BEST)))
    second = alone(("memory", "of an entry", "bytes"), [550.0], Goal(600, is_at_most=True))
    head, hit, memory = table([first, second], ["nginx", "varnish"]).splitlines()
    assert head.split("  ")[0] == "work"
    assert "1.20 (0.90 to 2.20)" in hit
    assert "2.00 (2.00 to 2.00)" in hit
    assert hit.endswith("at least 1 of nginx: met; at least 1.3 of the best: MISSED")
    assert memory.startswith("memory") and memory.endswith("at most 600 bytes: met")


def test_a_figure_is_printed_with_its_spread_and_its_note() -> None:
    figure = compared(("hit", "a hit", "requests/s"), SAMPLES, (Goal(1.0, "nginx"),), "the machine was busy")
    assert lines_of(figure) == [
        "hit: a hit (requests/s)",
        "  edge                   110  (90 to 120, 3 rounds)",
        "  nginx                  100  (50 to 100, 3 rounds)   edge/nginx 1.20 (0.90 to 2.20)",
        "  varnish                 55  (45 to 60, 3 rounds)   edge/varnish 2.00 (2.00 to 2.00)",
        "  goal at least 1 of nginx: met (1.2)",
        "  the machine was busy",
    ]


def test_the_file_of_results_has_the_machine_and_every_figure(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "results.json"
    figure = compared(("hit", "a hit", "requests/s"), SAMPLES, (Goal(1.0, "nginx"),))
    write_results(path, {"cpu": "a fast one"}, [figure])
    read = json.loads(path.read_text())
    assert read["machine"] == {"cpu": "a fast one"}
    assert read["figures"][0]["ratios"]["nginx"] == {"median": 1.2, "lowest": 0.9, "highest": 2.2, "rounds": 3}


def test_every_server_has_its_turn_in_each_round_and_each_comes_first_once() -> None:
    order = list(turns(["a", "b", "c"], 3))
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_a_browser_sends_twenty_fields() -> None:
    lines = request_to("/x", BROWSER_HEADERS).split(b"\r\n")
    assert lines[0] == b"GET /x HTTP/1.1"
    assert lines[-2:] == [b"", b""]
    assert len(lines[1:-2]) == 20
    assert len({line.partition(b":")[0].lower() for line in lines[1:-2]}) == 20


def test_the_second_most_popular_object_is_asked_for_half_as_often_as_the_first() -> None:
    drawn = Counter(zipf_keys(100_000, 1_000, random.Random(1)))
    assert set(drawn) <= set(range(1, 1_001))
    assert drawn[2] / drawn[1] == pytest.approx(0.5, rel=0.05)
    assert drawn[10] / drawn[1] == pytest.approx(0.1, rel=0.1)


def test_thinking_viewers_ask_for_the_same_and_pause() -> None:
    load = thinking(Load("/a", ("X: 1",), "request = nil"), 50_000.0)
    assert (load.target, load.headers, load.connections) == ("/a", ("X: 1",), 500)
    assert load.script.startswith("request = nil") and "local mean = 10.000000" in load.script


def test_the_percentiles_that_wrk_prints() -> None:
    latencies = (
        "  Latency Distribution\n     50%  213.00us\n     75%    1.00ms\n     90%    1.20ms\n     99%    1.25s \n"
    )
    p50, p99 = read_latencies(WRK + latencies)
    assert p50 == pytest.approx(213e-6) and p99 == pytest.approx(1.25)
    with pytest.raises(BenchmarkError, match="no percentiles"):
        read_latencies(WRK)


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([1.0], 0.99) == 1.0
    assert percentile([float(value) for value in range(100)], 0.99) == 99.0
    assert percentile([float(value) for value in range(1_000)], 0.5) == 500.0


def test_the_length_of_an_answer_is_its_head_and_its_content_length() -> None:
    head = b"HTTP/1.1 200 OK\r\nAge: 1\r\nContent-Length: 1024\r\n\r\n"
    assert head_and_body_bytes(head + b"body") == len(head) + 1024


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 5",
    ],
)
def test_an_answer_that_is_no_plain_200_is_refused(answer: bytes) -> None:
    with pytest.raises(BenchmarkError, match="not a plain 200"):
        head_and_body_bytes(answer)


def test_the_cpu_time_of_a_process_counts_its_children() -> None:
    own = cpu_seconds({os.getpid()})
    assert 0 < own <= cpu_seconds({os.getppid()})
    assert cpu_seconds({2**22 + 1}) == 0  # there is no such process (proc(5), pid_max)


def test_shares_of_a_profile_are_added_up_by_part() -> None:
    report = "# Overhead;Shared Object;Symbol\n    10.50%;python3.11;[.] eval\n 20.25%;[kernel.kallsyms];[k] tcp\n  1.00%;python3.11;[.] new\n"
    shares, hottest = read_perf(report)
    assert shares == {"interpreter": 11.5, "kernel": 20.25}
    assert hottest[0] == (20.25, "[kernel.kallsyms]", "[k] tcp")
