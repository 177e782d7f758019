"""What a tunnel joins: two ends that give and take bytes of which nobody here knows the meaning (RFC 9110 section 7.8, RFC 6455).

An end is bytes, credit, end and reset, and never a socket: in HTTP/1.1 it is what is left of a connection, in HTTP/2 a stream whose bytes are framed as DATA (RFC 8441).
`delivery/tunnel.py` joins two of them.
"""

from typing import Protocol


class TunnelReceiver(Protocol):
    """Who is told what the peer at one end does."""

    def bytes_arrived(self, data: bytes) -> None:
        """The peer has sent something."""

    def peer_ended(self) -> None:
        """It has said all; it may still listen."""

    def credit_returned(self) -> None:
        """It takes more."""

    def end_lost(self, *, is_reset: bool) -> None:
        """Once, and last: this end is gone. A reset: not in an orderly way."""

    def node_leaves(self) -> None:
        """This node ends what it has under way."""


class TunnelEnd(Protocol):
    """One end. Whatever is done with it after it is gone goes nowhere."""

    sent_bytes: int
    """To the peer, since the head that made a tunnel of the exchange."""
    received_bytes: int
    """From it, handed to the receiver."""

    @property
    def is_open(self) -> bool:
        """Somebody has it."""

    def open(self, receiver: TunnelReceiver) -> None:
        """From now on its bytes go there, first those that had come behind the head. Called once; nothing is read before."""

    def send(self, data: bytes) -> None:
        """Send bytes; they are kept for the peer if it has no credit."""

    @property
    def is_write_blocked(self) -> bool:
        """No credit. `TunnelReceiver.credit_returned` says when there is some again."""

    @property
    def unsent_bytes(self) -> int:
        """What is kept for the peer."""

    def pause(self) -> None:
        """Take no more bytes of the peer for now."""

    def resume(self) -> None:
        """Take them again."""

    def end(self) -> None:
        """Nothing more will be sent; the peer is told behind all that was."""

    def close(self) -> None:
        """Nothing more will be sent or heard; gone when the peer has taken all that was sent."""

    def reset(self) -> None:
        """Gone at once; the peer is told that it was no orderly end."""
