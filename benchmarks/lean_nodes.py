"""Thousands of nodes in one process, so cheap that the control plane is what is measured: the Sync stream by hand over HTTP/2 (RFC 9113), a connection for each.

They keep the protocol's rules that cost the control plane something (hello with the position, acknowledgement of all that has come, a beat each second, connecting again
with a jitter as `proto/node_session.py` does) and nothing else: a message that another node has had is not parsed again, and directories are counted only.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from proto.cdn.v1 import sync_pb2

BEAT_SECONDS: Final = 1.0
FIRST_RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 2.0
ATTEMPT_SECONDS: Final = 2.0
"""Until the first word of the control plane; then the node tries again."""
READ_SECONDS: Final = 0.1

WINDOW: Final = 4 * 1024 * 1024
_FIRST_WINDOW: Final = 65_535
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACKNOWLEDGED, _END_HEADERS = 1, 1, 4
_STREAM: Final = 1
_REMEMBERED_MESSAGES: Final = 512

_ENTRY_TAG, _ENTRIES_TAG, _SNAPSHOT_TAG, _LEASE_TAG = 0x12, 0x32, 0x0A, 0x1A
"""First bytes of a ControlMessage: its one field."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """Without indexing and without Huffman's code (RFC 7541 section 6.2.2)."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _opening(scheme: bytes) -> bytes:
    pairs = [
        (b":method", b"POST"),
        (b":scheme", scheme),
        (b":path", b"/cdn.v1.ControlPlane/Sync"),
        (b":authority", b"control-plane"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
    settings = b"\x00\x04" + WINDOW.to_bytes(4, "big")
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _frame(_SETTINGS, 0, 0, settings)
        + _frame(_WINDOW_UPDATE, 0, 0, (WINDOW - _FIRST_WINDOW).to_bytes(4, "big"))
        + _frame(_HEADERS, _END_HEADERS, _STREAM, b"".join(_literal(*pair) for pair in pairs))
    )


def _message(message: sync_pb2.NodeMessage) -> bytes:
    data = message.SerializeToString()
    return _frame(_DATA, 0, _STREAM, b"\x00" + len(data).to_bytes(4, "big") + data)


@dataclass
class Tally:
    """What all nodes together have met."""

    connections: int = 0
    broken: int = 0
    snapshots: int = 0
    entries: int = 0
    entry_messages: int = 0
    acknowledgements: int = 0
    leases: int = 0
    directories: int = 0
    bytes_received: int = 0


@dataclass
class Fleet:
    """All nodes of one process."""

    host: str
    ports: Sequence[int]
    """Of the control planes. A node begins with one of them, as many at each, and takes the next one after each connection that it loses or does not get."""
    tls: Mapping[str, ssl.SSLContext] = field(default_factory=dict)
    """By the id of the node; those that are not there connect without."""
    tally: Tally = field(default_factory=Tally)
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    nodes: list["LeanNode"] = field(default_factory=list)
    _parsed: dict[bytes, sync_pb2.ControlMessage] = field(default_factory=dict)

    def add(self, identities: Iterable[sync_pb2.Node]) -> None:
        """More nodes, which know nothing."""
        self.nodes += [LeanNode(self, identity, number) for number, identity in enumerate(identities)]

    def start(self) -> None:
        """All connect now."""
        for node in self.nodes:
            node.start()

    async def stop(self) -> None:
        """All are gone without a word."""
        for node in self.nodes:
            node.stop()
        await asyncio.sleep(0.1)

    def leased(self) -> int:
        """How many hold a lease by their own clock."""
        now = time.monotonic()
        return sum(node.lease_until > now for node in self.nodes)

    def lowest_index(self) -> int:
        """What all have applied."""
        return min(node.index for node in self.nodes)

    def parse(self, data: bytes) -> sync_pb2.ControlMessage:
        """The message; once for all nodes that get the same."""
        message = self._parsed.get(data)
        if message is None:
            message = sync_pb2.ControlMessage.FromString(data)
            if len(self._parsed) >= _REMEMBERED_MESSAGES:
                del self._parsed[next(iter(self._parsed))]
            self._parsed[data] = message
        return message


class LeanNode(asyncio.Protocol):
    """One node, and the connection that it has now."""

    def __init__(self, fleet: Fleet, identity: sync_pb2.Node, number: int) -> None:
        self._fleet = fleet
        self._identity = identity
        self._address = number
        self._incarnation = fleet.rng.getrandbits(63) | 1
        self.log_id, self.index, self.digest = "", 0, b""
        self.lease_until = 0.0
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._messages = bytearray()
        self._unreported = 0
        """Bytes of the window that are used and not given back."""
        self._credit = _FIRST_WINDOW
        self._sequence = 0
        self._sent_at: dict[int, float] = {}
        self._has_heard = False
        self._has_applied = False
        """Something that is not acknowledged yet."""
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._is_stopped = True
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._is_stopped = False
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def stop(self) -> None:
        """Be gone."""
        self._is_stopped = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _connect(self) -> None:
        fleet, tls = self._fleet, self._fleet.tls.get(self._identity.id)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                await asyncio.get_running_loop().create_connection(
                    lambda: self,
                    fleet.host,
                    fleet.ports[self._address % len(fleet.ports)],
                    ssl=tls,
                    server_hostname=None if tls is None else "control-plane",
                )
        except (OSError, TimeoutError):
            if (
                self._transport is not None
            ):  # connected in the moment in which it was given up: uvloop says nothing more of it
                self._transport.abort()
                self._transport = None
            self._retry()

    def _retry(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._is_stopped:
            return
        self._address += 1
        seconds = self._retry_seconds * self._fleet.rng.uniform(0.5, 1.0)
        self._retry_seconds = min(LONGEST_RETRY_SECONDS, self._retry_seconds * 2)
        self._timer = asyncio.get_running_loop().call_later(seconds, self.start)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say everything that a node says at once."""
        self._transport = tcp = cast(asyncio.Transport, transport)
        self._buffer.clear()
        self._messages.clear()
        self._sent_at.clear()
        self._sequence, self._unreported, self._credit, self._has_heard = 0, 0, _FIRST_WINDOW, False
        self._fleet.tally.connections += 1
        hello = sync_pb2.Hello(
            node=self._identity,
            log_id=self.log_id,
            applied_index=self.index,
            digest=self.digest,
            incarnation=self._incarnation,
            process=self._incarnation,
        )
        scheme = b"https" if self._fleet.tls else b"http"
        tcp.write(_opening(scheme) + _message(sync_pb2.NodeMessage(hello=hello)))
        self._beat()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(ATTEMPT_SECONDS, self._look)

    def _look(self) -> None:
        """Nothing has come yet; unless it waits to be read here, because this process is late."""
        self._timer = asyncio.get_running_loop().call_later(READ_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if not self._has_heard and self._transport is not None:
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """Connect again."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_stopped:
            self._fleet.tally.broken += 1
            if self._has_heard:
                self._retry_seconds = FIRST_RETRY_SECONDS
            self._retry()

    def data_received(self, data: bytes) -> None:
        """Frames."""
        self._fleet.tally.bytes_received += len(data)
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= 9:
            end = at + 9 + int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) < end:
                break
            self._received(buffer[at + 3], buffer[at + 4], bytes(buffer[at + 9 : end]))
            at = end
        del buffer[:at]
        self._take_messages()

    def _received(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _DATA:
            self._messages += payload
            self._unreported += len(payload)
            if self._unreported > WINDOW // 4:
                update = self._unreported.to_bytes(4, "big")
                self._unreported = 0
                self._write(_frame(_WINDOW_UPDATE, 0, 0, update) + _frame(_WINDOW_UPDATE, 0, _STREAM, update))
        elif kind == _SETTINGS and not flags & _ACKNOWLEDGED:
            self._write(_frame(_SETTINGS, _ACKNOWLEDGED, 0, b""))
        elif kind == _PING and not flags & _ACKNOWLEDGED:
            self._write(_frame(_PING, _ACKNOWLEDGED, 0, payload))
        elif kind == _WINDOW_UPDATE:
            self._credit += int.from_bytes(payload, "big") // 2  # of the connection and of the stream, mostly in pairs
        elif kind in (_RESET, _GO_AWAY) or (kind == _HEADERS and flags & _END_STREAM):
            self._abort()

    def _take_messages(self) -> None:
        messages, at = self._messages, 0
        while len(messages) - at >= 5:
            end = at + 5 + int.from_bytes(messages[at + 1 : at + 5], "big")
            if len(messages) < end:
                break
            self._told(bytes(messages[at + 5 : end]))
            at = end
        del messages[:at]
        if self._has_applied:
            self._has_applied = False
            self._fleet.tally.acknowledgements += 1
            self._send(sync_pb2.NodeMessage(acknowledgement=sync_pb2.Acknowledgement(index=self.index)))

    # The protocol

    def _told(self, data: bytes) -> None:
        """The first beat after the first is at a random moment, so that the beats of all are spread."""
        if not self._has_heard:
            self._has_heard = True
            if self._timer is not None:
                self._timer.cancel()
            seconds = self._fleet.rng.uniform(0.0, BEAT_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._tick)
        tally, tag = self._fleet.tally, data[0]
        if tag == _ENTRY_TAG:
            tally.entry_messages += 1
            self._apply(self._fleet.parse(data).entry)
        elif tag == _ENTRIES_TAG:
            tally.entry_messages += 1
            for entry in self._fleet.parse(data).entries.entries:
                self._apply(entry)
        elif tag == _LEASE_TAG:
            self._leased(sync_pb2.ControlMessage.FromString(data).lease)
        elif tag == _SNAPSHOT_TAG:
            tally.snapshots += 1
            snapshot = self._fleet.parse(data).snapshot
            self.log_id, self.index, self.digest = snapshot.log_id, snapshot.index, snapshot.digest
            self._has_applied = True
        else:
            tally.directories += 1

    def _apply(self, entry: sync_pb2.Entry) -> None:
        if entry.index == self.index + 1:
            self._fleet.tally.entries += 1
            self.index, self.digest = entry.index, entry.digest
            self._has_applied = True

    def _leased(self, lease: sync_pb2.Lease) -> None:
        sent_at = self._sent_at.get(lease.sequence)
        self._fleet.tally.leases += 1
        if lease.is_granted and sent_at is not None:
            self.lease_until = max(self.lease_until, sent_at + lease.duration_milliseconds / 1000)

    def _tick(self) -> None:
        self._beat()
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._tick)

    def _beat(self) -> None:
        self._sequence += 1
        self._sent_at[self._sequence] = time.monotonic()
        self._sent_at.pop(self._sequence - 32, None)
        beat = sync_pb2.Heartbeat(sequence=self._sequence, applied_index=self.index)
        self._send(sync_pb2.NodeMessage(heartbeat=beat))

    def _send(self, message: sync_pb2.NodeMessage) -> None:
        frame = _message(message)
        if self._credit < len(frame):
            if self._transport is not None:
                self._transport.abort()
            return
        self._credit -= len(frame)
        self._write(frame)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
