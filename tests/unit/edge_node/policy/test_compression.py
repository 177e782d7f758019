"""Reference 2.7, line by line: which Accept-Encoding is keyed, what is compressed, with what, and what becomes of the header section."""

import gzip
import zlib

import brotli  # type: ignore[import-untyped]  # ships neither stubs nor py.typed
import pytest
import zstandard

from edge_node.http import accept_encoding
from edge_node.http import compressor as compressor_module
from edge_node.http.accept_encoding import accepted_codings, normalise_accept_encoding, preferred_coding
from edge_node.http.compressor import FLUSH_BYTES, Compressors, stream_bytes
from edge_node.http.request_head import make_request_head
from edge_node.model.configuration import Behavior, CachePolicy, Origin, Selection, SelectionMode, Semantics
from edge_node.model.http import Header, RequestHead, ResponseHead
from edge_node.policy.compression import CONTENT_TYPES, coding_for, encoded_fields, is_compressible
from edge_node.upstream.connection import make_response_head

# -- the key


@pytest.mark.parametrize(
    ("field", "with_gzip", "with_brotli", "expected"),
    [
        # the rows of the table
        (b"gzip, br", True, True, b"br,gzip"),
        (b"gzip", True, True, b"gzip"),
        (b"br", True, True, b"br"),
        (b"deflate, zstd", True, True, None),
        (b"gzip, br", True, False, b"gzip"),
        (b"gzip", True, False, b"gzip"),
        (b"br", True, False, None),
        (b"gzip, br", False, True, b"br"),
        (b"gzip", False, True, None),
        (None, True, True, None),
        (b"gzip, br", False, False, None),
        # how a field is read
        (b"gzip, deflate, br, zstd", True, True, b"br,gzip"),
        (b"br;q=0.1, gzip;q=1.0", True, True, b"br,gzip"),
        (b"GZip,BR", True, True, b"br,gzip"),
        (b" \tgzip \t;\t q=0.5 ,,\tbr\t", True, True, b"br,gzip"),
        (b"gzip;q=0, br", True, True, b"br"),
        (b"gzip;q=0.000, br;Q=0.", True, True, None),
        (b"gzip; q = 0", True, True, None),
        (b"gzip;q=0.001", True, True, b"gzip"),
        (b"gzip, gzip;q=0", True, True, None),
        (b"", True, True, None),
        (b"identity", True, True, None),
        (b"*", True, True, None),
        (b"*;q=0, gzip", True, True, b"gzip"),
        (b"x-gzip, brotli", True, True, None),
        # what is of no known form counts as not sent
        (b"gzip;q=2", True, True, None),
        (b"gzip;q=0.0001", True, True, None),
        (b"gzip;q=", True, True, None),
        (b"gzip;q=-1", True, True, None),
        (b"gzip;level=9", True, True, None),
        (b"gzip br", True, True, None),
        (b'"gzip"', True, True, None),
    ],
)
def test_cloudfronts_table(field: bytes | None, with_gzip: bool, with_brotli: bool, expected: bytes | None) -> None:
    assert normalise_accept_encoding(field, with_gzip, with_brotli) == expected


@pytest.mark.parametrize(
    ("field", "expected", "preferred"),
    [
        (b"gzip, deflate, br, zstd", b"br,zstd,gzip", b"br"),
        (b"gzip, zstd", b"zstd,gzip", b"zstd"),
        (b"zstd", b"zstd", b"zstd"),
        (b"gzip, br;q=0.9", b"gzip,br;q=0.5", b"gzip"),
        (b"gzip;q=0.1, br;q=0.2, zstd;q=0.3", b"zstd,br;q=0.5,gzip;q=0.2", b"zstd"),
        (b"gzip;q=0.5, br;q=0.5, zstd", b"zstd,br;q=0.5,gzip;q=0.5", b"zstd"),
        (b"*", b"br,zstd,gzip", b"br"),
        (b"*;q=0.5, br;q=0", b"zstd,gzip", b"zstd"),
        (b"*;q=0, gzip", b"gzip", b"gzip"),
        (b"x-gzip", b"gzip", b"gzip"),
        (b"x-gzip;q=0, gzip", None, None),
        (b"identity;q=0.5", None, None),
        (None, None, None),
    ],
)
def test_rfc9111_mode_follows_the_viewers_weights_then_the_servers_order(
    field: bytes | None, expected: bytes | None, preferred: bytes | None
) -> None:
    assert normalise_accept_encoding(field, True, True, True) == expected
    assert preferred_coding(expected) == preferred


