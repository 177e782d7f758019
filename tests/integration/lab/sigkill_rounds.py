"""Rounds of SIGKILL on a small lab of real programs: the agent, its watchdog and commands, each at a random moment, and what must be true afterwards.

    python -m tests.integration.lab.sigkill_rounds --rounds 200 --seed 1

A lab that is up is whole again by itself: every node runs, no lease is left, and there is one agent with one watchdog. One that was killed while it came up
or went down is taken down by `down`, or by the next `up`; behind a `down` nothing is left (left_behind.py).
"""

import argparse
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.agent.client import connect
from lab.cluster.agent_record import AgentFolder
from lab.errors import LabError
from tests.integration.lab.left_behind import files_in, processes_of, sockets_in
from tests.integration.lab_harness import CommandLine

EDGE, ORIGIN = "edge-iad89-p1-1", "origin-1"
WITHIN_SECONDS = 30.0
NODES = 6


def tiny(loopback: str) -> str:
    """Six processes, the relays among them: the least that every command works on."""
    return f"""\
name: tiny
viewer_port: 18080
origin_port: 18081
dns_port: 18053
admin_port: 18100
control_plane: {{api: 18566, grpc: 18567, admin: 18568}}
loopback: {loopback}
lease_seconds: 2
regions: [{{name: us-east-1, airport: IAD}}]
pops: [{{name: IAD89-P1, region: us-east-1, edges: 1}}]
regional_caches: [{{region: us-east-1}}]
routers: [{{region: us-east-1}}]
origins: [{{name: origin-1, region: us-east-1}}]
populations: [{{region: us-east-1, client_subnet: 10.1.0.0/16, users: 2}}]
"""


FAULTS = (
    ("kill", EDGE, "--for", "300ms"),
    ("kill", "role:edge,role:origin", "--for", "200ms"),
    ("pause", ORIGIN, "--for", "300ms"),
    ("stop", "control-plane", "--for", "100ms"),
    ("restart", EDGE),
    ("start", EDGE),
    ("slow", ORIGIN, "--by", "10ms", "--for", "400ms"),
    ("faults", "inject", "limit-memory", EDGE, "mib=512", "--for", "300ms"),
    ("faults", "clear", "--all"),
    ("faults", "show"),
)


@dataclass(slots=True)
class Figures:
    """What the rounds came to."""

    rounds: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    downs: list[float] = field(default_factory=list)
    heals: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.rounds.items()))
        victims = ", ".join(f"{count} {what}" for what, count in sorted(self.killed.items()))
        return (
            f"{self.rounds.total()} rounds ({counts}); killed: {victims}\n"
            f"down: {_spread(self.downs)}; whole again after a kill: {_spread(self.heals)}"
        )


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds) or [0.0]
    return f"median {ordered[len(ordered) // 2]:.2f} s, longest {ordered[-1]:.2f} s of {len(seconds)}"


