"""What was seen and done in a run, as values: what witnesses write down and checkers judge.

Times are moments of the host's steady clock (proto/moments.py). What happened at a moment that nobody could hold still for is
kept between two, so that a witness, or the lab, that stood still meanwhile (SIGSTOP, a suspended laptop) is late, and never wrong.
"""

from dataclasses import dataclass

from proto.moments import Moment


@dataclass(frozen=True, slots=True)
class Sighting:
    """One probe of the watched object at one edge; `version` is None when there was no answer to judge."""

    node: str
    began_at: Moment
    """Read before the request was sent."""
    version: int | None
    result: str


@dataclass(frozen=True, slots=True)
class Promise:
    """From `completed_at` on, which the control plane has read, nobody may see a version older than `version`."""

    invalidation_id: str
    version: int
    completed_at: Moment


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What the router told the region of the killed edge; no addresses when it did not answer."""

    asked_at: Moment
    answered_at: Moment
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kill:
    """It happened between these two."""

    began_at: Moment
    ended_at: Moment


@dataclass(frozen=True, slots=True)
class Outage:
    """The edge that was killed, how long the router may still name it, and how long resolvers keep what it said."""

    node: str
    address: str
    kill: Kill
    started_at: Moment | None
    """Read before it was started again; None: it was not."""
    bound_seconds: float
    ttl_seconds: float


@dataclass(frozen=True, slots=True)
class Return:
    """Where the restarted edge and the log stood when the router first named it again."""

    asked_at: Moment
    """The router, for the answer that named it."""
    seen_at: Moment
    """When the edge and the control plane had said where they stand."""
    applied_index: int
    head_index: int


@dataclass(frozen=True, slots=True)
class Failure:
    """One that a viewer saw."""

    began_at: Moment
    """When the viewer meant to send the request."""
    at: Moment
    region: str
    url: str
    address: str
    error: str

    def __str__(self) -> str:
        return f"{self.region} {self.url}: {self.error}"
