"""One recorded request, whatever format it was read from. Pure."""

from typing import NamedTuple


class TraceRequest(NamedTuple):
    """A tuple and not a dataclass: a trace has millions."""

    at_seconds: float
    """After the first request of the trace; never earlier than that of the one before."""
    target: str
    """Path and query as a viewer would ask for it; begins with `/`. Two requests for one object have the same."""
    size_bytes: int
    """Of the whole body of the object, without its head; 0 when the trace does not say."""
    region: str = ""
    """Where the viewer was, as the trace calls it; empty: it does not say."""
    lifetime_seconds: float | None = None
    """How long the answer may be reused; None: the trace does not say, and whoever replays it decides."""
    method: str = "GET"
