"""How long a viewer may take, and how fast it has to be: for a head, a body, the next request, and for what it is sent.

A limit between two pieces alone is none: a body of one byte a second has no end. So bodies and answers have a least rate, counted over a window, and a viewer that is
slower is cut off. No RFC has a number; Apache's `mod_reqtimeout` asks for 500 bytes a second of bodies after 20 seconds. Only time in which the node
reads, or has something to send, counts: a body that upstream does not take, and an answer that does not come, are not the viewer's fault.
"""

import math
from typing import Final

HEAD_TIMEOUT_SECONDS: Final = 10.0
"""From the first byte of a head to its last; slower is a slow-loris."""
IDLE_TIMEOUT_SECONDS: Final = 65.0
"""Between two requests on a connection."""
BODY_WINDOW_SECONDS: Final = 30.0
"""Over which the rate of a request's body is looked at, and so the longest pause in it: the slowest mobile networks and a change of cell fit in."""
STALL_TIMEOUT_SECONDS: Final = 60.0
"""Over which the rate of an answer is looked at. Kernels hand on what was read in steps of up to 64 KiB (a half of the receiver's buffer, or one segment of loopback),
so that a shorter window would take a slow viewer for one that has gone."""
LEAST_BYTES_A_SECOND: Final = 500
"""Modems are twelve times as fast. At this rate a body holds its connection for no more than 2,000 seconds per megabyte."""
LINGER_SECONDS: Final = 2.0
"""After an answer that came before the request was read whole: closing at once would reset the connection, and the answer with it (RFC 9112 section 9.6)."""

LEAST_BODY_BYTES: Final = int(LEAST_BYTES_A_SECOND * BODY_WINDOW_SECONDS)
LEAST_SENT_BYTES: Final = int(LEAST_BYTES_A_SECOND * STALL_TIMEOUT_SECONDS)


class Deadline:
    """When a connection is looked at next, and what has to have happened by then."""

    __slots__ = ("at", "body_bytes", "unsent_bytes")

    def __init__(self, now: float) -> None:
        self.at = now + HEAD_TIMEOUT_SECONDS
        self.body_bytes = 0
        """Of a request's body, read in this window."""
        self.unsent_bytes = 0
        """At the start of this window."""

    def expect_head(self, now: float) -> None:
        """The rest of a head that has begun."""
        self.at = now + HEAD_TIMEOUT_SECONDS

    def expect_request(self, now: float) -> None:
        """The next one."""
        self.at = now + IDLE_TIMEOUT_SECONDS

    def expect_body(self, now: float) -> None:
        """A window of a body begins."""
        self.body_bytes = 0
        self.at = now + BODY_WINDOW_SECONDS

    def expect_taking(self, now: float, unsent_bytes: int) -> None:
        """A window begins in which the viewer has to take of what waits for it."""
        self.unsent_bytes = unsent_bytes
        self.at = now + STALL_TIMEOUT_SECONDS

    def expect_nothing(self) -> None:
        """What the connection carries has its own limits (`delivery/tunnel.py`)."""
        self.at = math.inf

    def linger(self, now: float) -> None:
        """The end."""
        self.at = now + LINGER_SECONDS

    def has_come_fast_enough(self) -> bool:
        """The body, in this window."""
        return self.body_bytes >= LEAST_BODY_BYTES

    def was_taken_fast_enough(self, unsent_bytes: int) -> bool:
        """What waited, in this window; as long as there is something left."""
        return 0 < unsent_bytes <= self.unsent_bytes - LEAST_SENT_BYTES
