"""Latency at a fixed rate: five hundred viewers who each ask, get their answer, and think for a random time before they ask again.

wrk's own loop asks again at once, and so asks less just when a server is slow. Viewers who think for much longer than an answer takes do not: how many ask in a second is
settled by their thinking (exponential times, so that together they come nearly at random), whatever the server does. wrk measures from the sending of a request, in
C, so that a server at half of its rate is measured and not the generator. It counts thinking in whole milliseconds: requests come in small bursts, one each
millisecond, for all servers alike.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peers.processes import BenchmarkError
from benchmarks.peers.wrk import Load, run_wrk

VIEWERS = 500
"""They think for 6 ms at the highest rates, a dozen times as long as an answer takes. wrk looks through all their clocks at each turn: twice as many are too many."""

_THINKING = """
local mean = %(mean_milliseconds).6f
delay = function()
  return math.floor(-mean * math.log(1 - math.random()) + math.random())
end
"""
_LATENCY = re.compile(r"^\s*(50|99)%\s+([\d.]+)(us|ms|s)\s*$", re.MULTILINE)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class LatencySample:
    """Of one run, in seconds; the rate is what was really answered."""

    rate: float
    p50: float
    p99: float
    load_core_busy: float
    """Share of the time in which the generator's core worked: near 1 it is the generator that is measured."""


def thinking(load: Load, rate: float) -> Load:
    """The same requests, from viewers who think: together so many a second, as long as answers take next to no time."""
    script = load.script + _THINKING % {"mean_milliseconds": VIEWERS / rate * 1e3}
    return replace(load, script=script, connections=VIEWERS)


def at_rate(address: str, load: Load, rate: float, seconds: float, folder: Path) -> LatencySample:
    """One run."""
    sample = run_wrk(address, thinking(load, rate), seconds, folder)
    p50, p99 = read_latencies(sample.output)
    return LatencySample(sample.requests_per_second, p50, p99, sample.load_core_busy)


def read_latencies(output: str) -> tuple[float, float]:
    """The median and the 99th percentile that wrk prints, in seconds."""
    found = {share: float(number) * _SECONDS[unit] for share, number, unit in _LATENCY.findall(output)}
    if found.keys() != {"50", "99"}:
        raise BenchmarkError(f"wrk printed no percentiles:\n{output}")
    return found["50"], found["99"]


def percentile(ordered: list[float], share: float) -> float:
    """Of sorted values: the smallest that is not exceeded by this share of them."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
