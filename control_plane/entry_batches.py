"""Entries as they are sent to nodes that lack several: one message of all that has come since the last one, made once for all who lack the same.

At 50 changes a second, a message and an acknowledgement for each entry and node are what thousands of nodes cost; of ten entries in one message a node says once that it
has them.
"""

from typing import Protocol

MOST_ENTRIES = 128
MOST_BYTES = 64 * 1024
"""Of one message, but for an entry that is larger by itself."""

REMEMBERED_BATCHES = 64
"""Nodes of which one lacks a little more than the other are told with two messages; those who are far behind are few."""

_ENTRIES_TAG = b"\x32"
"""Of ControlMessage.entries: field 6, with a length."""


class EntryFrames(Protocol):
    """See change_log.Frames."""

    def after(self, index: int) -> bytes | None:
        """The serialized ControlMessage with the entry that follows `index`; None at the head."""


class EntryBatches:
    """Serialized ControlMessages with one entry or several."""

    def __init__(self, frames: EntryFrames) -> None:
        self._frames = frames
        self._made: dict[int, tuple[int, bytes]] = {}
        """By the index that comes before."""

    def log_grew(self) -> None:
        """What was made may lack the newest entry."""
        self._made.clear()

    def after(self, index: int) -> tuple[int, bytes] | None:
        """The entries that follow `index`: the last one's index, and the message; None at the head."""
        made = self._made.get(index)
        if made is None:
            made = self._make(index)
            if made is not None:
                if len(self._made) >= REMEMBERED_BATCHES:
                    del self._made[next(iter(self._made))]
                self._made[index] = made
        return made

    def _make(self, index: int) -> tuple[int, bytes] | None:
        entries: list[bytes] = []
        size = 0
        while len(entries) < MOST_ENTRIES and (frame := self._frames.after(index + len(entries))) is not None:
            size += len(frame)
            if entries and size > MOST_BYTES:
                break
            entries.append(frame)
        if not entries:
            return None
        return index + len(entries), entries[0] if len(entries) == 1 else _joined(entries)


def _joined(frames: list[bytes]) -> bytes:
    """A ControlMessage with one entry is the same bytes as one line of an Entries message: both have the entry as field 2 (sync.proto)."""
    body = b"".join(frames)
    return _ENTRIES_TAG + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
