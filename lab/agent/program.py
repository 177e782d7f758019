"""The agent as a process: alone in its lab, with a watchdog, a port on loopback, and a way to end."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.agent.events import Event, Events
from lab.agent.guarding import Guard, Link
from lab.agent.journal import Journal
from lab.agent.keeper import Keeper, Reached, Surroundings, go_on
from lab.agent.lab_clock import LabClock
from lab.agent.pulse import Pulse
from lab.agent.server import application, lease_document
from lab.agent.service import Seen, Service
from lab.agent.starting import agent_command
from lab.api_server import ApiServer
from lab.cluster.agent_record import AgentFolder, AgentRecord
from lab.cluster.ending import remove_home
from lab.cluster.interface import Cluster
from lab.cluster.process_identity import identify
from lab.cluster.state_file import ContainersRecord, Record, StateDir
from lab.errors import LabError
from lab.faults.lease import Lease
from proto.host_clock import host_seconds, take_anchor

HOST = "127.0.0.1"
# The one before it may still be dying.
_LOCK_SECONDS, _POLL_SECONDS = 2.0, 0.02
_ID_BYTES = 3
MOST_CONNECTIONS = 64
IDLE_SECONDS = 5
"""Of the port: commands ask once, and listeners to events are not idle."""


OpenLab = Callable[[StateDir], Cluster]
"""The lab of a folder, whatever of it runs. LabError when there is none of this kind."""


@dataclass(frozen=True, slots=True)
class Start:
    """How it is started: for which lab, by which watchdog if by one, and where a test has it stop."""

    state_dir: Path
    watchdog: Link | None
    open_lab: OpenLab
    reached: Reached = go_on


class OtherAgentError(LabError):
    """The lab has one."""


def _record(state: StateDir) -> Record:
    record = state.read()
    if record is None:
        raise LabError(f"no lab is in {state.path}")
    return record


def _topology(record: Record) -> str:
    return record.topology if isinstance(record, ContainersRecord) else record.facts.topology


async def run(start: Start) -> None:
    """Until it is told to end, or the lab is gone. LabError when it cannot begin; OtherAgentError when it is not needed."""
    state = StateDir(start.state_dir)
    folder = AgentFolder(state.path)
    folder.make()
    try:
        held = await _lock(folder.lock)
    except OtherAgentError:
        Guard((), start.watchdog, lambda: None).end()
        raise
    with held:
        await _Agent(state, folder, start).serve()
        _leave(state, start)


def _leave(state: StateDir, start: Start) -> None:
    """A folder that is there for the agent alone goes with the lab."""
    record = state.read()
    if isinstance(record, ContainersRecord) and record.is_agents_own:
        with contextlib.closing(start.open_lab(state)) as lab:
            remove_home(state, lab)


class _Agent:
    """The parts, put together."""

    def __init__(self, state: StateDir, folder: AgentFolder, start: Start) -> None:
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._anchor = take_anchor()
        self._events = Events()
        self._listening = _listen(folder.read().address)
        pulse = Pulse()
        command = agent_command(state.path, _record(state))
        self._guard = Guard(command, start.watchdog, self._write_record, lambda: pulse.is_there)
        around = Surroundings(host_seconds, self._anchor.boot_id, _new_id, self._tell, start.reached, pulse.moved)
        keeper = Keeper(start.open_lab(state), Journal(folder.journal), around)
        seen = Seen(start.open_lab(state), _topology(_record(state)), self._anchor)
        clock = LabClock(start.open_lab(state), folder.clock)
        self._service = Service(keeper, seen, self._events, pulse, clock)
        self._is_over = asyncio.Event()

    async def serve(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._end)
        self._guard.ready()
        self._write_record()
        answering = application(self._service, self._anchor, host_seconds, self._folder.token())
        server = ApiServer(answering, MOST_CONNECTIONS, IDLE_SECONDS)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[self._listening]))
            ends = [group.create_task(each) for each in (self._service.keep(host_seconds), self._is_over.wait())]
            watches = (self._service.watch_nodes(), self._service.watch_origins(), self._guard.watch())
            others = [group.create_task(each) for each in watches]
            done, _ = await asyncio.wait([serving, *ends], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # what nobody expects ends the process as a kill would: the watchdog starts it again
            self._end()
            server.leave()
            await asyncio.wait([serving], timeout=1.0)
            for each in (*ends, *others, serving):
                each.cancel()

    def _end(self) -> None:
        """The watchdog is told first, so that it never sees anything else."""
        self._guard.end()
        self._events.end()
        self._is_over.set()

    def _write_record(self) -> None:
        host, port = self._listening.getsockname()
        self._folder.write(AgentRecord(f"{host}:{port}", identify(os.getpid()), self._guard.watchdog))

    def _tell(self, name: str, lease: Lease) -> None:
        """From the keeper's thread."""
        document = lease_document(lease, self._anchor, host_seconds())
        self._loop.call_soon_threadsafe(self._events.tell, Event(name, document))


def _new_id() -> str:
    return f"f-{secrets.token_hex(_ID_BYTES)}"


def _listen(before: str) -> socket.socket:
    """Where the one before it did, so that whoever knows the address finds it there; else anywhere."""
    for port in (int(before.rpartition(":")[2] or 0), 0):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError:
            listening.close()
            continue
        return listening
    raise LabError(f"no port of {HOST} is free for the agent")


async def _lock(path: Path) -> contextlib.closing["_Held"]:
    """Held until the process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = asyncio.get_running_loop().time() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() >= deadline:
                os.close(descriptor)
                raise OtherAgentError("this lab has an agent already") from None
            await asyncio.sleep(_POLL_SECONDS)
            continue
        return contextlib.closing(_Held(descriptor))


@dataclass(frozen=True, slots=True)
class _Held:
    descriptor: int

    def close(self) -> None:
        os.close(self.descriptor)
