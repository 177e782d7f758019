"""What origins say of their content: one version for the same bytes, another one for others, and checksums where they are cheap."""

import zlib

import pytest

from lab.history.schema import ORIGIN_REQUESTS
from origin import stamps
from origin.behaviors import parse_behavior
from origin.history_rows import OriginRow
from origin.messages import Generated, Request, Response
from origin.node import Clocks, OriginNode
from origin.patterns import pieces
from origin.request_reader import RequestRefused
from origin.stamps import Stamps
from proto.origin_stamp import OriginStamp, parse_stamp
from tests.origin_builders import a_get, a_request

NOW = 1_767_225_600.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(clock: Clock) -> OriginNode:
    return OriginNode("origin-1", Clocks(clock, clock))


def stamp_of(node: OriginNode, request: Request) -> OriginStamp:
    stamp = parse_stamp(node.decide(request).stamp)
    assert stamp is not None
    return stamp


def body_of(response: Response) -> bytes:
    body = response.body
    return b"".join(map(bytes, pieces(body))) if isinstance(body, Generated) else bytes(body)


def test_rows_have_the_columns_of_the_table() -> None:
    assert list(OriginRow._fields) == [column.name for column in ORIGIN_REQUESTS.columns]


_EVERYTHING = [
    *("/", "/pages/1.html", "/images/2.svg", "/images/400.png", "/none", "/api/products?page=2", "/api/products/1"),
    *("/api/me", "/api/time", "/api/none", "/api/products?page=x", "/download/10KiB.bin", "/download/10KiB.bin?v=2"),
    *("/download/11KiB.bin", "/hls/vod/a/master.m3u8", "/hls/vod/a/360p/playlist.m3u8", "/hls/vod/a/360p/1.ts"),
    *("/hls/vod/a/360p/2.ts", "/hls/live/a/360p/playlist.m3u8", "/bucket/none", "/bucket/b?list-type=2", "/bucket/b/k"),
    *(
        "/bucket/b/large",
        "/echo/a",
        "/echo/a?size=100KiB",
        "/echo/a?size=100KiB&v=2",
        "/echo/a?size=10",
        "/echo/b?size=10",
    ),
    *(
        "/echo/a?etag=%22same%22",
        "/echo/b?etag=%22same%22",
        "/misbehave/status?code=404",
        "/misbehave/truncate?length=9",
    ),
]


def test_versions_differ_exactly_where_bytes_do_and_checksums_are_theirs(node: OriginNode, clock: Clock) -> None:
    """Over all content, at two moments, with an object that changes between them. The bytes themselves are the judge."""
    seen: dict[tuple[str, str], bytes] = {}
    for turn in range(2):
        clock.now = NOW + 6 * turn
        for key, size in (("k", 10), ("large", 40_000)):
            node.decide(a_request("PUT", f"/bucket/b/{key}", body=bytes([turn]) * size))
        for target in _EVERYTHING:
            answer = node.decide(a_get(target))
            stamp, body = parse_stamp(answer.stamp), body_of(answer.response)
            assert stamp is not None and stamp.node == "origin-1" and stamp.produced_ns == round(clock.now * 1e9)
            assert ";" not in stamp.version and stamp.version
            path = target.partition("?")[0]
            assert seen.setdefault((path, stamp.version), body) == body, target
            is_generated = isinstance(answer.response.body, Generated)
            assert stamp.checksum == (None if is_generated else zlib.crc32(body)), target
    versions = {path: {version for known, version in seen if known == path} for path, _ in seen}
    assert versions["/bucket/b/k"] == {"1", "2"}
    assert len(versions["/download/10KiB.bin"]) == len(versions["/api/time"]) == 2
    assert len(versions["/hls/live/a/360p/playlist.m3u8"]) == 2
    assert len(versions["/pages/1.html"]) == len(versions["/hls/vod/a/360p/1.ts"]) == 1


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (("If-None-Match", "*"), 304),
        (("Range", "bytes=1-2"), 206),
    ],
)
def test_a_part_and_a_confirmation_are_stamped_as_the_whole(
    node: OriginNode, clock: Clock, field: tuple[str, str], status: int
) -> None:
    whole = stamp_of(node, a_get("/pages/1.html"))
    clock.now += 5
    answer = node.decide(a_get("/pages/1.html", field))
    assert answer.response.status == status
    assert parse_stamp(answer.stamp) == whole._replace(produced_ns=round(clock.now * 1e9))


