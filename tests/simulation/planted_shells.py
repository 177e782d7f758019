"""Planted bugs in the shells of the product (`sync.py`, `streams.py`, `node_session.py`, `client.py`): mistakes of order, which nothing but a run with them can show."""

from collections.abc import Callable, Iterable
from pathlib import Path

from control_plane.streams import NodeStream
from control_plane.sync import NodeCall, SyncService
from edge_node.control.client import ClientFiles, ControlClient
from edge_node.control.journal import InvalidationJournal
from edge_node.control.journal_codec import JournalEntry, JournalError
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.node_machine import ApplyEntry, Disconnect, Effect, LeaseLost
from tests.simulation.shells import ShellParts, VirtualSession

# proto/node_session.py


class AcknowledgesBeforeItIsApplied(VirtualSession):
    """What follows from an application is carried out before it."""

    def _carry_out_in_order(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ApplyEntry):
                self._outgoing.put(_acknowledgement(effect.entry.index))
            super()._carry_out_in_order((effect,))


class SendsWhatIsLeftOnTheNextStream(VirtualSession):
    """What waits to be written when a stream breaks is written on the one after it."""

    async def _converse_once(self) -> str:
        self._left = list(self._outgoing._messages)
        return await super()._converse_once()

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        super()._carry_out(effects)
        left, self._left = self._left, []
        for message in left:
            if message.HasField("acknowledgement"):
                self._outgoing.put(message)

    _left: list[sync_pb2.NodeMessage] = []  # noqa: RUF012  # replaced, never changed


class GoesOnAfterADisconnect(VirtualSession):
    """A stream is not given up when the machine says so."""

    def _carry_out_in_order(self, effects: Iterable[Effect]) -> None:
        super()._carry_out_in_order([effect for effect in effects if not isinstance(effect, Disconnect)])


class KeepsALeaseThatIsLost(VirtualSession):
    """A node that leaves, or comes to another log, serves by the lease from before."""

    def _carry_out_in_order(self, effects: Iterable[Effect]) -> None:
        super()._carry_out_in_order([effect for effect in effects if not isinstance(effect, LeaseLost)])


# control_plane/sync.py, control_plane/streams.py


class HearsReplacedCalls(SyncService):
    """A call that another one has replaced speaks for the node as well."""

    def _end(self, call: NodeCall, reason: str, *status: object) -> None:
        if reason != "replaced by another stream":
            super()._end(call, reason, *status)  # type: ignore[arg-type]  # handed through

    def _received(self, message: sync_pb2.NodeMessage, stream: NodeStream, now: float) -> None:
        newest = self._streams.get(stream.node_id)
        super()._received(message, stream if newest is None or newest.stream is None else newest.stream, now)


class TakesHeartbeatsForAcknowledgements(SyncService):
    """The applied index in a heartbeat may still be of another log."""

    def _received(self, message: sync_pb2.NodeMessage, stream: NodeStream, now: float) -> None:
        if message.HasField("heartbeat"):
            index = message.heartbeat.applied_index
            self._coordinator.acknowledged(stream.node_id, stream.number, index, now)
        super()._received(message, stream, now)


class TakesWhatIsSentForAcknowledged(SyncService):
    """A node that has acknowledged anything has acknowledged all that it was sent."""

    def _received(self, message: sync_pb2.NodeMessage, stream: NodeStream, now: float) -> None:
        if message.HasField("acknowledgement"):
            index = max(message.acknowledgement.index, stream._sent_index or 0)
            message = _acknowledgement(index)
        super()._received(message, stream, now)


class TakesABrokenStreamForLeaving(SyncService):
    """A node whose stream breaks is not waited for."""

    def forget(self, call: NodeCall, reason: str) -> None:
        if call in self._calls and call.stream is not None:
            self._coordinator.left(call.stream.node_id, call.stream.number, self._clock())
        super().forget(call, reason)


class _WithoutSnapshots(NodeStream):
    __slots__ = ()

    def _next_piece(self) -> bytes | None:
        self._pieces.clear()
        return None


class SendsNoSnapshot(SyncService):
    """A node that has to start over is told what has come since the snapshot that it should have got."""

    def _push(self, call: NodeCall) -> None:
        if call.stream is not None:
            call.stream.__class__ = _WithoutSnapshots
        super()._push(call)


class _EntriesFirst(NodeStream):
    __slots__ = ()

    def _take(self) -> bytes | None:
        return self._next_entries() or super()._take()


class SendsEntriesBeforeTheSnapshot(SyncService):
    """What is committed while a snapshot waits is sent before it."""

    def _push(self, call: NodeCall) -> None:
        if call.stream is not None:
            call.stream.__class__ = _EntriesFirst
        super()._push(call)


