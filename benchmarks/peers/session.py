"""One session: the origin, a scripted control plane, and all servers, each verified to answer from its cache before anything is measured."""

import asyncio
import hashlib
import http.client
import os
import re
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.peers import haproxy, origin, servers
from benchmarks.peers.processes import (
    LOAD_CORE,
    SERVER_CORE,
    START_SECONDS,
    BenchmarkError,
    Programs,
    cpu_seconds,
    programs,
    resident_bytes,
    wait_until,
)
from benchmarks.peers.requests import HOST_NAME
from benchmarks.peers.servers import ECHO_ORIGIN, SLOW_ORIGIN, Place, Server
from tests.builders import behavior_message, distribution_message, listed, origin_message, policy_message
from tests.peers.control_plane import ScriptedControlPlane

CONTROL_HOST = "127.60.0.1"
PORT = 8080
PEERS: dict[str, Callable[[Place], Server]] = {
    "nginx": servers.nginx,
    "varnish": servers.varnish,
    "trafficserver": servers.trafficserver,
    "haproxy": haproxy.haproxy,
}
"""In the order of the table."""
CANNOT: dict[str, Mapping[str, str]] = {"haproxy": haproxy.CANNOT}
"""By peer and row, why it is not in it."""
CHECK_SECONDS = 20.0
WEBSOCKET_POLICY = policy_message(
    id="websocket",
    default_ttl_seconds=0,
    maximum_ttl_seconds=0,
    headers=listed("Sec-WebSocket-Key", "Sec-WebSocket-Version"),
)
"""Nothing is cached; a WebSocket needs these two fields of the viewer at its origin."""


@dataclass
class Session:
    """What rows measure with."""

    folder: Path
    disk_folder: Path
    control: ScriptedControlPlane
    started: Programs
    contents: origin.Contents
    peers: Sequence[str]
    seconds: float
    rounds: int
    running: dict[str, Server] = field(default_factory=dict)
    edge_process: subprocess.Popen[bytes] | None = None
    _places: int = 0

    def place(self, name: str, is_disk: bool) -> Place:
        """A folder and an address that nobody has had."""
        self._places += 1
        folder = self.folder / f"{name}-{self._places}"
        storage = (self.disk_folder if is_disk else self.folder) / f"{name}-{self._places}"
        for each in {folder, storage}:
            each.mkdir(parents=True)
        return Place(folder, storage, f"127.60.{self._places}.3:{PORT}", is_disk)

    def start(self, server: Server, seconds: float = START_SECONDS) -> subprocess.Popen[bytes]:
        """All programs of a server, which answers after so many seconds at most; the first one is the server itself."""
        kept = [
            self.started.start(f"{server.place.folder.name}-{name}", SERVER_CORE, each)
            for name, each in server.commands
        ]
        wait_until(
            lambda: kept[0].poll() is not None or is_answering(server.place.address),
            lambda: (
                f"{server.name} does not listen: {self.started.said(f'{server.place.folder.name}-{server.commands[0][0]}')}"
            ),
            seconds,
        )
        if kept[0].poll() is not None:
            said = self.started.said(f"{server.place.folder.name}-{server.commands[0][0]}")
            raise BenchmarkError(f"{server.name} ended: {said}")
        return kept[0]

    def start_edge(
        self, is_disk: bool = False, control_plane: str | None = None, memory_bytes: int | None = None
    ) -> tuple[Server, subprocess.Popen[bytes]]:
        """One more of ours."""
        place = self.place("edge", is_disk)
        server = servers.edge(place, control_plane or self.control.address, memory_bytes or servers.MEMORY_BYTES)
        return server, self.start(server)

    def start_other(self, name: str, before: Sequence[str], is_disk: bool) -> Server:
        """An edge whose command begins with something else: in another folder, with another environment."""
        server = self.edge_behind(name, self.place(name, is_disk), before)
        self.start(server)
        return server

    def edge_behind(self, name: str, place: Place, before: Sequence[str]) -> Server:
        """The same, not started yet."""
        server = servers.edge(place, self.control.address, servers.MEMORY_BYTES)
        commands = tuple((each, [*before, *command]) for each, command in server.commands)
        return replace(server, name=name, commands=commands)

    def sampled_edge(self, place: Place, runner: list[str]) -> Server:
        """An edge that another module of Python runs."""
        server = servers.edge(place, self.control.address, servers.MEMORY_BYTES)
        ((name, command),) = server.commands
        return replace(server, commands=((name, [command[0], *runner, *command[3:]]),))

    def cpu_seconds(self, server: Server) -> float:
        """What all processes of a server have used so far."""
        prefix = f"{server.place.folder.name}-"
        return cpu_seconds({each.pid for name, each in self.started.processes if name.startswith(prefix)})

    def metric(self, server: Server, name: str) -> float:
        """What one of ours says about itself."""
        with urllib.request.urlopen(f"http://{server.place.host}:9100/metrics", timeout=30) as answer:
            found = re.search(rf"^{name}(?:{{.*}})? ([\d.e+]+)$", answer.read().decode(), re.MULTILINE)
        if found is None:
            raise BenchmarkError(f"the edge has no metric {name}")
        return float(found[1])

    def left_out(self, row: str) -> dict[str, str]:
        """The peers of this session that a row is not measured with, and why."""
        return {name: CANNOT[name][row] for name in self.peers if row in CANNOT.get(name, {})}

    async def start_all(self, is_disk: bool = False, row: str = "") -> dict[str, Server]:
        """Ours and the peers, but those that cannot be in the row."""
        found = {}
        server, process = await asyncio.to_thread(self.start_edge, is_disk)
        if not is_disk:
            self.edge_process = process
        found["edge"] = server
        for name in self.peers:
            if name in self.left_out(row):
                continue
            found[name] = PEERS[name](self.place(name, is_disk))
            await asyncio.to_thread(self.start, found[name])
        return found

    def stop(self, those: dict[str, Server]) -> None:
        """End servers that one row alone needed."""
        prefixes = tuple(f"{server.place.folder.name}-" for server in those.values())
        self.started.end(prefixes)

    def edge_resident_bytes(self) -> int:
        """Of the edge that all rows share."""
        assert self.edge_process is not None
        return resident_bytes(self.edge_process.pid)

    def forget_logs(self) -> None:
        """They would fill the memory that they lie in; their writers append, so they go on at the new end."""
        for log in self.folder.glob("*/**/*access*"):
            if log.is_file() and not log.name.startswith("."):
                os.truncate(log, 0)

    def verify(self, server: Server, target: str, headers: dict[str, str], status: int = 200) -> None:
        """The server answers this from its cache, with the right status and the right bytes."""
        digest = self.contents.digests[target.split("/")[1]]
        deadline_attempts = 100
        for _ in range(deadline_attempts):
            answer = ask(server.place.address, target, headers)
            if answer.is_hit and answer.status == status:
                if status == 200 and hashlib.sha256(answer.body).hexdigest() != digest:
                    raise BenchmarkError(f"{server.name} served other bytes than the origin for {target}")
                return
        raise BenchmarkError(f"{server.name} does not serve {target} as a hit with {status}: {answer}")


