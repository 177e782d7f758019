"""A viewer against scripted edges and a scripted router: how requests are answered, retried, moved elsewhere, given up.

Edges and router run in threads on loopback addresses of their own; the viewer runs in the test, on gevent's sockets.
"""

import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from loadtests.connection import Request, Timeouts
from loadtests.plan import Address, LoadPlan
from loadtests.viewer import Viewer
from loadtests.workload import Population

EDGE_1, EDGE_2, EDGE_3, ROUTER = "127.16.1.1", "127.16.1.2", "127.16.1.3", "127.16.1.53"
NAME = "d1.cdn.localhost"
TIMEOUTS = Timeouts(connect_seconds=1.0, read_seconds=0.3)

Action = Callable[[socket.socket], bool]


def ok(body: bytes = b"hello", headers: str = "") -> Action:
    """A whole response; the connection stays open."""

    def act(connection: socket.socket) -> bool:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nX-Cache: Hit from cloudfront\r\n{headers}\r\n"
        connection.sendall(head.encode() + body)
        return "close" not in headers

    return act


def status(code: int) -> Action:
    def act(connection: socket.socket) -> bool:
        connection.sendall(f"HTTP/1.1 {code} Status\r\nContent-Length: 0\r\n\r\n".encode())
        return True

    return act


def cut_short(connection: socket.socket) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    return False


def without_length(connection: socket.socket) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
    return False


def close_without_a_word(connection: socket.socket) -> bool:
    return False


def reset(connection: socket.socket) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