def test_cloudfront_prefers_brotli() -> None:
    assert [preferred_coding(form) for form in (b"br,gzip", b"gzip", b"br", None)] == [b"br", b"gzip", b"br", None]


def test_what_is_remembered_has_a_bound_in_bytes() -> None:
    accept_encoding._normalise.cache_clear()
    long = b"gzip, " + b"x" * accept_encoding.LONGEST_REMEMBERED_FIELD_BYTES
    assert normalise_accept_encoding(long, True, True) == b"gzip"
    assert accept_encoding._normalise.cache_info().currsize == 0
    for number in range(2 * accept_encoding.MOST_REMEMBERED_FIELDS):
        normalise_accept_encoding(b"gzip, x%d" % number, True, True)
    assert accept_encoding._normalise.cache_info().currsize == accept_encoding.MOST_REMEMBERED_FIELDS


# -- the decision


def behavior(
    *, compresses: bool = True, flags: tuple[bool, bool] = (True, True), semantics: Semantics = Semantics.CLOUDFRONT
) -> Behavior:
    none = Selection(SelectionMode.NONE)
    policy = CachePolicy("p", 1, 60, 60, *flags, none, none, none)
    origin = Origin("o", "192.0.2.1", 80, b"", (), 1, 1.0, 1.0, 1.0)
    methods = frozenset({b"GET", b"HEAD"})
    return Behavior("*", origin, methods, methods, policy, compresses=compresses, semantics=semantics)


def ask(
    *headers: Header, method: bytes = b"GET", minor_version: int = 1, codings: bytes | None = b"gzip, br, zstd"
) -> RequestHead:
    fields = [(b"host", b"h"), *headers]
    if codings is not None:
        fields.append((b"accept-encoding", codings))
    return make_request_head(method, b"/a", fields, minor_version, True)


def answer(
    *headers: Header, status: int = 200, length: int | None = 5_000, content_type: bytes | None = b"text/html"
) -> ResponseHead:
    fields = list(headers)
    if length is not None:
        fields.append((b"content-length", b"%d" % length))
    if content_type is not None:
        fields.append((b"content-type", content_type))
    return make_response_head(status, b"", fields)


@pytest.mark.parametrize(
    ("request_head", "response", "of_behavior", "expected"),
    [
        (ask(), answer(), behavior(), b"br"),
        (ask(method=b"HEAD"), answer(), behavior(), b"br"),
        (ask(codings=b"gzip"), answer(), behavior(), b"gzip"),
        (ask(codings=b"gzip, br"), answer(), behavior(flags=(True, False)), b"gzip"),
        (ask(codings=b"br, gzip;q=0"), answer(), behavior(flags=(False, True)), b"br"),
        (ask(), answer(), behavior(semantics=Semantics.RFC9111), b"br"),
        (ask(codings=b"gzip, zstd"), answer(), behavior(semantics=Semantics.RFC9111), b"zstd"),
        (ask(codings=b"gzip;q=1, br;q=0.5"), answer(), behavior(semantics=Semantics.RFC9111), b"gzip"),
        # the viewer, the policy, the behavior
        (ask(method=b"POST"), answer(), behavior(), None),
        (ask(codings=b"zstd"), answer(), behavior(), None),
        (ask(codings=None), answer(), behavior(), None),
        (ask(codings=b"gzip"), answer(), behavior(flags=(False, True)), None),
        (ask(codings=b"zstd"), answer(), behavior(flags=(False, False), semantics=Semantics.RFC9111), None),
        (ask(), answer(), behavior(compresses=False), None),
        (ask(), answer(), behavior(flags=(False, False)), None),
        (ask(minor_version=0), answer(), behavior(), None),
        (ask((b"range", b"bytes=0-9")), answer(), behavior(), None),
        # the response
        (ask(), answer(status=403), behavior(), b"br"),
        (ask(), answer(status=404), behavior(), b"br"),
        (ask(), answer(status=206), behavior(), None),
        (ask(), answer(status=500), behavior(), None),
        (ask(), answer((b"content-range", b"bytes 0-4999/9000")), behavior(), None),
        (ask(), answer(length=999), behavior(), None),
        (ask(), answer(length=1_000), behavior(), b"br"),
        (ask(), answer(length=10_000_000), behavior(), b"br"),
        (ask(), answer(length=10_000_001), behavior(), None),
        (ask(), answer(length=0), behavior(), None),
        (ask(), answer(length=None), behavior(), None),
        (ask(), answer((b"transfer-encoding", b"chunked")), behavior(), None),
        (ask(), answer((b"content-encoding", b"gzip")), behavior(), None),
        (ask(), answer((b"content-encoding", b"identity")), behavior(), None),
        (ask(), answer((b"cache-control", b"max-age=60, No-Transform")), behavior(), None),
        (ask(), answer((b"cache-control", b"max-age=60"), (b"cache-control", b"no-transform")), behavior(), None),
        (ask((b"cache-control", b"no-transform")), answer(), behavior(), b"br"),
        (ask(), answer(content_type=b"text/HTML ; charset=utf-8"), behavior(), b"br"),
        (ask(), answer(content_type=b"image/png"), behavior(), None),
        (ask(), answer(content_type=b"font/woff2"), behavior(), None),
        (ask(), answer(content_type=None), behavior(), None),
    ],
)  # fmt: skip
def test_whether_and_how_a_response_is_compressed(
    request_head: RequestHead, response: ResponseHead, of_behavior: Behavior, expected: bytes | None
) -> None:
    assert coding_for(request_head, response, of_behavior) == expected


