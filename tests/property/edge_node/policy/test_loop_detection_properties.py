"""`CDN-Loop` (RFC 8586): whatever comes, our passes are counted, and what others wrote stays."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.policy.loop_detection import CDN_ID, cdn_loop_for_upstream, count_passes, is_loop, parse_cdn_loop
from tests.depth import examples

Member = tuple[bytes, tuple[tuple[bytes, bytes], ...]]

tokens = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=8).map(str.encode)
hosts = st.sampled_from([b"a.example", b"[2001:db8::1]:443", b"192.0.2.1:80", b"(a)=b", b"x%2c"])
values = tokens | st.binary(max_size=8).map(
    lambda data: bytes(c for c in data if c in b"\t ," or (c > 0x20 and c != 0x7F))
)
parameters = st.lists(st.tuples(tokens.map(bytes.lower), values), max_size=3).map(tuple)
members = st.lists(st.tuples(tokens | hosts, parameters), max_size=5)
spaces = st.sampled_from([b"", b" ", b"\t ", b"  "])


def written(draw: st.DrawFn, member: Member) -> bytes:
    """One of the ways to write a member."""
    cdn_id, said = member
    text = cdn_id
    for name, value in said:
        is_token = bool(value) and all(c in b"!#$%&'*+-.^_`|~09AZaz" for c in value)
        quoted = b'"%b"' % b"".join(
            b"\\%c" % c if c in b'"\\' or (draw(st.booleans()) and c < 0x7F) else b"%c" % c for c in value
        )
        text += (
            draw(spaces) + b";" + draw(spaces) + name + b"=" + (value if is_token and draw(st.booleans()) else quoted)
        )
    return text


@st.composite
def fields(draw: st.DrawFn) -> tuple[list[Member], bytes]:
    """Members, and a field that says them."""
    drawn = draw(members)
    text = draw(spaces)
    for number, member in enumerate(drawn):
        text += (draw(st.sampled_from([b",", b", ", b" ,,\t,"])) if number else b"") + written(draw, member)
    return drawn, text + draw(spaces)


@settings(max_examples=examples(50))
@given(fields())
def test_what_is_written_is_read_again(field: tuple[list[Member], bytes]) -> None:
    said, text = field
    parsed = parse_cdn_loop(text)
    assert parsed is not None
    assert [(member.cdn_id, member.parameters) for member in parsed] == said


@settings(max_examples=examples(75))
@given(fields())
def test_a_pass_adds_one_member_and_changes_none(field: tuple[list[Member], bytes]) -> None:
    said, text = field
    parsed = parse_cdn_loop(cdn_loop_for_upstream(text))
    assert parsed is not None
    assert [(member.cdn_id, member.parameters) for member in parsed] == [*said, (CDN_ID, ())]


pieces = st.sampled_from([b"cdnlab", b"CDNLAB", b"a", b",", b";", b"=", b'"', b"\\", b" ", b"\t", b"\xff", b"[", b"/"])
wild = st.lists(pieces, max_size=15).map(b"".join) | st.binary(max_size=30)


@settings(max_examples=examples(100))
@given(wild)
def test_whatever_a_viewer_sends_it_goes_round_no_more_often(first: bytes) -> None:
    """From any field that it may begin with, a request that comes back again is refused by its third pass: no beginning makes our own members into something else."""
    value = first
    for _ in range(2):
        following = cdn_loop_for_upstream(value)
        assert following.startswith(value) or not value.strip(b" \t")
        assert count_passes(following, CDN_ID) >= count_passes(value, CDN_ID) + 1 or is_loop(value)
        value = following
    assert is_loop(value)