class ScriptedEdge:
    """Takes one action of its script per request, the last one for ever; keeps what it was asked."""

    def __init__(self, address: str, port: int, *script: Action) -> None:
        self.requests: list[tuple[int, str]] = []
        self.address = address
        self._script = list(script)
        self._stopping = threading.Event()
        self._listener = socket.create_server((address, port))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(len(self._connections), connection))
            self._threads.append(thread)
            thread.start()

    def _serve(self, number: int, connection: socket.socket) -> None:
        received = b""
        with connection, suppress(OSError):
            while not self._stopping.is_set():
                while b"\r\n\r\n" not in received:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    received += piece
                head, _, received = received.partition(b"\r\n\r\n")
                self.requests.append((number, head.decode()))
                action = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                if not action(connection):
                    return

    def close_connections(self) -> None:
        """As a server that has had enough of idle clients."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_connections()
        for thread in self._threads:
            thread.join(5)


class ScriptedRouter:
    """Answers A questions with the addresses in `addresses`, over UDP and TCP."""

    def __init__(self, *addresses: str, ttl: int = 60) -> None:
        self.addresses = list(addresses)
        self.ttl = ttl
        self.is_truncating = False
        self.rcode = dns.rcode.NOERROR
        self.questions: list[str] = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((ROUTER, 0))
        self.port: int = self._udp.getsockname()[1]
        self._tcp = socket.create_server((ROUTER, self.port))
        self._threads = [threading.Thread(target=run) for run in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def _answer(self, wire: bytes, transport: str) -> bytes:
        query = dns.message.from_wire(wire)
        subnet = next((option.to_text() for option in query.options), "no subnet")
        self.questions.append(f"{transport} {subnet}")
        reply = dns.message.make_response(query)
        reply.set_rcode(self.rcode)
        if transport == "udp" and self.is_truncating:
            reply.flags |= dns.flags.TC
        elif self.addresses and self.rcode == dns.rcode.NOERROR:
            name = query.question[0].name
            # One set each: dnspython shuffles the records of a set when it writes them.
            reply.answer += [dns.rrset.from_text(name, self.ttl, "IN", "A", address) for address in self.addresses]
        return reply.to_wire()

    def _serve_udp(self) -> None:
        while True:
            wire, client = self._udp.recvfrom(4096)
            if not wire:
                return
            self._udp.sendto(self._answer(wire, "udp"), client)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
                wire = self._answer(connection.recv(length, socket.MSG_WAITALL), "tcp")
                connection.sendall(struct.pack("!H", len(wire)) + wire)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (ROUTER, self.port))
        with suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        self._tcp.close()
        for thread in self._threads:
            thread.join(5)
        self._udp.close()


class Stage:
    """Edges, a router and a viewer, all closed at the end."""

    def __init__(self) -> None:
        self._closers: list[Callable[[], None]] = []
        self._port = 0
        self.dead_routers: tuple[Address, ...] = ()
        """Asked first."""
        self.router = ScriptedRouter()
        self._closers.append(self.router.close)

    def edge(self, address: str, *script: Action) -> ScriptedEdge:
        edge = ScriptedEdge(address, self._port, *script)
        self._port = edge.port
        self._closers.append(edge.close)
        return edge

    def viewer(self, *addresses: str) -> Viewer:
        self.router.addresses = list(addresses)
        population = Population("eu", "10.2.0.0/16", 1)
        first, *others = (*self.dead_routers, Address(ROUTER, self.router.port))
        plan = LoadPlan(first, NAME, self._port, (population,), more_dns=tuple(others))
        viewer = Viewer(plan, population, Random(1), TIMEOUTS)
        self._closers.append(viewer.close)
        return viewer

    def close(self) -> None:
        for close in reversed(self._closers):
            close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    try:
        yield stage
    finally:
        stage.close()


def test_asks_with_its_subnet_keeps_the_answer_and_the_connection(stage: Stage) -> None:
    edge = stage.edge(EDGE_1, ok())
    viewer = stage.viewer(EDGE_1)
    for _ in range(3):
        response = viewer.fetch(Request("/a")).response
        assert response is not None
        assert (response.status, response.body, response.address) == (200, b"hello", EDGE_1)
        assert response.headers["x-cache"] == "Hit from cloudfront"
    (question,) = stage.router.questions
    assert question.startswith("udp ECS 10.2.")
    assert question.endswith(".0/24 scope/0")
    assert [number for number, _ in edge.requests] == [1, 1, 1]
    assert edge.requests[0][1].splitlines()[:2] == ["GET /a HTTP/1.1", f"host: {NAME}:{edge.port}"]


def test_asks_again_when_the_answer_is_too_old(stage: Stage) -> None:
    stage.edge(EDGE_1, ok())
    second = stage.edge(EDGE_2, ok())
    viewer = stage.viewer(EDGE_1)
    stage.router.ttl = 0
    assert viewer.fetch(Request("/a")).address == EDGE_1
    stage.router.addresses = [EDGE_2]
    assert viewer.fetch(Request("/a")).address == EDGE_2
    assert len(stage.router.questions) == 2
    assert len(second.requests) == 1


def test_asks_over_tcp_when_the_answer_does_not_fit(stage: Stage) -> None:
    stage.edge(EDGE_1, ok())
    viewer = stage.viewer(EDGE_1)
    stage.router.is_truncating = True
    assert viewer.fetch(Request("/a")).error == ""
    assert [question.split()[0] for question in stage.router.questions] == ["udp", "tcp"]


@pytest.mark.parametrize("broken", [close_without_a_word, reset])
def test_goes_to_the_next_address_when_one_gives_no_answer(stage: Stage, broken: Action) -> None:
    first = stage.edge(EDGE_1, broken)
    stage.edge(EDGE_2, ok())
    assert stage.viewer(EDGE_1, EDGE_2).fetch(Request("/a")).address == EDGE_2
    assert len(first.requests) == 1


def test_goes_to_the_next_address_when_one_is_refused_or_silent(stage: Stage) -> None:
    def silent(connection: socket.socket) -> bool:
        return bool(connection.recv(1, socket.MSG_PEEK)) and False  # until the viewer gives up

    first = stage.edge(EDGE_2, silent)
    stage.edge(EDGE_3, ok())
    assert stage.viewer(EDGE_1, EDGE_2, EDGE_3).fetch(Request("/a")).address == EDGE_3  # nobody listens on EDGE_1
    assert len(first.requests) == 1


def test_a_kept_connection_that_died_is_replaced_once_at_the_same_address(stage: Stage) -> None:
    edge = stage.edge(EDGE_1, ok())
    stage.edge(EDGE_2, ok())
    viewer = stage.viewer(EDGE_1, EDGE_2)
    viewer.fetch(Request("/a"))
    edge.close_connections()
    exchange = viewer.fetch(Request("/b"))
    assert (exchange.address, exchange.attempts) == (EDGE_1, 2)
    assert [number for number, _ in edge.requests] == [1, 2]


def test_a_request_that_is_not_idempotent_is_sent_once(stage: Stage) -> None:
    first = stage.edge(EDGE_1, close_without_a_word)
    second = stage.edge(EDGE_2, ok())
    exchange = stage.viewer(EDGE_1, EDGE_2).fetch(Request("/a", method="POST", body=b"x"))
    assert (exchange.response, exchange.attempts) == (None, 1)
    assert EDGE_1 in exchange.error
    assert (len(first.requests), len(second.requests)) == (1, 0)


def test_resolves_again_when_no_address_works(stage: Stage) -> None:
    edge = stage.edge(EDGE_2, ok())
    viewer = stage.viewer(EDGE_1)

    def answer_and_move(wire: bytes, transport: str) -> bytes:
        reply = original(wire, transport)
        stage.router.addresses = [EDGE_2]
        return reply

    original = stage.router._answer
    stage.router._answer = answer_and_move  # type: ignore[method-assign]  # the router changes its mind after an answer
    assert viewer.fetch(Request("/a")).address == EDGE_2
    assert len(stage.router.questions) == 2
    assert len(edge.requests) == 1


def test_gives_up_when_all_is_exhausted_and_says_what_was_tried(stage: Stage) -> None:
    stage.edge(EDGE_3, ok())
    viewer = stage.viewer(EDGE_1, EDGE_2)
    exchange = viewer.fetch(Request("/a"))
    assert exchange.error.count("Connection refused") == 4  # two addresses, two answers
    assert (exchange.address, exchange.attempts, exchange.response) == (EDGE_2, 4, None)
    assert exchange.answer is not None and exchange.started_ns is not None
    assert exchange.answer.asked_ns < exchange.ended_ns and exchange.started_ns < exchange.ended_ns
    assert len(stage.router.questions) == 2


def test_an_error_of_the_server_is_not_tried_elsewhere(stage: Stage) -> None:
    stage.edge(EDGE_1, status(503))
    second = stage.edge(EDGE_2, ok())
    exchange = stage.viewer(EDGE_1, EDGE_2).fetch(Request("/a"))
    assert exchange.error == "status 503"
    assert exchange.response is not None
    assert exchange.response.status == 503
    assert second.requests == []


def test_a_body_cut_short_is_a_failure_that_says_how_much_came(stage: Stage) -> None:
    stage.edge(EDGE_1, cut_short)
    second = stage.edge(EDGE_2, ok())
    exchange = stage.viewer(EDGE_1, EDGE_2).fetch(Request("/a", keeps_body=False))
    assert "closed" in exchange.error
    response = exchange.response
    assert response is not None
    assert (response.received_bytes, response.checksum) == (len(b"only this"), zlib.crc32(b"only this"))
    assert second.requests == []


def test_a_body_without_a_length_ends_with_the_connection(stage: Stage) -> None:
    edge = stage.edge(EDGE_1, without_length)
    viewer = stage.viewer(EDGE_1)
    for _ in range(2):
        response = viewer.fetch(Request("/a")).response
        assert response is not None and response.body == b"until the end"
    assert [number for number, _ in edge.requests] == [1, 2]


def test_connection_close_is_obeyed(stage: Stage) -> None:
    edge = stage.edge(EDGE_1, ok(headers="Connection: close\r\n"))
    viewer = stage.viewer(EDGE_1)
    viewer.fetch(Request("/a"))
    viewer.fetch(Request("/b"))
    assert [number for number, _ in edge.requests] == [1, 2]


def test_a_body_that_nobody_looks_at_is_counted_and_dropped(stage: Stage) -> None:
    stage.edge(EDGE_1, ok(b"x" * 300_000))
    exchange = stage.viewer(EDGE_1).fetch(Request("/a", keeps_body=False))
    response = exchange.response
    assert response is not None and exchange.started_ns is not None
    assert (response.body, response.received_bytes) == (b"", 300_000)
    assert response.checksum == zlib.crc32(b"x" * 300_000)
    assert exchange.started_ns < response.first_byte_ns < exchange.ended_ns


def test_a_name_that_the_router_does_not_know_is_a_failure_at_once(stage: Stage) -> None:
    stage.edge(EDGE_1, ok())
    viewer = stage.viewer(EDGE_1)
    stage.router.rcode = dns.rcode.NXDOMAIN
    exchange = viewer.fetch(Request("/a"))
    assert "NXDOMAIN" in exchange.error
    assert (exchange.attempts, exchange.started_ns, exchange.answer) == (0, None, None)
    assert len(stage.router.questions) == 1


def test_a_router_that_is_gone_has_the_next_one_asked_and_is_not_asked_again(stage: Stage) -> None:
    edge = stage.edge(EDGE_1, ok())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((ROUTER, 0))
        stage.dead_routers = (Address(ROUTER, silent.getsockname()[1]),)
        stage.router.ttl = 0
        viewer = stage.viewer(EDGE_1)
        for _ in range(3):
            assert viewer.fetch(Request("/a")).error == ""
        silent.setblocking(False)
        assert silent.recv(4096)
        with pytest.raises(BlockingIOError):  # the first question only
            silent.recv(4096)
    assert len(edge.requests) == len(stage.router.questions) == 3


def test_routers_that_all_fail_are_an_error_with_the_last_reason(stage: Stage) -> None:
    stage.edge(EDGE_1, ok())
    stage.router.rcode = dns.rcode.SERVFAIL
    stage.dead_routers = (Address(ROUTER, stage.router.port),)
    assert "SERVFAIL" in stage.viewer(EDGE_1).fetch(Request("/a")).error
    assert len(stage.router.questions) > 2