def test_what_is_refused_is_stamped_as_the_refusal_that_it_is(node: OriginNode) -> None:
    for answer in (
        node.decide(a_get("/pages/1.html", ("If-Match", '"other"'))),
        node.decide(a_get("/pages/1.html", ("Range", "bytes=99999999-"))),
        node.decide(a_request("POST", "/pages/1.html")),
        node.refuse(RequestRefused(400, "no", "GET", "/"), 1),
    ):
        stamp = parse_stamp(answer.stamp)
        assert stamp is not None and answer.response.status >= 400
        assert stamp.checksum == zlib.crc32(body_of(answer.response))


@pytest.mark.parametrize("target", ["/api/me", "/echo/x", "/pages/1.html", "/echo/x?size=3", "/api/products/1"])
def test_identity_is_told_where_the_answer_depends_on_it(node: OriginNode, target: str) -> None:
    depends = target in ("/api/me", "/echo/x")
    mine = stamp_of(node, a_get(target, ("Cookie", "a=b; session=me")))
    theirs = stamp_of(node, a_get(target, ("Authorization", "Bearer them")))
    assert (mine.identity, theirs.identity) == (("me", "Bearer them") if depends else (None, None))
    assert (mine.version != theirs.version) == depends
    assert stamp_of(node, a_get(target)).identity is None


def test_an_identity_that_no_field_would_hold_is_not_told(node: OriginNode) -> None:
    assert stamp_of(node, a_get("/api/me", ("Cookie", f"session={'x' * 60_000}"))).identity is None


def add(node: OriginNode, clock: Clock, **behavior: object) -> None:
    node.behaviors.add(parse_behavior({"path_prefix": "/", **behavior}), clock.now)


def test_misbehaviour_is_seen_against_the_stamp(node: OriginNode, clock: Clock) -> None:
    honest = stamp_of(node, a_get("/pages/1.html"))
    add(node, clock, corrupt_at_byte=3)
    assert stamp_of(node, a_get("/pages/1.html")) == honest, "of the bytes that there should be"
    add(node, clock, status=503)
    broken = node.decide(a_get("/pages/1.html"))
    stamp = parse_stamp(broken.stamp)
    assert stamp is not None and stamp.checksum == zlib.crc32(body_of(broken.response))


@pytest.mark.parametrize(
    ("behavior", "condition"),
    [
        ({"not_modified": True}, '"old"'),
        ({"entity_tag": '"same"'}, '"same"'),
    ],
)
def test_a_304_that_may_be_a_lie_is_not_stamped(
    node: OriginNode, clock: Clock, behavior: dict[str, object], condition: str
) -> None:
    """A cache then keeps the stamp of the bytes that it has."""
    add(node, clock, **behavior)
    answer = node.decide(a_get("/pages/1.html", ("If-None-Match", condition)))
    assert (answer.response.status, answer.stamp) == (304, "")
    assert node.decide(a_get("/pages/1.html")).stamp


@pytest.mark.parametrize("value", [None, "mine"])
def test_a_behavior_may_set_the_field_or_take_it_away(node: OriginNode, clock: Clock, value: str | None) -> None:
    add(node, clock, headers={"x-origin-STAMP": value}, delay_seconds=0)
    answer = node.decide(a_get("/pages/1.html"))
    assert answer.stamp == "" and answer.response.header("x-origin-stamp") == value


def test_the_checksum_of_a_large_body_is_made_once_for_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def counting(body: bytes) -> int:
        counted.append(len(body))
        return zlib.crc32(body)

    monkeypatch.setattr(stamps, "crc32", counting)
    own = Stamps("o")
    body = b"x" * 100_000
    for tag in ('"a"', '"a"', '"b"', '"a"'):
        assert own.content_of("site", Response(200, (("ETag", tag),), body)).checksum == zlib.crc32(body)
    # The answer to a PUT names the tag of what was put, and has no body.
    assert own.content_of("bucket", Response(200, (("ETag", '"a"'), ("x-amz-version-id", "3")), b"")) == ("3", 0)
    assert counted == [100_000, 100_000, 0]


def test_a_name_that_would_break_the_field_is_told_without_what_breaks_it() -> None:
    stamp = parse_stamp(Stamps("a;b\nü").stamp(stamps.Content("v", None), 1, None))
    assert stamp is not None and stamp.node == "a_b__"
