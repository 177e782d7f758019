"""A lab of two regions whose relays are real and whose other nodes sleep: what is at the nodes' addresses is the test's, and so are their clients."""

import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dns.message
import dns.query

from lab.clients.http_client import get_json, is_healthy, split_address
from lab.cluster.node_configuration import write_configuration
from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import StateDir, make_record
from lab.topology.layout import Layout, Role
from lab.topology.model import Topology
from lab.topology.reader import parse_topology
from tests.integration.lab.agent.sleeping_lab import SleepingLab, until

LOOPBACK = "127.71.0.0/16"
ORIGIN, EDGE, FAR_EDGE, FAR_REGIONAL = "origin-1", "edge-iad89-p1-1", "edge-fra56-p1-1", "regional-eu-central-1-1"
LINK, ROUND_TRIP_SECONDS = "us-east-1--eu-central-1", 0.02
SILENCE_SECONDS = 0.4
PATIENCE_SECONDS = 10.0
_FIRST_PORT = 15_000 + 20 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def pair_topology(loopback: str = LOOPBACK) -> Topology:
    """Two regions with a POP and a regional cache each; the origin, the router and the control plane are in the first one."""
    return parse_topology(
        f"""\
name: pair
viewer_port: {_FIRST_PORT}
origin_port: {_FIRST_PORT}
dns_port: {_FIRST_PORT + 1}
admin_port: {_FIRST_PORT + 2}
control_plane: {{api: {_FIRST_PORT + 3}, grpc: {_FIRST_PORT + 4}, admin: {_FIRST_PORT + 5}}}
wan_port: {_FIRST_PORT + 6}
loopback: {loopback}
lease_seconds: 2
regions: [{{name: us-east-1, airport: IAD}}, {{name: eu-central-1, airport: FRA}}]
pops: [{{name: IAD89-P1, region: us-east-1}}, {{name: FRA56-P1, region: eu-central-1}}]
regional_caches: [{{region: us-east-1}}, {{region: eu-central-1}}]
routers: [{{region: us-east-1}}]
origins: [{{name: origin-1, region: us-east-1}}]
populations: [{{region: us-east-1, client_subnet: 10.1.0.0/16}}, {{region: eu-central-1, client_subnet: 10.2.0.0/16}}]
links: [{{between: [us-east-1, eu-central-1], round_trip_ms: {1000 * ROUND_TRIP_SECONDS:g}}}]
""",
        "pair.yaml",
    )


@dataclass(frozen=True, slots=True)
class RelayLab(SleepingLab):
    """See above. The origin is an echo of bytes, the router one of queries."""

    layout: Layout

    @classmethod
    def up(cls, folder: Path) -> "RelayLab":
        state = StateDir(folder / ".cdnlab")
        layout = Layout(pair_topology(), state.path)
        record = make_record(layout, layout.nodes(), sys.executable, secrets.token_hex(4))
        state.make()
        write_configuration(layout)
        asleep = ("sleep", "3600")
        nodes = (node if node.role is Role.WAN else replace(node, command=asleep) for node in record.nodes)
        state.write(replace(record, nodes=tuple(nodes)))
        lab = cls(ProcessCluster(state), layout)
        for node in record.nodes:
            lab.cluster.start(node.id)
        lab.wait_for_relays()
        return lab

    @property
    def api(self) -> str:
        return self.cluster.addresses("wan").admin

    def wait_for_relays(self) -> None:
        until(lambda: is_healthy(self.api), "the relays listen")

    def modelled(self) -> dict[str, Any]:
        """Everything that a fault could have changed."""
        return {"links": get_json(self.api, "/links"), "cuts": get_json(self.api, "/status")["cuts"]}

    def source(self, who: str) -> str:
        """The address of a node, or one of the viewers of a region."""
        regions = [each.name for each in self.layout.topology.regions]
        if who in regions:
            return self.layout.range.viewers(1 + regions.index(who)).replace(".0/24", ".9")
        return self.cluster.addresses(who).http.rpartition(":")[0]

    @property
    def advertised(self) -> tuple[str, int]:
        """Where relays listen for the origin."""
        return split_address(next(each.advertised.http for each in self.layout.nodes() if each.id == ORIGIN))

    def connect(self, who: str) -> socket.socket:
        """From there to the origin. Each read has a deadline."""
        return socket.create_connection(self.advertised, PATIENCE_SECONDS, (self.source(who), 0))

    def is_answered(self, who: str) -> bool:
        """Whether a query from there to the router gets an answer within a moment."""
        host, port = split_address(next(each.advertised.dns for each in self.layout.nodes() if each.id == "dns-1"))
        query = dns.message.make_query("d1.cdn.localhost", "A")
        try:
            dns.query.udp(query, host, SILENCE_SECONDS, port, source=self.source(who))
        except dns.exception.Timeout:
            return False
        return True


def echo(connection: socket.socket, data: bytes) -> tuple[bytes, float]:
    """What comes back of it, until it is all or the connection ends; and after how long. ConnectionResetError."""
    began_at, found = time.monotonic(), b""
    resets: list[ConnectionError] = []
    sending = threading.Thread(target=_send, args=(connection, data, resets), daemon=True)
    sending.start()
    while len(found) < len(data) and (piece := connection.recv(65_536)):
        found += piece
    sending.join()
    if resets and not found:  # the kernel tells of a reset once, and then it was not the reader who heard
        raise ConnectionResetError(str(resets[0]))
    return found, time.monotonic() - began_at


def _send(connection: socket.socket, data: bytes, resets: list[ConnectionError]) -> None:
    try:
        connection.sendall(data)
    except ConnectionError as error:
        resets.append(error)
    except OSError:
        return  # whoever reads has closed it


def is_silent(connection: socket.socket) -> bool:
    """Nothing comes, and no end either."""
    connection.settimeout(SILENCE_SECONDS)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE_SECONDS)
    return False


class EchoOrigin:
    """Answers each connection with what it says, until it has said all; keeps how connections ended."""

    def __init__(self, address: str) -> None:
        self._listening = socket.create_server(split_address(address))
        self.heard = 0
        """Bytes."""
        self.ends: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    self.heard += len(data)
                    connection.sendall(data)
                self.ends.append("end")
            except OSError:
                self.ends.append("reset")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class EchoRouter:
    """Answers each query with itself."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(split_address(address))
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                data, client = self._socket.recvfrom(65_535)
            except OSError:
                return
            if not data:
                return
            self._socket.sendto(data[:2] + b"\x84" + data[3:], client)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._socket.close()


@contextlib.contextmanager
def relay_lab(folder: Path) -> Iterator[tuple[RelayLab, EchoOrigin]]:
    """A lab with its agent, and what is at its addresses; nothing is left of it."""
    lab = RelayLab.up(folder)
    try:
        addresses = lab.cluster.addresses
        with (
            contextlib.closing(EchoOrigin(addresses(ORIGIN).http)) as origin,
            contextlib.closing(EchoRouter(addresses("dns-1").dns)),
        ):
            lab.start_agent()
            yield lab, origin
    finally:
        lab.take_down()
    assert lab.carried() == []