def test_every_content_type_of_the_reference_is_in_the_list() -> None:
    assert len(CONTENT_TYPES) == 30 + 4 + 1 + 12 + 1
    listed = [
        b"application/wasm",
        b"application/dash+xml",
        b"application/x-ttf",
        b"font/otf",
        b"image/svg+xml",
        b"text/x-script",
        b"vnd.apple.mpegurl",
    ]
    for content_type in listed:
        assert is_compressible(answer(content_type=content_type))
    for content_type in (
        b"font/woff",
        b"font/woff2",
        b"application/x-ndjson",
        b"image/jpeg",
        b"application/zip",
        b"video/mp4",
        b"",
    ):
        assert not is_compressible(answer(content_type=content_type))


def test_an_http_1_0_request_has_no_codings_in_its_key() -> None:
    policy = behavior().cache_policy
    assert accepted_codings(ask(minor_version=0), policy, Semantics.CLOUDFRONT) is None
    assert accepted_codings(ask(), policy, Semantics.CLOUDFRONT) == b"br,gzip"
    assert accepted_codings(ask(), policy, Semantics.RFC9111) == b"br,zstd,gzip"


# -- the header section


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [(b"content-encoding", b"br"), (b"vary", b"Accept-Encoding")]),
        ([(b"etag", b'"x"')], [(b"etag", b'W/"x"'), (b"content-encoding", b"br"), (b"vary", b"Accept-Encoding")]),
        ([(b"etag", b'W/"x"')], [(b"etag", b'W/"x"'), (b"content-encoding", b"br"), (b"vary", b"Accept-Encoding")]),
        ([(b"etag", b"x")], [(b"content-encoding", b"br"), (b"vary", b"Accept-Encoding")]),
        ([(b"etag", b'w/"x"')], [(b"content-encoding", b"br"), (b"vary", b"Accept-Encoding")]),
        ([(b"vary", b"Origin")], [(b"vary", b"Origin, Accept-Encoding"), (b"content-encoding", b"br")]),
        (
            [(b"vary", b"Origin"), (b"a", b"b"), (b"vary", b"Cookie")],
            [(b"vary", b"Origin"), (b"a", b"b"), (b"vary", b"Cookie, Accept-Encoding"), (b"content-encoding", b"br")],
        ),
        ([(b"vary", b"")], [(b"content-encoding", b"br"), (b"vary", b"Accept-Encoding")]),
        ([(b"vary", b"accept-ENCODING, Origin")], [(b"vary", b"accept-ENCODING, Origin"), (b"content-encoding", b"br")]),
        ([(b"vary", b"*")], [(b"vary", b"*"), (b"content-encoding", b"br")]),
        (
            [(b"content-length", b"9"), (b"content-md5", b"x"), (b"digest", b"x"), (b"content-digest", b"x"), (b"repr-digest", b"x"), (b"accept-ranges", b"bytes")],
            [(b"accept-ranges", b"bytes"), (b"content-encoding", b"br"), (b"vary", b"Accept-Encoding")],
        ),
    ],
)  # fmt: skip
def test_the_fields_of_an_encoded_response(before: list[Header], after: list[Header]) -> None:
    assert encoded_fields(tuple(before), b"br") == tuple(after)


# -- the streams