class Rounds:
    """In a folder of its own, on a loopback range of its own."""

    def __init__(self, folder: Path, loopback: str, rng: random.Random) -> None:
        self._folder, self._loopback, self._rng = folder, loopback, rng
        self._cdnlab = CommandLine(folder)
        self._topology = self._cdnlab.topology(tiny(loopback))
        self._is_up = False
        self.figures = Figures()

    def play(self, count: int) -> None:
        """AssertionError, with the number of the round, when something is left or does not heal."""
        kinds: dict[str, Callable[[], None]] = {
            "fault": self._during_a_fault,
            "up": self._during_up,
            "down": self._during_down,
            "load": self._during_load,
        }
        drawn = [*kinds, *self._rng.choices(list(kinds), (50, 25, 15, 10), k=max(0, count - len(kinds)))]
        for number, kind in enumerate(drawn[:count]):
            try:
                kinds[kind]()
            except (AssertionError, LabError) as error:
                raise AssertionError(f"round {number} ({kind}): {error}") from error
            self.figures.rounds[kind] += 1

    def end(self) -> None:
        """AssertionError when a last `down` leaves something."""
        self._take_down()

    def abandon(self) -> None:
        """After a failure nothing is to go on either."""
        self._cdnlab.run("down")

    def _during_a_fault(self) -> None:
        self._bring_up()
        victims = self._rng.sample(("command", "agent", "watchdog"), self._rng.choice((1, 1, 2, 3)))
        command = self._cdnlab.start(*self._rng.choice(FAULTS))
        self._wait(0.15, 0.7)
        self._kill(victims, command)
        _end(command)
        self._until_whole()

    def _during_up(self) -> None:
        self._take_down()
        command = self._cdnlab.start("up", self._topology, "--detach", "--no-demo")
        self._wait(0.0, 2.5)
        self._kill(self._rng.choice((("command",), ("command",), ("command", "agent"))), command)
        _end(command)
        self._then_up_or_down()

    def _during_down(self) -> None:
        self._bring_up()
        command = self._cdnlab.start("down")
        self._wait(0.1, 0.8)
        self._kill(self._rng.choice((("command",), ("command",), ("agent", "command"))), command)
        _end(command)
        self._then_up_or_down()

    def _during_load(self) -> None:
        self._bring_up()
        command = self._cdnlab.start("load", "website", "--duration", "60", "--run", str(self._folder / "run"))
        self._wait(0.3, 3.0)
        self._kill(("command",), command)
        _end(command)
        self._take_down()

    def _then_up_or_down(self) -> None:
        """Either does it. An `up` is refused only where the one that was killed had all but ended, or the `down` had hardly begun: then the lab is whole."""
        if self._rng.random() < 0.5:
            self._take_down()
            return
        up = self._cdnlab.run("up", self._topology, "--detach", "--no-demo")
        assert up.status == 0 or "a lab is running already: tiny (6 of 6 processes)" in up.err, up.err
        self._is_up = True
        self._until_whole()

    def _bring_up(self) -> None:
        if self._is_up:
            return
        up = self._cdnlab.run("up", self._topology, "--detach", "--no-demo")
        assert up.status == 0, up.err
        self._is_up = True
        self._until_whole()

    def _take_down(self) -> None:
        began = time.monotonic()
        down = self._cdnlab.run("down")
        self.figures.downs.append(time.monotonic() - began)
        assert (down.status, down.err) == (0, ""), down
        self._is_up = False
        left = [str(each) for each in processes_of(self._cdnlab.state_dir)] + sockets_in(self._loopback)
        assert left == [], f"left behind: {left}"
        there = [name for name in files_in(self._folder) if name.partition("/")[0] not in ("topology.yaml", "run")]
        assert there == [], f"left behind: {there}"

    def _kill(self, victims: "tuple[str, ...] | list[str]", command: "subprocess.Popen[str]") -> None:
        record = AgentFolder(self._cdnlab.state_dir).read()
        for victim in victims:
            match victim:
                case "command":
                    is_killed = command.poll() is None
                    command.kill()
                case "agent":
                    is_killed = record.agent is not None and record.agent.send(signal.SIGKILL)
                case _:
                    is_killed = record.watchdog is not None and record.watchdog.send(signal.SIGKILL)
            self.figures.killed[victim if is_killed else f"{victim} too late"] += 1

    def _until_whole(self) -> None:
        began = time.monotonic()
        while trouble := self._trouble():
            assert time.monotonic() < began + WITHIN_SECONDS, trouble
            time.sleep(0.05)
        self.figures.heals.append(time.monotonic() - began)

    def _trouble(self) -> str:
        """What is not in order yet."""
        try:
            faults = connect(self._cdnlab.state_dir).faults()
        except LabError as error:
            return str(error)
        found = processes_of(self._cdnlab.state_dir)
        pids = {each.pid for each in found}
        agents = [each for each in found if "lab.agent" in each.command]
        nodes = [
            each for each in found if each not in agents and each.parent not in pids - {agent.pid for agent in agents}
        ]
        if faults or len(agents) != 2 or len(nodes) != NODES or any(each.letter == "T" for each in found):
            return "\n".join(
                [f"faults: {faults}", *(f"{each.pid} {each.letter} {each.command[:90]}" for each in found)]
            )
        return ""

    def _wait(self, least: float, most: float) -> None:
        """A moment that nothing else says."""
        time.sleep(self._rng.uniform(least, most))


def _end(command: "subprocess.Popen[str]") -> None:
    """Its output is read to the end, so that it cannot wait for us; a traceback is no answer."""
    _, said = command.communicate(timeout=60)
    assert "Traceback" not in said, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20261130)
    parser.add_argument("--loopback", default="127.61.0.0/16", metavar="CIDR")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rounds = Rounds(Path(folder).resolve(), given.loopback, random.Random(given.seed))
        began = time.monotonic()
        try:
            rounds.play(given.rounds)
            rounds.end()
        finally:
            print(rounds.figures, flush=True)
            rounds.abandon()
        print(f"nothing was left behind, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