@dataclass(frozen=True)
class Answer:
    """What a server said to one request."""

    status: int
    cache: str
    body: bytes = field(repr=False)

    @property
    def is_hit(self) -> bool:
        """By X-Cache, in the words of each server."""
        return self.cache.lower().startswith("hit")


def ask(address: str, target: str, headers: dict[str, str] | None = None) -> Answer:
    """One GET over a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=CHECK_SECONDS)
    try:
        connection.request("GET", target, headers={"Host": HOST_NAME} | (headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.getheader("X-Cache") or "", response.read())
    except (OSError, http.client.HTTPException) as error:
        raise BenchmarkError(f"{address} does not answer {target}: {error}") from error
    finally:
        connection.close()


def turns(names: Sequence[str], rounds: int, first_round: int = 0) -> Iterator[str]:
    """Whose turn it is: all of them in each round, the first of them another one each time."""
    for number in range(first_round, rounds):
        first = number % len(names)
        yield from [*names[first:], *names[:first]]


def is_answering(address: str) -> bool:
    """Whether anything answers a request there."""
    try:
        return ask(address, "/small/ready").status == 200
    except BenchmarkError:
        return False


@asynccontextmanager
async def session(
    folders: tuple[Path, Path], peers: Sequence[str], seconds: float, rounds: int
) -> AsyncIterator[Session]:
    """Start what all rows share; everything has ended afterwards."""
    os.sched_setaffinity(0, {int(LOAD_CORE)} if (os.cpu_count() or 1) > 1 else {0})
    folder, disk_folder = folders
    command, contents = origin.write_origin(folder)
    host, _, port = origin.ADDRESS.partition(":")
    async with ScriptedControlPlane(CONTROL_HOST) as control:
        distribution = distribution_message(
            origin_message(host, int(port)),
            behavior_message("/slow/*", origin_id="slow"),
            behavior_message("/echo/*", origin_id="echo", policy=WEBSOCKET_POLICY),
            behavior_message(),
        )
        for origin_id, address in (("slow", SLOW_ORIGIN), ("echo", ECHO_ORIGIN)):
            other_host, _, other_port = address.partition(":")
            distribution.origins.append(origin_message(other_host, int(other_port), id=origin_id))
        control.distributions["E1"] = distribution
        with programs(folder) as started:
            started.start("origin", LOAD_CORE, command)
            await asyncio.to_thread(wait_until, lambda: is_answering(origin.ADDRESS), lambda: started.said("origin"))
            yield Session(folder, disk_folder, control, started, contents, peers, seconds, rounds)
