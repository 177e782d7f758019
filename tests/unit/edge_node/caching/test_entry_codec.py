"""What a disk store keeps beside a body: read back, it is what was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.entry_codec import UnknownLayoutError, decode_entry, encode_entry, is_strict_entry
from edge_node.caching.entry_factory import ResponseTiming, make_entry
from edge_node.model.configuration import Role
from edge_node.policy.response_head import LocalNode, content_length, write_fields
from edge_node.storage.entry_templates import EntryTemplates

TABLE = EntryTemplates(LocalNode(Role.EDGE, b"FRA56-P1", b"1.1 a"))
SECONDS = st.floats(0, 1e10)
TOKENS = st.from_regex(rb"[a-z-]{1,12}", fullmatch=True)
METADATA = st.builds(
    CacheMetadata,
    st.none() | SECONDS,
    st.sampled_from(LifetimeRule),
    SECONDS,
    SECONDS,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.lists(TOKENS, max_size=3).map(tuple),
)
FIELDS = st.lists(st.tuples(TOKENS, st.from_regex(rb"[!-~]{0,20}", fullmatch=True)), max_size=5).map(tuple)


@given(METADATA, st.integers(200, 599), TOKENS, FIELDS, st.floats(0, 4e9), st.booleans())
def test_what_is_decoded_is_what_was_encoded(
    cache_metadata: CacheMetadata,
    status: int,
    reason: bytes,
    fields: tuple[tuple[bytes, bytes], ...],
    now: float,
    is_strict: bool,
) -> None:
    template = TABLE.of(status, reason, b"", cache_metadata, is_strict=is_strict)
    lines = write_fields(fields) + content_length(5)
    entry = make_entry(b"E1\n/a", lines, [b"hello"], 5, template, ResponseTiming(3, now, 0.0))
    metadata = encode_entry(entry)
    read = decode_entry(metadata)
    assert (read.status, read.reason, read.cache_metadata, read.is_strict) == (
        status,
        reason,
        cache_metadata,
        is_strict,
    )
    assert (read.age_base, read.field_lines) == (entry.age_base, lines)
    assert is_strict_entry(metadata) is is_strict


@pytest.mark.parametrize("metadata", [b"", b"\x01", b"\x00" * 80, b"\x02" + b"\x00" * 80, b"\xff" * 100])
def test_what_this_version_did_not_write_is_no_entry(metadata: bytes) -> None:
    assert not is_strict_entry(metadata) or metadata[0] == 1
    with pytest.raises(UnknownLayoutError):
        decode_entry(metadata)