TEXT = b"".join(b"function f%d(a, b) { return a * %d + b; }\n" % (n, n * 7919 % 1009) for n in range(30_000))


def decoded(coding: bytes, data: bytes) -> bytes:
    """By other programs than those that encode; each fails when the stream has no proper end."""
    match coding:
        case b"gzip":
            return gzip.decompress(data)
        case b"br":
            return bytes(brotli.decompress(data))
        case _:
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def so_far(coding: bytes, data: bytes) -> bytes:
    """What a viewer can read of a stream that goes on."""
    match coding:
        case b"gzip":
            return zlib.decompressobj(31).decompress(data)
        case b"br":
            decoder = brotli.Decompressor()
            read = bytes(decoder.process(data))
            while more := decoder.process(b""):  # it gives a window at a time
                read += more
            return read
        case _:
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)


CODINGS = [b"gzip", b"br", b"zstd"]


@pytest.mark.parametrize("coding", CODINGS)
def test_a_viewer_never_waits_for_more_than_the_flush_bytes(coding: bytes) -> None:
    compressor = Compressors().open(coding, len(TEXT))
    assert compressor is not None
    sent = b""
    given = 0
    for size in [100, *[5_000] * 40]:
        sent += compressor.compress(TEXT[given : given + size])
        given += size
        read = so_far(coding, sent)
        assert TEXT.startswith(read)
        assert given - len(read) < FLUSH_BYTES
        if given == 100:
            assert len(read) == 100  # the first piece goes out at once
    compressor.close()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_that_comes_in_one_piece_is_as_small_as_it_can_be(coding: bytes) -> None:
    """No flush before the end, whose bytes would be for nothing."""
    body = TEXT[:20_000]
    compressor = Compressors().open(coding, len(body))
    assert compressor is not None
    encoder = compressor_module._ENCODERS[coding](len(body))
    assert compressor.compress(body) + compressor.finish() == encoder.process(body) + encoder.finish()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_stream_without_its_end_does_not_look_whole(coding: bytes) -> None:
    compressor = Compressors().open(coding, len(TEXT))
    assert compressor is not None
    cut = compressor.compress(TEXT)
    compressor.close()
    match coding:
        case b"gzip":
            assert not _gzip_is_ended(cut)
        case b"br":
            decoder = brotli.Decompressor()
            decoder.process(cut)
            assert not decoder.is_finished()
        case _:
            other = zstandard.ZstdDecompressor().decompressobj()
            other.decompress(cut)
            assert not other.eof


def _gzip_is_ended(data: bytes) -> bool:
    decoder = zlib.decompressobj(31)
    decoder.decompress(data)
    return decoder.eof


def test_streams_share_one_bound_on_memory() -> None:
    compressors = Compressors(memory_bytes=2 * stream_bytes(1_000))
    first, second = compressors.open(b"gzip", 1_000), compressors.open(b"br", 1_000)
    assert first is not None and second is not None
    assert compressors.open(b"gzip", 1_000) is None
    first.close()
    first.close()  # releases once
    assert compressors.open(b"zstd", 100_000) is None  # a large one does not fit into the place of a small one
    third = compressors.open(b"zstd", 1_000)
    assert third is not None
    assert compressors.open(b"gzip", 1_000) is None
    third.compress(b"x" * 1_000)
    third.finish()
    assert compressors.open(b"gzip", 1_000) is not None


@pytest.mark.parametrize("way_out", ["finish", "close"])
def test_nothing_can_follow_the_end(way_out: str) -> None:
    compressor = Compressors().open(b"br", 1_000)
    assert compressor is not None
    getattr(compressor, way_out)()
    with pytest.raises(ValueError, match="after the end"):
        compressor.compress(b"x")
    with pytest.raises(ValueError, match="ended"):
        compressor.finish()


@pytest.mark.parametrize(
    ("coding", "percent"), [(b"gzip", 38.0), (b"br", 25.0), (b"zstd", 35.0)], ids=["gzip", "br", "zstd"]
)
def test_a_body_becomes_as_small_as_the_chosen_levels_make_it(coding: bytes, percent: float) -> None:
    """A guard against a level or a window that is changed by mistake; what other levels give is in the docstring of http/compressor.py."""
    body = TEXT[:65_536]
    compressor = Compressors().open(coding, len(body))
    assert compressor is not None
    encoded = compressor.compress(body) + compressor.finish()
    assert decoded(coding, encoded) == body
    print(coding, 100 * len(encoded) / len(body))
    assert 100 * len(encoded) / len(body) < percent
