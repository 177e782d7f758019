"""A row of the table `requests` of a history (docs/history.md): what one viewer asked for and got. Pure.

The fields are the columns, in their order (a test compares them with lab/history/schema.py).
"""

from typing import NamedTuple


class Asker(NamedTuple):
    """One person who asks, and what of: the part of a row that is the same for all that they ask."""

    profile: str
    region: str
    viewer: str
    client_address: str
    host: str
    """Without a port."""


class RequestRow(NamedTuple):
    """One request, however many attempts it took. Moments are nanoseconds of the host's clock."""

    id: str
    request_id: str | None
    profile: str
    region: str
    viewer: str
    client_address: str | None
    intended_ns: int
    started_ns: int | None
    first_byte_ns: int | None
    ended_ns: int
    dns_answer: str | None
    dns_asked_ns: int | None
    address: str | None
    attempts: int
    method: str
    host: str
    path: str
    identity: str | None
    status: int | None
    x_cache: str | None
    pop: str | None
    age_seconds: int | None
    cache_control: str | None
    entity_tag: str | None
    content_range: str | None
    content_length: int | None
    received_bytes: int
    body_checksum: int | None
    stamp_origin: str | None
    stamp_version: str | None
    stamp_produced_ns: int | None
    stamp_checksum: int | None
    stamp_identity: str | None
    error: str | None
    content_encoding: str | None
