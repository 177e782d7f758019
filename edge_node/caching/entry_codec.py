"""An entry as bytes beside its key, stamp and body: what a disk store keeps as metadata. Read only where a checksum has vouched for it.

The layout is this program's own; its first byte is a version, and metadata of another one is no entry.
"""

import struct
from dataclasses import dataclass

from edge_node.caching.entry import Entry
from edge_node.caching.terms import LifetimeRule, Terms

_VERSION = 1
_HEAD = struct.Struct("<BBHddddHHHH")
_STRICT, _MAY_BE_STALE, _ALWAYS_VALIDATED, _IMMUTABLE = 1, 2, 4, 8
_NO_LIFETIME = -1.0


class UnknownLayoutError(ValueError):
    """Metadata of another version, or none of ours."""


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """What the metadata says."""

    status: int
    reason: bytes
    terms: Terms
    is_strict: bool
    age_base: float
    field_lines: bytes


def encode_entry(entry: Entry) -> bytes:
    """The metadata of an entry."""
    terms = entry.terms
    flags = (
        _STRICT * entry.traits.is_strict
        | _MAY_BE_STALE * terms.may_be_stale_on_request
        | _ALWAYS_VALIDATED * terms.is_always_validated
        | _IMMUTABLE * terms.is_immutable
    )
    lifetime = _NO_LIFETIME if terms.lifetime_seconds is None else terms.lifetime_seconds
    rule, without = terms.rule.encode(), b",".join(terms.without_fields)
    head = _HEAD.pack(
        _VERSION,
        flags,
        entry.status,
        entry.age_base,
        lifetime,
        terms.stale_while_revalidate_seconds,
        terms.stale_if_error_seconds,
        len(rule),
        len(without),
        len(entry.traits.reason),
        0,
    )
    return b"".join((head, rule, without, entry.traits.reason, entry.field_lines))


def decode_entry(metadata: bytes) -> EntryRecord:
    """What was encoded; raises UnknownLayoutError."""
    if len(metadata) < _HEAD.size or metadata[0] != _VERSION:
        raise UnknownLayoutError
    _, flags, status, age_base, lifetime, revalidate, error, *lengths, _ = _HEAD.unpack_from(metadata)
    texts: list[bytes] = []
    position = _HEAD.size
    for length in lengths:
        texts.append(metadata[position : position + length])
        position += length
    rule, without, reason = texts
    try:
        terms = Terms(
            None if lifetime == _NO_LIFETIME else lifetime,
            LifetimeRule(rule.decode()),
            stale_while_revalidate_seconds=revalidate,
            stale_if_error_seconds=error,
            may_be_stale_on_request=bool(flags & _MAY_BE_STALE),
            is_always_validated=bool(flags & _ALWAYS_VALIDATED),
            is_immutable=bool(flags & _IMMUTABLE),
            without_fields=tuple(without.split(b",")) if without else (),
        )
    except ValueError as error_:
        raise UnknownLayoutError from error_
    return EntryRecord(status, reason, terms, bool(flags & _STRICT), age_base, metadata[position:])


def is_strict_entry(metadata: bytes) -> bool:
    """Whether the entry belongs to a behavior that follows the RFCs, without reading the rest."""
    return len(metadata) >= _HEAD.size and metadata[0] == _VERSION and bool(metadata[1] & _STRICT)
