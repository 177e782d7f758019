"""wrk(1): its scripts, what it prints, and which of its results are refused."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.processes import LOAD_CORE, SERVER_CORE, BenchmarkError, core_seconds, pinned, program
from benchmarks.peers.requests import BROWSER_HEADERS, HOST_NAME

_UNITS = {"": 1.0, "K": 1024.0, "M": 1024.0**2, "G": 1024.0**3, "T": 1024.0**4}


@dataclass(frozen=True)
class Sample:
    """What one run of wrk measured."""

    requests_per_second: float
    bytes_per_second: float
    server_core_busy: float
    """Share of the time in which the measured core worked: far below 1, the figure says little about the server."""
    load_core_busy: float
    """The same of the other core: at 1 it may be the load generator that is measured."""
    output: str = ""
    """All that it printed."""


@dataclass(frozen=True)
class Load:
    """What wrk asks for."""

    target: str
    headers: tuple[str, ...] = ()
    script: str = ""
    """Lua; may choose the requests, in which case target only names the address."""
    connections: int = 32
    host: str = HOST_NAME
    """Which distribution is asked."""


def parse(output: str) -> tuple[float, float]:
    """Requests a second and bytes a second; an error if any request failed, or none was answered."""
    if "Non-2xx" in output or "Socket errors" in output:
        raise BenchmarkError(f"wrk saw errors:\n{output}")
    requests = re.search(r"^Requests/sec:\s+([\d.]+)", output, re.MULTILINE)
    transfer = re.search(r"^Transfer/sec:\s+([\d.]+)([KMGT]?)B", output, re.MULTILINE)
    if requests is None or transfer is None:
        raise BenchmarkError(f"wrk printed something unknown:\n{output}")
    if float(requests[1]) == 0:
        raise BenchmarkError(f"no request was answered: the machine is too busy, or the run too short\n{output}")
    return float(requests[1]), float(transfer[1]) * _UNITS[transfer[2]]


def run_wrk(address: str, load: Load, seconds: float, folder: Path) -> Sample:
    """One run, on the core of the load."""
    options = ["-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "--latency"]
    for header in (f"Host: {load.host}", *load.headers):
        options += ["-H", header]
    if load.script:
        script = folder / "wrk.lua"
        script.write_text(load.script)
        options += ["-s", str(script)]
    command = pinned(LOAD_CORE, [program("wrk"), *options, f"http://{address}{load.target}"])
    before = [core_seconds(core) for core in (SERVER_CORE, LOAD_CORE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    after = [core_seconds(core) for core in (SERVER_CORE, LOAD_CORE)]
    if done.returncode != 0:
        raise BenchmarkError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    shares = [(b[0] - a[0]) / max(b[1] - a[1], 1e-9) for a, b in zip(before, after, strict=True)]
    return Sample(*parse(done.stdout), shares[0], shares[1], done.stdout)


# -- scripts

_ZIPF = """
local keys, draws, exponent = %(keys)d, 65536, %(exponent)g
local requests, sequence, turn = {}, {}, 0
init = function(args)
  math.randomseed(%(seed)d)
  for key = 1, keys do requests[key] = wrk.format("GET", "/small/%(prefix)s" .. key) end
  local total, bounds = 0, {}
  for key = 1, keys do total = total + key ^ -exponent; bounds[key] = total end
  for draw = 1, draws do
    local wanted, low, high = math.random() * total, 1, keys
    while low < high do
      local middle = math.floor((low + high) / 2)
      if bounds[middle] < wanted then low = middle + 1 else high = middle end
    end
    sequence[draw] = requests[low]
  end
end
request = function()
  turn = turn %% draws + 1
  return sequence[turn]
end
"""

_EACH_ONCE = """
local number, head, tail = %(first)d, nil, nil
init = function(args)
  local whole = wrk.format("GET", "/%(path)s/@")
  local at = string.find(whole, "@", 1, true)
  head, tail = string.sub(whole, 1, at - 1), string.sub(whole, at + 1)
end
request = function()
  number = number + 1
  if %(last)d > 0 and number > %(last)d then number = %(first)d + 1 end
  return head .. "%(prefix)s" .. number .. tail
end
"""


def zipf_script(keys: int, exponent: float = 1.0, seed: int = 1, prefix: str = "k") -> str:
    """Objects of which the k-th is asked for k^-exponent times as often as the first; requests are made beforehand."""
    return _ZIPF % {"keys": keys, "exponent": exponent, "seed": seed, "prefix": prefix}


def each_once_script(prefix: str, path: str = "small", first: int = 0, last: int = 0) -> str:
    """One object after the other; round and round between first and last where there is a last."""
    return _EACH_ONCE % {"prefix": prefix, "path": path, "first": first, "last": last}


def browser_headers() -> tuple[str, ...]:
    """As wrk takes them."""
    return tuple(f"{name}: {value}" for name, value in BROWSER_HEADERS.items())
