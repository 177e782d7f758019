"""Sentences about the invalidation journal: killed at whatever operation on a file, a node knows what it acknowledged, or knows that it does not."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.control.client import ControlClient
from edge_node.control.journal_codec import (
    JournalEntry,
    JournalError,
    JournalIdentity,
    entry_record,
    mark,
    replayed,
    whole_journal,
)
from edge_node.storage.node_state import InvalidatedPaths, NodeState
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from tests.builders import behavior_message, distribution_message, entry_message, origin_message, snapshot_message
from tests.depth import examples
from tests.edge_wires import leased_fence

PATHS = ("/", "/a", "/ab", "/b")
PATTERNS = st.sampled_from(("/a", "/ab", "/b", "/*", "/a*"))
IDS = ("E1", "E2")
INVALIDATIONS = st.tuples(st.just("invalidate"), st.sampled_from(IDS), st.lists(PATTERNS, min_size=1, max_size=3))
STEPS = st.one_of(
    INVALIDATIONS,
    INVALIDATIONS,
    st.sampled_from((("nothing",), ("configure",), ("put", "E2"), ("remove", "E2"))),
    st.tuples(st.just("both"), st.sampled_from(IDS), st.lists(PATTERNS, min_size=1, max_size=3)),
    st.tuples(st.just("snapshot"), st.integers(0, 2)),
    st.just(("other log",)),
)
KILLS = st.one_of(st.none(), st.none(), st.tuples(st.integers(1, 12), st.sampled_from(("before", "half", "after"))))
"""At which operation on a file the process is killed while it carries a step out, and whether that operation was done."""


class KilledError(BaseException):
    """kill -9."""


@contextmanager
def killed_at(kill: tuple[int, str] | None) -> Iterator[None]:
    """Everything that changes files counts: writing to the journal, flushing, renaming, removing."""
    remaining = [kill[0] if kill else 0]
    when = kill[1] if kill else ""

    def counting(do: Callable[..., Any], do_half: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            remaining[0] -= 1
            if remaining[0]:
                return do(*arguments, **named)
            if when == "after":
                do(*arguments, **named)
            elif when == "half" and do_half is not None:
                do_half(*arguments, **named)
            raise KilledError

        return operation

    pwrite = os.pwrite

    def half(descriptor: int, data: Any, offset: int) -> None:
        if offset:  # the mark lies within one page, which a killed process has written or not
            pwrite(descriptor, data[: len(data) // 2], offset)

    with pytest.MonkeyPatch.context() as patch:
        if kill is not None:
            patch.setattr(os, "pwrite", counting(pwrite, half))
            patch.setattr(os, "fsync", counting(os.fsync))
            patch.setattr(Path, "replace", counting(Path.replace))
            patch.setattr(Path, "unlink", counting(Path.unlink))
        yield


@dataclass
class Promised:
    """The obvious implementation: everything that was acknowledged, in one list."""

    log_id: str = ""
    index: int = 0
    begun_at: int = 0
    """No response is stored with an earlier stamp: the snapshot that it began with has voided them."""
    entries: list[tuple[int, str, str]] = field(default_factory=list)

    def is_invalidated(self, distribution_id: str, target: str, stamp: int) -> bool:
        return any(
            index > stamp
            and of == distribution_id
            and (target.startswith(path[:-1]) if path.endswith("*") else target == path)
            for index, of, path in self.entries
        )


class Node:
    """Process after process over one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.promised = Promised()
        self.stored: set[tuple[str, int]] = set()
        """What a disk store would hold: logs and stamps."""
        self.is_snapshot = False
        self.has_restarted_cold = False
        """And had no snapshot since."""
        self.start()

    def start(self) -> None:
        self.state = NodeState("eu", leased_fence())
        self.state.invalidate_everything = self.stored.clear
        self.client = ControlClient(self.state, "eu", self.directory, lambda: (0, 0))
        self.client._journal._growth_bytes = 150
        self.restored = self.client.restore()

    def carry_out(self, step: tuple[Any, ...]) -> None:
        """One step, acknowledged when this returns."""
        promised = self.promised
        self.is_snapshot = step[0] in ("snapshot", "other log") or not promised.log_id or self.state.has_forgotten
        if self.is_snapshot:
            self._apply_snapshot(step)
        else:
            index = promised.index + 1
            assert self.client.position() == standing(promised.log_id, promised.index)
            self.client.apply_entry(_entry(promised.log_id, index, step))
            promised.index = index
            promised.entries += [(index, of, path) for of, path in _invalidated(step)]
        self.stored.add((self.promised.log_id, self.state.applied_index))

    def _apply_snapshot(self, step: tuple[Any, ...]) -> None:
        promised = self.promised
        log_id = promised.log_id + "x" if step[0] == "other log" or not promised.log_id else promised.log_id
        index = promised.index + (step[1] if step[0] == "snapshot" else 0)
        distributions = [_distribution(identifier) for identifier in IDS]
        digest = standing(log_id, index).digest
        self.client.apply_snapshot(snapshot_message(index, *distributions, log_id=log_id, digest=digest))
        self.promised = Promised(log_id, index, begun_at=index)

    def restart(self, step: tuple[Any, ...] | None) -> None:
        """After a kill in the middle of this step."""
        self.client.close()
        was_snapshot = self.is_snapshot and step is not None
        self.start()
        if not self.restored.is_warm:
            is_first = not self.promised.log_id
            assert was_snapshot or is_first or self.has_restarted_cold, (
                "only an unfinished snapshot may cost what is stored"
            )
            self.has_restarted_cold = True
            assert not self.stored
            return
        self.has_restarted_cold = False
        log_id, index = self.client.position().log_id, self.client.position().index
        assert self.client.position() == standing(log_id, index), "a digest that is not of its position"
        if was_snapshot and (log_id, index) != (self.promised.log_id, self.promised.index):
            self.promised = Promised(log_id, index, begun_at=index)  # it was finished but for its acknowledgement
            return
        assert log_id == self.promised.log_id
        assert self.promised.index <= index <= self.promised.index + 1
        if index > self.promised.index:
            self.promised.entries += [(index, of, path) for of, path in _invalidated(step)]
        self.promised.index = index

    def check(self) -> None:
        """What is stored is judged as somebody would who has forgotten nothing."""
        log, promised = self.state.invalidations, self.promised
        for log_id, stamp in self.stored:
            assert log_id == promised.log_id and stamp <= log.applied_index
        if self.state.has_forgotten or not promised.log_id:
            return
        for stamp in range(promised.begun_at, promised.index + 1):
            for target in PATHS:
                assert log.is_invalidated("E1", target, stamp) == promised.is_invalidated("E1", target, stamp)


