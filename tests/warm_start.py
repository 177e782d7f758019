"""Programs for tests, started by a fork of a process that has imported them already: a start costs a twentieth of the CPU of `python -m PROGRAM`.

For each program the test process keeps one warm process, which has imported `PROGRAM.__main__` and run nothing of it. A start is a fork of it that takes the flags,
the environment and the log file, and calls `main()` as `python -m` would. What differs from a cold start: the imports, the seed of Python's string hashes, which all
forks share, and the parent. So what a test says about imports, limits set before the start, memory of an idle process, or equal choices of several processes is
shown with cold starts: the labs of tests/integration/lab are made of them.
"""

import atexit
import importlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).parent.parent
START_SECONDS = 30.0
_MESSAGE_BYTES = 256 * 1024
_STANDARD_OUTPUT, _STANDARD_ERROR, _FIRST_OTHER_DESCRIPTOR = 1, 2, 3
_STATUS_BYTES = 4
_OF_LABS = ("control_plane", "dns_router", "edge_node", "origin")


class WarmProcess:
    """A started program; the part of subprocess.Popen that tests use."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._handle = -1

    def poll(self) -> int | None:
        """The exit status, once there is one; of a signal its number, negative."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._take_status()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a program that was started warm", timeout or 0.0)
            self._take_status()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens to a process that has ended."""
        if self.poll() is None and self._handle >= 0:
            try:
                signal.pidfd_send_signal(self._handle, number)
            except ProcessLookupError:
                return  # its status is on its way

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _take_status(self) -> None:
        told = os.read(self._status, _STATUS_BYTES)
        assert told, "the warm process has ended before its fork"
        self.returncode = int.from_bytes(told, "little", signed=True)
        for descriptor in (self._status, self._handle):
            if descriptor >= 0:
                os.close(descriptor)


def start(program: str, flags: Sequence[str], *, stderr: IO[bytes]) -> WarmProcess:
    """What `python -m PROGRAM FLAGS` does, in this process's environment, from the root of the repository."""
    status, told = os.pipe()
    message = json.dumps({"flags": list(flags), "environment": dict(os.environ)}).encode()
    channel = _warm(program)
    try:
        socket.send_fds(channel, [message], [_STANDARD_OUTPUT, stderr.fileno(), told])
        answer = channel.recv(_STATUS_BYTES)
        assert answer, f"the warm process of {program} has ended"
    except BaseException:  # a test that ran out of time, for example: its answer must not be taken for the next one's
        channel.close()
        _warm.cache_clear()
        raise
    finally:
        os.close(told)
    return WarmProcess(int.from_bytes(answer, "little"), status)


def start_cold(program: str, flags: Sequence[str], *, stderr: IO[bytes], ulimit: str = "") -> "subprocess.Popen[bytes]":
    """`python -m PROGRAM FLAGS`, for tests of the process itself; `ulimit` is what the shell is told before, as `-n 400`."""
    limited = ("sh", "-c", f'ulimit {ulimit} && exec "$@"', "sh") if ulimit else ()
    return subprocess.Popen([*limited, sys.executable, "-m", program, *flags], cwd=ROOT, stderr=stderr)


def launch(
    command: Sequence[str], log: IO[bytes], environment: Mapping[str, str]
) -> "WarmProcess | subprocess.Popen[bytes]":
    """For labs: `python -m PROGRAM FLAGS` as a fork; any other command as it is."""
    match command:
        case [sys.executable, "-m", program, *flags] if program in _OF_LABS:
            return start(program, flags, stderr=log)
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


@cache
def _warm(program: str) -> socket.socket:
    """The channel to a process that has imported the program; it ends with the channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE_BYTES)
    with theirs:
        command = [sys.executable, "-m", "tests.warm_start", program, str(theirs.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    ours.settimeout(START_SECONDS)
    assert ours.recv(_STATUS_BYTES), f"{program} cannot be imported"
    atexit.register(_end, ours, process)
    return ours


def _end(channel: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    channel.close()
    process.wait(START_SECONDS)


class _Warm:
    """The warm process itself: forks when it is told to, and tells how forks end. One thread, for only that survives a fork."""

    def __init__(self, program: str, channel: socket.socket) -> None:
        self._main = importlib.import_module(f"{program}.__main__")
        self._channel = channel
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, tuple[int, int]] = {}
        """By the handle of a fork: its pid, and where its exit status goes."""

    def serve(self) -> None:
        """Returns in each fork, where `main` is still to be called; ends the process when the channel is closed."""
        assert threading.active_count() == len(os.listdir("/proc/self/task")) == 1, "a thread would not survive a fork"
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._channel.send(b"warm")
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._channel:
                    self._tell_end(key.fd)
                elif self._is_fork():
                    return

    def run(self) -> NoReturn:
        """In a fork: the program."""
        sys.exit(self._main.main())

    def _is_fork(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE_BYTES, _FIRST_OTHER_DESCRIPTOR)
        if not message:
            self._end()
        out, errors, status = descriptors
        pid = os.fork()
        if pid == 0:
            self._become(json.loads(message), out, errors)
            return True
        os.close(out)
        os.close(errors)
        handle = os.pidfd_open(pid)
        self._running[handle] = (pid, status)
        self._selector.register(handle, selectors.EVENT_READ)
        self._channel.send(pid.to_bytes(_STATUS_BYTES, "little"))
        return False

    def _become(self, order: dict[str, object], out: int, errors: int) -> None:
        os.dup2(out, _STANDARD_OUTPUT)
        os.dup2(errors, _STANDARD_ERROR)
        self._selector.close()
        self._channel.close()
        os.closerange(_FIRST_OTHER_DESCRIPTOR, os.sysconf("SC_OPEN_MAX"))
        flags, environment = order["flags"], order["environment"]
        assert isinstance(flags, list) and isinstance(environment, dict)
        sys.argv = [str(self._main.__file__), *flags]
        os.environ.clear()
        os.environ.update(environment)

    def _tell_end(self, handle: int) -> None:
        pid, status = self._running.pop(handle)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._selector.unregister(handle)
        os.close(handle)
        try:
            os.write(status, code.to_bytes(_STATUS_BYTES, "little", signed=True))
        except BrokenPipeError:
            return  # nobody waits for it
        finally:
            os.close(status)

    def _end(self) -> NoReturn:
        for pid, _ in self._running.values():
            os.kill(pid, signal.SIGKILL)
        sys.exit()


if __name__ == "__main__":
    warm = _Warm(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
    warm.serve()
    warm.run()
