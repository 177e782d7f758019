"""Moves the lab's clock (docs/time-travel.md): the origins are told first, then the log, which tells every node.

In this order, so that no node ever meets a response that was made long before it by its own clock. How far it is ahead is kept in the agent's folder: an origin knows
nothing when it starts, and no log tells it. What the control plane says counts, as soon as it can be asked.
"""

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.clients.http_client import Reply, UnreachableError, ask
from lab.cluster.interface import Cluster
from lab.cluster.secret_files import write_secret
from lab.cluster.status import RunningNode
from lab.errors import LabError, UsageError
from lab.topology.layout import CONTROL_PLANE_ID, Role
from proto.lab_clock import MOST_AHEAD_SECONDS, problem_with

PATH = "/clock"
CONTROL_PLANE_SECONDS = 5.0
"""It answers when the database has taken the entry."""
ORIGIN_SECONDS = 0.5
_JSON = [("content-type", "application/json")]
_ABSENT = "the control plane was started without --allow-faults: only a lab travels in time"


@dataclass(frozen=True, slots=True)
class Moved:
    """The lab's clock after a move. `index` is of the entry of the log; `untold` are origins that did not answer, and are told once they do."""

    ahead_seconds: float
    index: int
    told: tuple[str, ...]
    untold: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """As the agent answers (docs/contracts.md)."""
        origins = [{"id": each, "told": True} for each in self.told] + [
            {"id": each, "told": False} for each in self.untold
        ]
        return {"ahead_seconds": self.ahead_seconds, "index": self.index, "origins": origins}


Ask = Callable[[str, str, bytes | None, float], Reply]
"""Address (host:port), method, body if one is sent, and for how long to wait. UnreachableError."""


def ask_port(address: str, method: str, body: bytes | None, seconds: float) -> Reply:
    """The clock of an admin port."""
    return ask(address, PATH, method=method, headers=_JSON, body=body, timeout_seconds=seconds)


class LabClock:
    """From any thread; one move at a time."""

    def __init__(self, lab: Cluster, file: Path, ask_clock: Ask = ask_port) -> None:
        """`file` is of the agent's folder: there once the clock has been moved."""
        self._lab, self._file, self._ask = lab, file, ask_clock
        self._turn = threading.Lock()
        self._ahead_seconds = _read(file)

    @property
    def is_ahead(self) -> bool:
        """Whether there is anything to tell an origin."""
        return self._ahead_seconds > 0

    def forward(self, seconds: float) -> Moved:
        """Returns when the log has it. LabError, and nothing has moved, when the control plane does not take it; UsageError for what is no time to go forward."""
        with self._turn:
            ahead_seconds = self._control_plane_says() + seconds
            problem = problem_with(ahead_seconds)
            if not 0 < seconds <= MOST_AHEAD_SECONDS or problem is not None:
                raise UsageError(problem or "the lab's clock only goes forward, by up to 100 years")
            self._keep(ahead_seconds)
            told, untold = self._tell_origins(ahead_seconds)
            try:
                reply = self._ask_control_plane("POST", _document(ahead_seconds))
            except LabError:
                self._follow_control_plane()  # it may have it all the same, or not
                raise
            return Moved(ahead_seconds, int(reply["index"]), told, untold)

    def look_after_origins(self) -> None:
        """Tell those that have been started since the last time. Whoever does not answer is told the next time."""
        if self._turn.acquire(blocking=False):
            try:
                self._follow_control_plane()
            finally:
                self._turn.release()

    def _follow_control_plane(self) -> None:
        """A backup that was restored, or a move of which the answer was lost: what the log says counts."""
        with suppress(LabError):
            says = self._control_plane_says()
            if says != self._ahead_seconds:
                self._keep(says)
        self._tell_origins(self._ahead_seconds)

    def _control_plane_says(self) -> float:
        return float(self._ask_control_plane("GET", None)["ahead_seconds"])

    def _ask_control_plane(self, method: str, body: bytes | None) -> dict[str, float]:
        address = self._lab.addresses(CONTROL_PLANE_ID).admin
        try:
            reply = self._ask(address, method, body, CONTROL_PLANE_SECONDS)
        except UnreachableError as error:
            raise LabError(
                f"the control plane does not answer, and without it the clock cannot be moved: {error}"
            ) from error
        if reply.status == 404:
            raise LabError(_ABSENT)
        if reply.status != 200:
            raise LabError(f"the control plane refuses: {reply.body[:200].decode('utf-8', 'replace').strip()}")
        said: dict[str, float] = json.loads(reply.body)
        return said

    def _tell_origins(self, ahead_seconds: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Those that know it now, and the others."""
        origins = [node for node in self._lab.nodes() if node.role is Role.ORIGIN]
        told = tuple(node.id for node in origins if self._tell(node, ahead_seconds))
        return told, tuple(node.id for node in origins if node.id not in told)

    def _tell(self, origin: RunningNode, ahead_seconds: float) -> bool:
        if not origin.is_running:
            return False
        try:
            return self._ask(origin.admin, "POST", _document(ahead_seconds), ORIGIN_SECONDS).status == 200
        except UnreachableError:
            return False

    def _keep(self, ahead_seconds: float) -> None:
        fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            write_secret(fresh, _document(ahead_seconds))
            os.replace(fresh, self._file)
        except OSError as error:
            raise LabError(f"{self._file} cannot be written: {error.strerror}") from error
        self._ahead_seconds = ahead_seconds


def _document(ahead_seconds: float) -> bytes:
    return json.dumps({"ahead_seconds": ahead_seconds}).encode()


def _read(file: Path) -> float:
    """0 where there is none, or one that cannot be understood: the control plane knows."""
    try:
        return float(json.loads(file.read_text(encoding="utf-8"))["ahead_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