def standing(log_id: str, index: int) -> LogPosition:
    """With a digest that belongs to this position alone."""
    return LogPosition(log_id, index, f"{len(log_id)}:{index}".encode().ljust(16, b"."))


def _entry(log_id: str, index: int, step: tuple[Any, ...]) -> sync_pb2.Entry:
    bodies: list[Message] = []
    deleted = []
    match step[0]:
        case "invalidate":
            bodies.append(configuration_pb2.Invalidation(distribution_id=step[1], paths=step[2]))
        case "configure":
            bodies.append(configuration_pb2.RoutingTable(zone="cdn.localhost"))
        case "put":
            bodies.append(_distribution(step[1]))
        case "remove":
            deleted.append(step[1])
        case "both":
            bodies.append(_distribution(step[1]))
            bodies.append(configuration_pb2.Invalidation(distribution_id="E1", paths=step[2]))
    digest = standing(log_id, index).digest
    return entry_message(index, *bodies, deleted_distributions=deleted, log_id=log_id, digest=digest)


def _invalidated(step: tuple[Any, ...] | None) -> list[tuple[str, str]]:
    """By the step: distributions and paths."""
    if step is None or step[0] not in ("invalidate", "both"):
        return []
    return [("E1" if step[0] == "both" else step[1], path) for path in step[2]]


def _distribution(identifier: str) -> configuration_pb2.Distribution:
    origin = origin_message(host="127.0.0.1", port=8080)
    return distribution_message(origin, behavior_message(), id=identifier, domain_name=f"{identifier}.cdn.localhost")


INVALIDATE = ("invalidate", "E1", ["/a"])


@settings(max_examples=examples(62))
@given(st.lists(st.tuples(STEPS, KILLS), max_size=20))
@example([(("snapshot", 0), None), (INVALIDATE, (1, "half")), (INVALIDATE, (2, "before")), (INVALIDATE, (2, "after"))])
@example(
    [(("snapshot", 0), None), *((("configure",), (at, when)) for at in range(1, 13) for when in ("before", "after"))]
)
@example(
    [(("snapshot", 0), None), *((("other log",), (at, when)) for at in range(1, 13) for when in ("before", "after"))]
)
@example(
    [(INVALIDATE, None)] * 12 + [(("configure",), (3, "before")), (("configure",), None), (INVALIDATE, (1, "before"))]
)
def test_killed_anywhere_a_node_knows_what_it_acknowledged(
    steps: list[tuple[tuple[Any, ...], tuple[int, str] | None]],
) -> None:
    with tempfile.TemporaryDirectory(prefix="journal-") as directory:
        node = Node(Path(directory))
        try:
            for step, kill in steps:
                try:
                    with killed_at(kill):
                        node.carry_out(step)
                except KilledError:
                    node.restart(step)
                node.check()
            node.restart(None)
            node.check()
        finally:
            node.client.close()


@settings(max_examples=examples(50))
@given(st.lists(INVALIDATIONS, min_size=1, max_size=6), st.integers(0, 6), st.data())
def test_a_damaged_journal_is_refused_and_never_answers_otherwise(
    invalidations: list[tuple[str, str, list[str]]], compacted: int, data: st.DataObject
) -> None:
    """Cut anywhere, or with any bit the other way round: an answer that differs from before is never given."""
    origin = JournalIdentity(LogPosition("log-1"), "boot")
    log = InvalidationLog()
    journal = whole_journal(origin, log)
    for index, (_, distribution_id, paths) in enumerate(invalidations, 1):
        log.append(index, distribution_id, paths)
        if index == compacted:
            journal = whole_journal(origin, log)
        else:
            journal += entry_record(JournalEntry(LogPosition(index=index), [InvalidatedPaths(distribution_id, paths)]))
            journal = mark(len(journal)) + journal[len(mark(0)) :]
    assert _answers(replayed(journal, origin)[0]) == _answers(log)
    assert _answers(
        replayed(journal + entry_record(JournalEntry(LogPosition(index=len(invalidations) + 1)))[:-1], origin)[0]
    ) == _answers(log)
    length = data.draw(st.integers(0, len(journal) - 1))
    with pytest.raises(JournalError):
        replayed(journal[:length], origin)
    flipped = bytearray(journal)
    flipped[data.draw(st.integers(0, len(journal) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(JournalError):
        replayed(bytes(flipped), origin)


def _answers(log: InvalidationLog) -> list[bool]:
    return [
        log.is_invalidated(distribution_id, target, stamp)
        for distribution_id in IDS
        for target in PATHS
        for stamp in range(8)
    ] + [log.applied_index == 8]