class AnswersHeartbeatsAtOnce(SyncService):
    """What a node was told last is said again to each of its heartbeats, before anything is decided of it."""

    def _received(self, message: sync_pb2.NodeMessage, stream: NodeStream, now: float) -> None:
        super()._received(message, stream, now)
        record = self._coordinator.nodes[stream.node_id]
        if message.HasField("heartbeat") and record.is_live:
            lease = sync_pb2.Lease(sequence=message.heartbeat.sequence, head_index=self._store.head_index)
            lease.is_granted, lease.duration_milliseconds = True, round(record.lease_seconds * 1000)
            stream.set_lease(sync_pb2.ControlMessage(lease=lease).SerializeToString())
            self._push(self._streams[stream.node_id])


# edge_node/control/client.py


class BeginsTheJournalBeforeVoiding(ControlClient):
    """A process that is killed between the two leaves responses of one history beside the journal of another."""

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        invalidate_everything, self._state.invalidate_everything = self._state.invalidate_everything, _nothing
        try:
            super().apply_snapshot(snapshot)
        finally:
            self._state.invalidate_everything = invalidate_everything
        invalidate_everything()


class _LateJournal(InvalidationJournal):
    _waiting: JournalEntry | None = None

    def will_apply(self, entry: JournalEntry) -> None:
        waiting, self._waiting = self._waiting, entry
        if waiting is not None:
            super().will_apply(waiting)


class WritesAnEntryWithTheNextOne(ControlClient):
    """What is acknowledged is in the journal when another entry comes."""

    def __init__(
        self, state: NodeState, region: str, place: Path | ClientFiles, load: Callable[[], tuple[int, int]]
    ) -> None:
        super().__init__(state, region, place, load)
        assert isinstance(place, ClientFiles)
        self._journal = _LateJournal(place.journal, state.invalidations, place.boot_id)


class _ResumedAnyway(InvalidationJournal):
    def resume(self, configuration: LogPosition) -> None:
        try:
            super().resume(configuration)
        except JournalError:
            self._log.advance(configuration.index)
            self._log.put_digest(configuration.digest)
            self.begin(configuration)


class GoesOnWithoutAJournal(ControlClient):
    """After a start without a journal that fits, what was stored is served."""

    def __init__(
        self, state: NodeState, region: str, place: Path | ClientFiles, load: Callable[[], tuple[int, int]]
    ) -> None:
        super().__init__(state, region, place, load)
        assert isinstance(place, ClientFiles)
        self._journal = _ResumedAnyway(place.journal, state.invalidations, place.boot_id)


def _nothing() -> None:
    """Nothing is voided."""


def _acknowledgement(index: int) -> sync_pb2.NodeMessage:
    return sync_pb2.NodeMessage(acknowledgement=sync_pb2.Acknowledgement(index=index))


PLANTED_SHELLS: dict[str, ShellParts] = {
    "rule 7: acknowledged before it is applied (session)": ShellParts(session=AcknowledgesBeforeItIsApplied),
    "rule 9: what is left is sent on the next stream": ShellParts(session=SendsWhatIsLeftOnTheNextStream),
    "rule 9: goes on after a disconnect": ShellParts(session=GoesOnAfterADisconnect),
    "rule 10: keeps a lease that is lost": ShellParts(session=KeepsALeaseThatIsLost),
    "rule 5: takes what is sent for acknowledged": ShellParts(service=TakesWhatIsSentForAcknowledged),
    "rule 5: takes a broken stream for leaving": ShellParts(service=TakesABrokenStreamForLeaving),
    "rule 9: hears replaced calls": ShellParts(service=HearsReplacedCalls),
    "rule 9: takes heartbeats for acknowledgements (sync)": ShellParts(service=TakesHeartbeatsForAcknowledgements),
    "rule 9: sends no snapshot": ShellParts(service=SendsNoSnapshot),
    "rule 9: sends entries before the snapshot": ShellParts(service=SendsEntriesBeforeTheSnapshot),
    "lease: answers heartbeats at once": ShellParts(service=AnswersHeartbeatsAtOnce),
    "rule 7: begins the journal before voiding (client)": ShellParts(client=BeginsTheJournalBeforeVoiding),
    "rule 7: writes an entry with the next one": ShellParts(client=WritesAnEntryWithTheNextOne),
    "rule 7: goes on without a journal": ShellParts(client=GoesOnWithoutAJournal),
}

SHELLS_SHOWN_BY: dict[str, int] = {}
"""See planted.SHOWN_BY."""
