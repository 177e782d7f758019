"""Sentences about compression that hold for every field, body and chunking."""

import gzip
import itertools
import resource
import subprocess
import sys

import brotli  # type: ignore[import-untyped]  # ships neither stubs nor py.typed
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.http.accept_encoding import SERVER_ORDER, normalise_accept_encoding, preferred_coding
from edge_node.http.compressor import LARGE_STREAM_BYTES, SMALL_BODY_BYTES, SMALL_STREAM_BYTES, Compressors
from edge_node.policy.compression import encoded_fields
from tests.depth import examples

CODINGS = st.sampled_from(SERVER_ORDER)
FLAGS = st.tuples(st.booleans(), st.booleans(), st.booleans())
NAMES = st.sampled_from(
    [b"gzip", b"GZIP", b"br", b"Br", b"zstd", b"*", b"identity", b"deflate", b"x-gzip", b"", b"gz ip", b"\xff"]
)
WEIGHTS = st.sampled_from(
    [b"", b";q=0", b"; q=0.0", b";q=1", b";Q=0.25", b" ;\tq=0.5", b";q=1.1", b";q=x", b";level=1"]
)
SPACE = st.sampled_from([b"", b" ", b"\t"])
MEMBERS = st.builds(lambda space, name, weight: space + name + weight, SPACE, NAMES, WEIGHTS)
FIELDS = st.lists(MEMBERS, max_size=6).map(b",".join)


@given(FIELDS | st.binary(max_size=400), FLAGS)
def test_the_normalised_form_is_a_fixed_point_and_one_of_few(field: bytes, flags: tuple[bool, bool, bool]) -> None:
    form = normalise_accept_encoding(field, *flags)
    if form is None:
        return
    assert normalise_accept_encoding(form, *flags) == form
    assert form in FORMS_WITH_ZSTD if flags[2] else form in (b"br", b"gzip", b"br,gzip")


def _forms() -> set[bytes]:
    """All orders of all subsets, where what is liked as much as its neighbour has the neighbour's weight."""
    found = set()
    for size in (1, 2, 3):
        for subset in itertools.permutations(SERVER_ORDER, size):
            for steps in itertools.product((0, 1), repeat=size - 1):
                ranks = [0, *itertools.accumulate(steps)]
                found.add(b",".join(c + (b"", b";q=0.5", b";q=0.2")[r] for c, r in zip(subset, ranks, strict=True)))
    return found


FORMS_WITH_ZSTD = _forms()


@given(FIELDS | st.binary(max_size=400), FLAGS)
def test_the_preferred_coding_is_one_that_is_offered_and_named(field: bytes, flags: tuple[bool, bool, bool]) -> None:
    preferred = preferred_coding(normalise_accept_encoding(field, *flags))
    if preferred is not None:
        assert dict(zip((b"gzip", b"br", b"zstd"), flags, strict=True))[preferred]
        assert preferred in field.lower() or (flags[2] and b"*" in field)


@given(FIELDS, CODINGS, FLAGS)
def test_a_coding_with_weight_zero_is_never_accepted(
    field: bytes, coding: bytes, flags: tuple[bool, bool, bool]
) -> None:
    form = normalise_accept_encoding(field + b"," + coding + b";q=0", *flags)
    assert form is None or coding not in form.split(b",")
    assert preferred_coding(form) != coding


WEIGHTED = st.dictionaries(
    st.sampled_from([b"gzip", b"br", b"zstd", b"deflate"]), st.sampled_from([b"", b";q=0.5", b";q=0"])
)


@given(WEIGHTED, FLAGS)
def test_the_order_of_members_means_nothing(weighted: dict[bytes, bytes], flags: tuple[bool, bool, bool]) -> None:
    orders = itertools.permutations(name + weight for name, weight in weighted.items())
    assert len({normalise_accept_encoding(b", ".join(order), *flags) for order in orders}) == 1


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=2_000),
        st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=40), st.integers(1, 3_000)),
    ),
    max_size=12,
)


def decompress(coding: bytes, data: bytes) -> bytes:
    """In one call, with a library or a mode that did not encode; fails when anything is missing or left over."""
    match coding:
        case b"gzip":
            return gzip.decompress(data)
        case b"br":
            return bytes(brotli.decompress(data))
        case _:
            decoder = zstandard.ZstdDecompressor().decompressobj()
            body = decoder.decompress(data)
            assert decoder.eof and not decoder.unused_data
            return body


