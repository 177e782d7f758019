"""One response on its way from upstream to everybody who waits for it: the body is kept once, each reader has a place in it.

A transfer that is being stored keeps the whole body (the store's budget bounds it) and lets readers join at any time. One that is not keeps a window: it
drops what its slowest reader has passed, and stops reading from upstream when the window is full, so a slow viewer slows its origin and not this node's memory.
Bytes move by calls, not by tasks: `body_arrived` tells the readers, and a reader that is held up by its viewer comes back by itself.
"""

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

from edge_node.caching.decisions import Reason, Result
from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey, KeyedField
from edge_node.errors import UpstreamError
from edge_node.model import Headers, ResponseHead
from edge_node.policy.answers import write_fields
from edge_node.storage.protocol import Writer

WINDOW_BYTES = 262_144
"""Upstream is paused above this many bytes that the slowest reader has not taken, and resumed below a quarter of it."""


class TransferState(Enum):
    """Where a transfer stands."""

    WAITING = auto()
    STREAMING = auto()
    COMPLETE = auto()
    FAILED = auto()


class Reader(Protocol):
    """Somebody who waits for the response; position is an index into the chunks."""

    position: int

    def transfer_started(self, transfer: "Transfer") -> None:
        """The head is there."""

    def transfer_advanced(self, transfer: "Transfer") -> None:
        """There is more body, or the end of it, or an error in the middle."""

    def interim_arrived(self, head: ResponseHead) -> None:
        """An interim response, to be passed on."""

    def may_share(self, varying: tuple[KeyedField, ...]) -> bool:
        """Whether the reader's request says the same in the fields that select the response."""

    def may_have_stale(self, stale: Entry, age_seconds: float) -> bool:
        """Whether the reader's request allows this entry instead of an error."""

    def entry_ready(self, entry: Entry, result: Result, reason: Reason) -> None:
        """Answer from this entry instead: it was confirmed, or stands in for an error. The transfer has ended."""

    def transfer_released(self, error: UpstreamError | None, reason: Reason) -> None:
        """This response is not for you: it cannot be shared or does not come, or it failed before its head. The transfer has forgotten the reader."""


class Flow(Protocol):
    """The upstream end that can be held up."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read on."""


