"""The Cache-Status field (RFC 9211)."""

import pytest

from edge_node.http.cache_status_field import CacheStatus, Forwarding
from edge_node.http.structured_fields import parse_dictionary


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (CacheStatus(b"ExampleCache"), "ExampleCache; hit"),
        (CacheStatus(b"ExampleCache", ttl_seconds=376.9), "ExampleCache; hit; ttl=376"),
        (CacheStatus(b"ExampleCache", ttl_seconds=-411.2), "ExampleCache; hit; ttl=-412"),
        (CacheStatus(b"c", ttl_seconds=1e30), "c; hit; ttl=999999999999999"),
        (CacheStatus(b"c", ttl_seconds=-1e30), "c; hit; ttl=-999999999999999"),
        (CacheStatus(b"c", Forwarding.URI_MISS), "c; fwd=uri-miss"),
        (CacheStatus(b"c", Forwarding.STALE, 304), "c; fwd=stale; fwd-status=304"),
        (CacheStatus(b"c", Forwarding.VARY_MISS, is_collapsed=True), "c; fwd=vary-miss; collapsed"),
        (CacheStatus(b"c", Forwarding.MISS, is_collapsed=False), "c; fwd=miss; collapsed=?0"),
        (CacheStatus(b"c", Forwarding.URI_MISS, is_stored=True, ttl_seconds=60), "c; fwd=uri-miss; stored; ttl=60"),
        # only meaningful where the request was forwarded
        (CacheStatus(b"c", None, 304, is_stored=True, is_collapsed=True), "c; hit"),
        (CacheStatus(b"edge FRA56-P1"), '"edge FRA56-P1"; hit'),
        (CacheStatus(b'a"b\\c'), r'"a\"b\\c"; hit'),
        (CacheStatus(b"c", key=b"/a?b", detail=b"MEMORY"), 'c; hit; key="/a?b"; detail=MEMORY'),
        (CacheStatus(b"c", detail=b"from disk"), 'c; hit; detail="from disk"'),
        (CacheStatus(b"c", key=b"/\xff", detail=b"a\r\nb: c"), "c; hit"),  # no String can hold it
    ],
)
def test_what_the_member_says(status: CacheStatus, text: str) -> None:
    assert status.serialise().decode() == text


def test_every_member_is_a_structured_item() -> None:
    for forwarding in Forwarding:
        member = CacheStatus(b"edge.1", forwarding, 200, 5.0, True, True, b'k"', b"d/1").serialise()
        assert parse_dictionary(b"x=" + member) is not None
