"""An entry as bytes beside its key, stamp and body: what a disk store keeps as metadata. Read only where a checksum has vouched for it.

The layout is this program's own; its first byte is a version, and metadata of another one is no entry.
"""

import struct
from dataclasses import dataclass
from typing import Final

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.entry import Entry

_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BBHddddHHHH")
_STRICT, _MAY_BE_STALE, _ALWAYS_VALIDATED, _IMMUTABLE = 1, 2, 4, 8
_NO_LIFETIME: Final = -1.0


class UnknownLayoutError(ValueError):
    """Metadata of another version, or none of ours."""


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """What the metadata says."""

    status: int
    reason: bytes
    cache_metadata: CacheMetadata
    is_strict: bool
    age_base: float
    field_lines: bytes


def encode_entry(entry: Entry) -> bytes:
    """The metadata of an entry."""
    cache_metadata = entry.cache_metadata
    flags = (
        _STRICT * entry.template.is_strict
        | _MAY_BE_STALE * cache_metadata.may_be_stale_on_request
        | _ALWAYS_VALIDATED * cache_metadata.is_always_validated
        | _IMMUTABLE * cache_metadata.is_immutable
    )
    lifetime = _NO_LIFETIME if cache_metadata.lifetime_seconds is None else cache_metadata.lifetime_seconds
    rule, without = cache_metadata.rule.encode(), b",".join(cache_metadata.without_fields)
    head = _HEAD.pack(
        _VERSION,
        flags,
        entry.status,
        entry.age_base,
        lifetime,
        cache_metadata.stale_while_revalidate_seconds,
        cache_metadata.stale_if_error_seconds,
        len(rule),
        len(without),
        len(entry.template.reason),
        0,
    )
    return b"".join((head, rule, without, entry.template.reason, entry.field_lines))


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
        cache_metadata = CacheMetadata(
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
    return EntryRecord(status, reason, cache_metadata, bool(flags & _STRICT), age_base, metadata[position:])


def is_strict_entry(metadata: bytes) -> bool:
    """Whether the entry belongs to a behavior that follows the RFCs, without reading the rest."""
    return len(metadata) >= _HEAD.size and metadata[0] == _VERSION and bool(metadata[1] & _STRICT)
