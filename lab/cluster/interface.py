"""What a lab is to everybody who works on one: a cluster of nodes that can be looked at, stopped, starved and started again.

Two ways to run one: plain processes on loopback (processes.py) and containers (compose.py). Whoever does something to a node (commands,
experiments, faults) does it through this interface, so that it works on both. Which of them is meant is finding.py's.
"""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.cluster.status import LabStatus, NodeStatus, RunningNode
from lab.errors import LabError, UsageError
from lab.topology.layout import Role

RETURN_SECONDS = 20.0
"""How long a node that was started again has to become live."""

Say = Callable[[str], None]


def say_nothing(_text: str) -> None:
    """For those who do not want to hear of progress."""


@dataclass(frozen=True, slots=True)
class PopulationRecord:
    """Viewers, for the load generator."""

    region: str
    client_subnet: str
    users: int
    source: str = ""
    """The network that they connect from; empty: the system's choice."""


@dataclass(frozen=True, slots=True)
class LabFacts:
    """What holds for a lab as long as it is up. Addresses are those that this machine reaches."""

    topology: str
    zone: str
    endpoint: str
    shared_http: str
    viewer_port: int
    lease_seconds: float
    populations: tuple[PopulationRecord, ...]
    seed: int | None = None
    """From which every random choice of the lab follows (docs/repeating.md); None: none was given."""

    @property
    def users(self) -> int:
        """Over all populations."""
        return sum(each.users for each in self.populations)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this machine reaches a node, host:port; empty for what it does not have."""

    http: str
    admin: str
    dns: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node may use: processors, and memory. None lets that be as it is, 0 takes a limit away."""

    cpus: float | None = None
    memory_mib: int | None = None

    def __post_init__(self) -> None:
        if self.cpus is not None and not 0 <= self.cpus <= MOST_CPUS:
            raise UsageError(f"{self.cpus:g} processors: give 0 for no limit, or up to {MOST_CPUS}")
        if self.memory_mib and self.memory_mib < LEAST_MEMORY_MIB:
            raise UsageError(f"{self.memory_mib} MiB of memory: give 0 for no limit, or at least {LEAST_MEMORY_MIB}")


LEAST_MEMORY_MIB = 16
"""No program of the lab starts with less; the engine's own minimum is 6."""
MOST_CPUS = 1024


@dataclass(frozen=True, slots=True)
class Executed:
    """How a command beside a node has ended; `output` is all that it printed."""

    status: int
    output: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """What taking a lab down came to. `what` are the things that ended: processes or containers."""

    stopped: int
    killed: int
    seconds: float
    what: str = "processes"


class NotPausedError(LabError):
    """There is nothing to unpause."""


class Cluster(Protocol):
    """A lab that is up. Every action is about one node, by its id: UsageError for an id that there is not, LabError when it cannot be done."""

    @property
    def facts(self) -> LabFacts:
        """What holds for the whole lab; LabError when it is not up any more."""

    @property
    def is_up(self) -> bool:
        """Whether it is still there: somebody else may have taken it down."""

    @property
    def mark(self) -> Mapping[str, str]:
        """Environment of what works for this lab beside it, such as the load generator: if it is left behind, taking the lab down ends it (sweep.py)."""

    def status(self) -> LabStatus:
        """Every node as it is now."""

    def nodes(self) -> tuple[RunningNode, ...]:
        """Every node as far as it is known without asking it."""

    def addresses(self, node_id: str) -> Addresses:
        """Of a node, whether it runs or not."""

    def start(self, node_id: str) -> None:
        """Starts a node that does not run, as it was first started and with what it kept; returns at once."""

    def stop(self, node_id: str) -> None:
        """Has a node end in order, and waits for it. Nothing happens when it does not run."""

    def restart(self, node_id: str) -> None:
        """Stops a node and starts it again."""

    def kill(self, node_id: str) -> None:
        """SIGKILL: no drain, no goodbye. It is gone when this returns."""

    def pause(self, node_id: str) -> None:
        """Nothing of it runs any more, and its connections stay: as when a machine hangs."""

    def unpause(self, node_id: str) -> None:
        """It goes on where it stood. NotPausedError when the lab knows that it was not paused."""

    def signal(self, node_id: str, number: signal.Signals) -> None:
        """Any other signal."""

    def set_limits(self, node_id: str, limits: Limits) -> None:
        """From now on, also after a restart."""

    def limits(self, node_id: str) -> Limits:
        """Those that it has: 0 for none, None for what cannot be limited in this lab."""

    def logs(self, node_id: str, count: int, *, is_followed: bool = False) -> Iterator[str]:
        """The last `count` lines that it has printed and, if wanted, what follows until it ends."""

    def exec(self, node_id: str, command: Sequence[str]) -> Executed:
        """Runs a command where the node runs, and waits for its end (for a bounded time)."""

    def fetch_history(self, node_id: str, folder: Path) -> None:
        """Copies what the node has written of a history into a folder that is there, whether it runs or not: as it is now, so that last lines may be cut.
        Nothing where it has written none."""

    def wait_until_live(self, node_id: str, timeout_seconds: float = RETURN_SECONDS) -> NodeStatus:
        """The node's status once it has its lease; LabError when it has not in time, or has died."""

    def abandon(self) -> Stopped:
        """Ends everything after a start that failed; what explains it (logs) stays where it is, as far as it can."""

    def take_down(self) -> Stopped:
        """Ends everything, and leaves nothing behind. Does nothing when that has been done."""

    def close(self) -> None:
        """Ends the observation, not the lab."""


def first_of_role(status: LabStatus, role: Role) -> NodeStatus | None:
    """The one that commands use when any will do."""
    return next(iter(status.of_role(role)), None)