@settings(max_examples=examples(75))
@given(CODINGS, PIECES, st.integers(-10, 10))
def test_what_comes_out_is_what_went_in_however_it_was_cut(coding: bytes, pieces: list[bytes], wrong_by: int) -> None:
    """Also when the announced length was wrong: the length is for window and flushes alone."""
    compressor = Compressors().open(coding, max(0, sum(map(len, pieces)) + wrong_by))
    assert compressor is not None
    encoded = b"".join([*(compressor.compress(piece) for piece in pieces), compressor.finish()])
    assert decompress(coding, encoded) == b"".join(pieces)


@settings(max_examples=examples(60))
@given(CODINGS, st.lists(st.integers(1, 40_000), min_size=1, max_size=60), st.integers(0, 2**32))
def test_what_cannot_be_compressed_grows_by_little(coding: bytes, sizes: list[int], seed: int) -> None:
    block = _noise(seed)
    body = (block * (sum(sizes) // len(block) + 1))[: sum(sizes)]
    compressor = Compressors().open(coding, len(body))
    assert compressor is not None
    given_bytes = sent_bytes = 0
    for size in sizes:
        sent_bytes += len(compressor.compress(body[given_bytes : given_bytes + size]))
        given_bytes += size
        assert sent_bytes <= given_bytes * 1.01 + 1_000
    assert sent_bytes + len(compressor.finish()) <= given_bytes * 1.01 + 1_000


def _noise(seed: int) -> bytes:
    state, block = seed, bytearray()
    for _ in range(20_000):
        state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        block.append(state >> 56)
    return bytes(block)


HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"etag", b"vary", b"content-length", b"content-md5", b"repr-digest", b"cache-control", b"x-a"]),
        st.sampled_from([b'"x"', b'W/"x"', b"x", b"*", b"Accept-Encoding", b"Origin, accept-encoding", b"Origin", b"", b","]),
    ),
    max_size=6,
).map(tuple)  # fmt: skip


@given(HEADERS, CODINGS)
def test_an_encoded_response_says_what_it_is(headers: tuple[tuple[bytes, bytes], ...], coding: bytes) -> None:
    fields = encoded_fields(headers, coding)
    named = [name for name, _ in fields]
    assert fields.count((b"content-encoding", coding)) == named.count(b"content-encoding") == 1
    assert not {b"content-length", b"content-md5", b"repr-digest"} & set(named)
    varies = b",".join(value for name, value in fields if name == b"vary").lower()
    assert b"accept-encoding" in varies or b"*" in varies
    assert all(value.startswith(b"W/") for name, value in fields if name == b"etag")
    assert [pair for pair in fields if pair[0] in (b"cache-control", b"x-a")] == [
        pair for pair in headers if pair[0] in (b"cache-control", b"x-a")
    ]


MEMORY_PROGRAM = """
import sys
from edge_node.http.compressor import Compressors
coding, length, streams = sys.argv[1].encode(), int(sys.argv[2]), int(sys.argv[3])
piece = b"".join(b"function f%d(a, b) { return a * %d + b; }\\n" % (n, n * 7919 % 1009) for n in range(2_000))[:32_768]
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
compressors = Compressors(memory_bytes=1 << 40)
warm = compressors.open(coding, length)
warm.compress(piece)
before = resident()
kept = [compressors.open(coding, length) for _ in range(streams)]
for each in kept:
    for start in range(0, length - 1, len(piece)):
        each.compress(piece[: min(len(piece), length - 1 - start)])
print((resident() - before) // streams)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("coding", SERVER_ORDER)
@pytest.mark.parametrize(("length", "bound"), [(SMALL_BODY_BYTES, SMALL_STREAM_BYTES), (2_000_000, LARGE_STREAM_BYTES)])
def test_a_stream_takes_no_more_memory_than_is_set_aside_for_it(coding: bytes, length: int, bound: int) -> None:
    """Measured in a process of its own, whose memory nothing else changes."""
    command = [sys.executable, "-c", MEMORY_PROGRAM, coding.decode(), str(length), "12"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(result.stdout) <= bound + resource.getpagesize() * 16