class Transfer:
    """A response in flight."""

    def __init__(self, key: CacheKey | None, distribution_id: str, target: str, stamp: int) -> None:
        self.key = key
        self.distribution_id = distribution_id
        self.target = target
        self.stamp = stamp
        self.state = TransferState.WAITING
        self.head: ResponseHead | None = None
        self.fields: Headers = ()
        self.field_lines = b""
        """The same as they are sent."""
        self.own_lines = b""
        """Fields that only the leader gets."""
        self.writer: Writer | None = None
        self.flow: Flow | None = None
        self.chunks: list[bytes] = []
        self.first_chunk = 0
        """How many chunks have been dropped from the front."""
        self.received_bytes = 0
        self.upstream_result: Result | None = None
        """What a regional cache said of its answer."""
        self.is_shared = True
        """Until the head says that this response is for whoever asked for it alone (reference 2.10)."""
        self.may_be_stored = True
        """Until something makes its target invalid while it comes (RFC 9111 section 4.4)."""
        self.varying: tuple[KeyedField, ...] = ()
        """What the response's Vary makes of the request, once its head is there; before it, that of the stored response which it is about."""
        self.leader: Reader | None = None
        """Who began it, as long as they wait for it: what upstream says may be for them alone. Nobody else takes their place, and in the background there is none."""
        self.readers: list[Reader] = []
        self.patience: asyncio.TimerHandle | None = None
        """Ends the waiting of those who joined."""
        self.abandon: Callable[[], None] | None = None
        """Called when the last reader has left before the end."""
        self.on_start: Callable[[], None] | None = None
        """Called when the head has come, and with it whether the response is for all."""
        self._passed_bytes = 0
        self._is_paused = False

    @property
    def end(self) -> int:
        """Index after the last chunk."""
        return self.first_chunk + len(self.chunks)

    @property
    def is_ended(self) -> bool:
        """Nothing will come any more."""
        return self.state in (TransferState.COMPLETE, TransferState.FAILED)

    @property
    def keeps_chunks(self) -> bool:
        """The whole body stays here until it is stored."""
        return self.writer is not None and self.writer.keeps_chunks

    @property
    def may_join(self) -> bool:
        """The response is for all who ask, as far as is known, and a new reader still finds the body from its beginning."""
        return self.is_shared and not self.is_ended and self.first_chunk == 0

    @property
    def followers(self) -> list[Reader]:
        """Those who joined."""
        return [reader for reader in self.readers if reader is not self.leader]

    def lead(self, reader: Reader) -> None:
        """Add the one who begins it."""
        self.leader = reader
        self.attach(reader)

    def attach(self, reader: Reader) -> None:
        """Add a reader; it is told at once what is already there."""
        reader.position = 0
        self.readers.append(reader)
        if self.state is TransferState.STREAMING:
            reader.transfer_started(self)
            reader.transfer_advanced(self)

    def detach(self, reader: Reader, *, may_abandon: bool = True) -> None:
        """Forget a reader; without any, the transfer is given up (reference 2.9), unless this one was satisfied without the body."""
        if reader is self.leader:
            self.leader = None
        if reader in self.readers:
            self.readers.remove(reader)
            if not self.readers and may_abandon and not self.is_ended and self.abandon is not None:
                self.abandon()
            elif not self.is_ended:
                self.reader_moved()

    def start(self, head: ResponseHead, fields: Headers, writer: Writer | None) -> None:
        """The head has arrived, and what of it viewers get; with a writer the body will be stored."""
        self.head = head
        self.fields = fields
        self.field_lines = write_fields(fields)
        self.writer = writer
        self.state = TransferState.STREAMING
        on_start, self.on_start = self.on_start, None
        if on_start is not None:
            on_start()
        for reader in tuple(self.readers):
            reader.transfer_started(self)

    def serve_entry(self, entry: Entry, result: Result, reason: Reason) -> None:
        """End with an entry that everybody who waits is answered from."""
        self.state = TransferState.COMPLETE
        self.flow = None
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.entry_ready(entry, result, reason)

    def be_for_one(self) -> None:
        """This response is for who began it alone, if they are still there; the others go together (reference 2.10)."""
        self.is_shared = False
        self.release(self.followers, None)

    def release_readers(self, keep: Reader | None, error: UpstreamError | None) -> None:
        """Send everybody but `keep` away to help themselves."""
        self.release([reader for reader in self.readers if reader is not keep], error)

    def release(
        self, leaving: Sequence[Reader], error: UpstreamError | None, reason: Reason = Reason.NOT_STORABLE
    ) -> None:
        """Send some away to help themselves."""
        self.readers = [reader for reader in self.readers if reader not in leaving]
        for reader in leaving:
            reader.transfer_released(error, reason)

    def body_arrived(self, data: bytes) -> None:
        """Keep the chunk, tell the readers, and hold upstream up if they do not follow."""
        self.received_bytes += len(data)
        if self.writer is not None and not self.writer.add(data):
            self.writer = None  # larger than the store admits: from here on only a window is kept
        self.chunks.append(data)
        for reader in tuple(self.readers):
            reader.transfer_advanced(self)
        if not self.keeps_chunks:
            self.reader_moved()
        if self.writer is None and not self.readers and self.abandon is not None:
            self.abandon()  # it went on for the store alone, which does not want it

    def reader_moved(self) -> None:
        """Drop what every reader has passed; hold upstream up or let it go on."""
        if self.keeps_chunks or self.is_ended:
            return
        slowest = min((reader.position for reader in self.readers), default=self.end)
        drop = slowest - self.first_chunk
        if drop > 0:
            self._passed_bytes += sum(map(len, self.chunks[:drop]))
            del self.chunks[:drop]
            self.first_chunk = slowest
        waiting_bytes = self.received_bytes - self._passed_bytes
        if self.flow is None:
            return
        if waiting_bytes > WINDOW_BYTES and not self._is_paused:
            self._is_paused = True
            self.flow.pause()
        elif waiting_bytes < WINDOW_BYTES // 4 and self._is_paused:
            self._is_paused = False
            self.flow.resume()

    def connect_flow(self, flow: Flow | None) -> None:
        """The connection that feeds this transfer now."""
        self.flow = flow
        if flow is not None and self._is_paused:
            flow.pause()
            self.reader_moved()  # the readers may have caught up while there was no connection

    def let_go(self) -> None:
        """What upstream says is no answer to those who wait: they ask by themselves."""
        self.state = TransferState.FAILED
        self.flow = None
        self.drop_writer()
        self.release_readers(None, None)

    def complete(self) -> None:
        """The body is whole."""
        self.state = TransferState.COMPLETE
        self.flow = None
        self._tell_end()

    def fail(self, error: UpstreamError) -> None:
        """Upstream is lost: before the head the readers help themselves, after it they cannot be helped."""
        was_waiting = self.state is TransferState.WAITING
        self.state = TransferState.FAILED
        self.flow = None
        self.drop_writer()
        if was_waiting:
            self.release_readers(None, error)
        else:
            self._tell_end()

    def drop_writer(self) -> None:
        """Nothing will be stored."""
        if self.writer is not None:
            self.writer.abort()
            self.writer = None

    def _tell_end(self) -> None:
        for reader in tuple(self.readers):
            reader.transfer_advanced(self)
