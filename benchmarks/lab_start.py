"""How long `cdnlab up --detach` and `cdnlab down` take: `python -m benchmarks.lab_start [--rounds 5]`. Goals: ready within 6 s, gone within 1.5 s.

Each round is what a person does: the command with the default topology, from its start to its exit, which is when a hit through both tiers has been verified. Whether the
lab is really there, and really gone (processes, listeners, files), is checked here once more without the lab's own code.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOPBACK = "127.19.0.0/16"
UP_GOAL_SECONDS = 6.0
DOWN_GOAL_SECONDS = 1.5
COMMAND_SECONDS = 60.0


@dataclass(frozen=True)
class Round:
    """One lab."""

    up_seconds: float
    down_seconds: float
    processes: int


def cdnlab(*arguments: str) -> tuple[float, str]:
    """Seconds and output of one command; its message when it fails."""
    command = shutil.which("cdnlab", path=str(Path(sys.executable).parent)) or shutil.which("cdnlab")
    if command is None:
        raise SystemExit("there is no command cdnlab: run `make setup`")
    began_at = time.monotonic()
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode != 0:
        raise SystemExit(f"cdnlab {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.monotonic() - began_at, done.stdout


def check_is_there(status: dict[str, Any], said: str) -> None:
    """Every node is live, and the hit through both tiers was verified."""
    waiting = [node["id"] for node in status["nodes"] if node["state"] != "live"]
    if waiting or "hit through both tiers" not in said:
        raise SystemExit(f"the lab is not ready although `up` has ended: {waiting}\n{said}")


def leftovers(status: dict[str, Any], state: Path) -> list[str]:
    """Processes, listeners and files of a lab that was taken down."""
    found = [f"process {node['pid']} of {node['id']}" for node in status["nodes"] if is_running(node["pid"])]
    addresses = {
        address for node in status["nodes"] for address in (node["http"], node["admin"], node["dns"]) if address
    }
    found += [f"a listener at {address}" for address in sorted(addresses) if is_listening(address)]
    found += [str(path) for path in sorted(state.parent.iterdir())]
    return found


def is_running(process_id: int) -> bool:
    """Whether a process or one of its threads still works; one that only waits to be collected by its parent (init: the lab was detached) does not."""
    try:
        states = [
            (task / "stat").read_text().rpartition(")")[2].split()[0]
            for task in Path(f"/proc/{process_id}/task").iterdir()
        ]
    except OSError:
        return False
    return any(state not in "ZX" for state in states)


def is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def run_once() -> Round:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        place = ("--state", str(state))
        try:
            up_seconds, said = cdnlab("up", "--detach", "--loopback", LOOPBACK, *place)
            status = json.loads(cdnlab("status", "--json", *place)[1])
            check_is_there(status, said)
        finally:
            down_seconds, _ = cdnlab("down", *place)
        left = leftovers(status, state)
        if left:
            raise SystemExit(f"left behind after `down`: {', '.join(left)}")
        return Round(up_seconds, down_seconds, len(status["nodes"]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring the default lab up and take it down")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    rounds = []
    print(f"{'round':8}{'processes':>10}{'up, s':>10}{'down, s':>10}")
    for number in range(1, given.rounds + 1):
        done = run_once()
        rounds.append(done)
        print(f"{number:<8}{done.processes:10}{done.up_seconds:10.2f}{done.down_seconds:10.2f}", flush=True)
    slowest_up, slowest_down = max(done.up_seconds for done in rounds), max(done.down_seconds for done in rounds)
    up, down = (
        "reached" if slowest <= goal else "missed"
        for slowest, goal in ((slowest_up, UP_GOAL_SECONDS), (slowest_down, DOWN_GOAL_SECONDS))
    )
    print(
        f"goal: ready with a verified hit through both tiers within {UP_GOAL_SECONDS:g} s: {up} (slowest {slowest_up:.2f} s)"
    )
    print(f"goal: gone within {DOWN_GOAL_SECONDS:g} s, nothing left behind: {down} (slowest {slowest_down:.2f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
