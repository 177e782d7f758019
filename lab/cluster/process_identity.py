"""Which process is meant: a pid alone may have been given to somebody else, so the time of its start is part of its name.

Linux tells both from /proc; elsewhere `ps` does. A zombie is dead: it holds no socket and no file.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Often enough that `down` loses nothing to waiting; a look at 12 processes costs about 0.3 ms.
_POLL_SECONDS = 0.01
_PS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that was running once. `started` is empty when it had ended before it could be seen."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        return bool(self.started) and started_at(self.pid) == self.started

    def send(self, number: signal.Signals) -> bool:
        """Whether the signal reached this very process."""
        if not self.is_alive:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def identify(pid: int) -> ProcessIdentity:
    """The process that has this pid now."""
    return ProcessIdentity(pid, started_at(pid))


def started_at(pid: int) -> str:
    """When the process with this pid was started; empty when there is none that lives."""
    return _from_proc(pid) if _BOOT_ID.exists() else _from_ps(pid)


def _from_proc(pid: int) -> str:
    """Field 22 of proc(5) `stat`, in ticks since boot, and which boot. The name (field 2) may hold spaces and parentheses."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
    state, ticks = fields[0], fields[19]
    return "" if state in "ZX" and not _has_other_threads(pid) else f"{boot}/{ticks}"


def _has_other_threads(pid: int) -> bool:
    """After a signal that kills, the first thread is a zombie while others still end, and with them the sockets."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def _from_ps(pid: int) -> str:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=_PS_SECONDS, check=False)
    state, _, started = answer.stdout.strip().partition(" ")
    return "" if not state or state.startswith("Z") else started.strip()


def end_all(processes: Iterable[ProcessIdentity], grace_seconds: float, reap: Callable[[], None]) -> int:
    """SIGTERM to all at once, SIGKILL to those that are left after the grace; how many had to be killed. One that is stopped goes on, to end in order.

    `reap` collects children of our own, which stay zombies otherwise.
    """
    left = [process for process in processes if process.send(signal.SIGTERM)]
    for process in left:
        process.send(signal.SIGCONT)
    left = wait_until_gone(left, grace_seconds, reap)
    for process in left:
        process.send(signal.SIGKILL)
    wait_until_gone(left, grace_seconds, reap)
    return len(left)


def wait_until_gone(
    processes: Iterable[ProcessIdentity], timeout_seconds: float, reap: Callable[[], None]
) -> list[ProcessIdentity]:
    """Those that are still there when the time is over."""
    left = list(processes)
    deadline = time.monotonic() + timeout_seconds
    while True:
        left = [process for process in left if process.is_alive]
        reap()
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(_POLL_SECONDS)
