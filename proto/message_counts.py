"""How many messages a node has exchanged with its control planes, and how large they were, by direction and kind. Pure.

What an invalidation or a change costs on the wire is told by these, apart from heartbeats and leases, which cost the same without it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from proto.cdn.v1 import sync_pb2

RECEIVED: Final = "received"
SENT: Final = "sent"


class MessageCounts:
    """Since the process began, over all streams. Bytes are those of the messages as Protocol Buffers, without the framing below them."""

    def __init__(self) -> None:
        self._messages: Counter[tuple[str, ...]] = Counter()
        self._bytes: Counter[tuple[str, ...]] = Counter()

    def count(self, direction: str, message: sync_pb2.ControlMessage | sync_pb2.NodeMessage) -> None:
        """One more. A kind that this build does not know is `unknown`."""
        labels = (direction, message.WhichOneof("kind") or "unknown")
        self._messages[labels] += 1
        self._bytes[labels] += message.ByteSize()

    @property
    def messages(self) -> Mapping[tuple[str, ...], int]:
        """By direction and kind."""
        return self._messages

    @property
    def bytes_of_messages(self) -> Mapping[tuple[str, ...], int]:
        """By direction and kind."""
        return self._bytes
