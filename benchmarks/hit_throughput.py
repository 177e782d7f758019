"""1 KiB cache hits per second over keep-alive on one core: our edge node against nginx's `proxy_cache`, side by side in one run.

Both serve the same object from the same origin with their access logs on, pinned to one core, the load generator (wrk) on the other, in turn, several
rounds; what counts is the ratio of each round. `make bench` runs it; without nginx and wrk it says what to install and measures nothing.
"""

import argparse
import asyncio
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.builders import distribution_message, origin_message
from tests.peers.control_plane import ScriptedControlPlane

HOST = "127.20.0."
ORIGIN = f"{HOST}2"
EDGE = f"{HOST}3:8080"
NGINX = f"{HOST}4:8080"
HOST_HEADER = "Host: d1.cdn.localhost"
OBJECT = "/echo/object?size=1024&cache-control=max-age%3D3600"
SERVER_CORE, LOAD_CORE = "0", "1"
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
"""Servers are often not on the path of a person."""

DISTINCT_OBJECTS = 1_000
CHOOSE_AN_OBJECT = f"""
request = function()
  return wrk.format("GET", "{OBJECT}&number=" .. math.random({DISTINCT_OBJECTS}))
end
"""
"""A connection that asks for another object each time: nothing of the request before helps."""

NGINX_CONFIGURATION = """
{user} daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {folder}/access.log combined buffer=64k flush=1s;
  keepalive_requests 1000000000; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=zone:50m max_size=1g inactive=60m;
  server {{ listen {address}; location / {{
    proxy_pass http://{origin}; proxy_cache zone; proxy_cache_valid 200 1h; proxy_http_version 1.1; add_header Age 0; add_header X-Cache $upstream_cache_status;
  }} }}
}}
"""


@dataclass(frozen=True)
class Round:
    """Requests per second of one round."""

    ours: float
    nginx: float

    @property
    def ratio(self) -> float:
        """Ours by nginx's."""
        return self.ours / self.nginx


def pinned(core: str, *command: str) -> list[str]:
    """The command, on one core where there are several."""
    return ["taskset", "-c", core, *command] if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else list(command)


def find(tool: str) -> str | None:
    """Where a program is, if it is installed."""
    return shutil.which(tool, path=SEARCH_PATH)


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A process whose output goes to a file."""
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)


def measure(address: str, seconds: int, script: Path | None = None) -> float:
    """Requests per second by wrk, 32 connections; a script may choose the objects."""
    options = ["-t1", "-c32", f"-d{seconds}", "-H", HOST_HEADER, *(["-s", str(script)] if script else [])]
    command = pinned(LOAD_CORE, "wrk", *options, f"http://{address}{OBJECT}")
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"wrk against {address} saw errors:\n{output}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found is not None, output
    return float(found[1])


def describe_interpreter(executable: str) -> str:
    """Which CPython, and whether it was built with profile-guided optimisation, as far as it says."""
    variables = " ".join(str(sysconfig.get_config_var(name)) for name in ("CONFIG_ARGS", "PY_CFLAGS", "PY_LDFLAGS"))
    is_optimised = "--enable-optimizations" in variables or os.path.realpath(executable).startswith("/usr/bin/")
    return f"CPython {platform.python_version()} ({'distribution or optimised build' if is_optimised else 'not an optimised build: figures are too low'})"


async def wait_until_hit(address: str) -> None:
    """Ask until the answer comes from the cache; bounded."""
    for _ in range(100):
        command = [
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-D",
            "-",
            "--max-time",
            "2",
            "-H",
            HOST_HEADER,
            f"http://{address}{OBJECT}",
        ]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        if re.search(rb"X-Cache: hit", output, re.IGNORECASE):
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{address} never answered from its cache")


async def compare(rounds: int, seconds: int, script: Path | None) -> list[Round]:
    """In turn, several rounds; the first seconds only fill the caches."""
    results = []
    for address in (EDGE, NGINX):
        await asyncio.to_thread(measure, address, 1, script)
    for _ in range(rounds):
        ours = await asyncio.to_thread(measure, EDGE, seconds, script)
        nginx = await asyncio.to_thread(measure, NGINX, seconds, script)
        results.append(Round(ours, nginx))
        print(f"  edge node {ours:10,.0f}/s   nginx {nginx:10,.0f}/s   ratio {ours / nginx:.2f}", flush=True)
    return results


async def run(rounds: int, seconds: int, folder: Path) -> dict[str, list[Round]]:
    """Start everything, measure in turn, stop everything."""
    processes: list[subprocess.Popen[bytes]] = []
    async with ScriptedControlPlane(f"{HOST}1") as control:
        control.distributions["E1"] = distribution_message(origin_message(ORIGIN, 8000))
        python = sys.executable
        configuration = folder / "nginx.conf"
        configuration.write_text(
            NGINX_CONFIGURATION.format(
                folder=folder, address=NGINX, origin=f"{ORIGIN}:8000", user="user root;" if os.geteuid() == 0 else ""
            )
        )
        edge = [
            python, "-m", "edge_node", "--node-id", "edge", "--role", "edge", "--region", "r", "--pop", "FRA56-P1", "--listen", EDGE,
            "--admin", f"{HOST}3:9100", "--control-plane", control.address, "--state-dir", str(folder / "edge"), "--access-log", str(folder / "edge.log"),
        ]  # fmt: skip
        origin = [
            python,
            "-m",
            "origin",
            "--node-id",
            "origin",
            "--listen",
            f"{ORIGIN}:8000",
            "--admin",
            f"{ORIGIN}:9100",
        ]
        try:
            processes.append(start(origin, folder / "origin.out"))
            processes.append(start(pinned(SERVER_CORE, *edge), folder / "edge.out"))
            processes.append(
                start(pinned(SERVER_CORE, find("nginx") or "nginx", "-c", str(configuration)), folder / "nginx.out")
            )
            for address in (EDGE, NGINX):
                await wait_until_hit(address)
            script = folder / "objects.lua"
            script.write_text(CHOOSE_AN_OBJECT)
            return {
                "the same object": await compare(rounds, seconds, None),
                f"{DISTINCT_OBJECTS:,} objects": await compare(rounds, seconds, script),
            }
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(10)


def main() -> int:
    """Print the table; 0 also when there is nothing to compare with."""
    parser = argparse.ArgumentParser(description="1 KiB hits per second against nginx")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    given = parser.parse_args()
    missing = [tool for tool in ("nginx", "wrk", "curl") if find(tool) is None]
    print(f"1 KiB hit, keep-alive, 32 connections, one core; {describe_interpreter(sys.executable)}")
    if missing:
        print(f"not measured: {' and '.join(missing)} not installed (on Debian: apt-get install nginx-light wrk curl)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(run(given.rounds, given.seconds, Path(folder)))
    for what, rounds in results.items():
        ratios = sorted(result.ratio for result in rounds)
        median = statistics.median(ratios)
        print(
            f"{what}: ratio to nginx {median:.2f} in the median, {ratios[0]:.2f} to {ratios[-1]:.2f} over {len(ratios)} rounds"
        )
    print("goal: at least 1.0 for the same object")
    return 0


if __name__ == "__main__":
    sys.exit(main())
