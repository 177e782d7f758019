"""Sentences about the pure rules that hold for whatever input: invalidations, the memory store, paths, ranges, field values."""

from collections import OrderedDict
from dataclasses import dataclass, field
from email.utils import formatdate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_node.caching import invalidation_index
from edge_node.caching.age import corrected_age
from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.entry import Entry
from edge_node.caching.entry_factory import ResponseTiming, make_entry
from edge_node.caching.freshness_cloudfront import metadata_by_table
from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.caching.key import parse_cookies, select_query, target_of
from edge_node.http.accept_encoding import normalise_accept_encoding
from edge_node.http.cache_control import LONGEST_LIFETIME_SECONDS, parse_cache_control, split_list
from edge_node.http.dates import parse_http_date
from edge_node.model.configuration import CachePolicy, Role, Selection, SelectionMode
from edge_node.model.http import ResponseHead
from edge_node.policy.path_patterns import compile_pattern, normalise_path
from edge_node.policy.response_head import LocalNode, content_length
from edge_node.storage.entry_templates import EntryTemplates
from edge_node.storage.eviction.registry import POLICIES
from edge_node.storage.memory import MemoryStore
from tests.depth import examples

# -- invalidations

PATHS = st.text("ab", max_size=3).map(lambda text: "/" + text)
PATTERNS = st.tuples(PATHS, st.sampled_from(["", "*"])).map("".join)
DISTRIBUTIONS = st.sampled_from(["E1", "E2"])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("invalidate"), DISTRIBUTIONS, st.lists(PATTERNS, min_size=1, max_size=4)),
        st.tuples(st.just("advance")),
        st.tuples(st.just("snapshot"), st.integers(1, 3)),
    ),
    max_size=25,
)


@dataclass
class ListScan:
    """The obvious implementation: remember everything, look at everything."""

    entries: list[tuple[int, str, str]] = field(default_factory=list)
    begun_at: int = 0
    """Of a snapshot: what was stored before is not looked up any more."""

    def is_invalidated(self, distribution_id: str, target: str, stamp: int) -> bool:
        return any(
            index > stamp
            and of == distribution_id
            and (target.startswith(path[:-1]) if path.endswith("*") else target == path)
            for index, of, path in self.entries
        )


def replay(events: list[tuple[object, ...]]) -> tuple[InvalidationLog, ListScan]:
    log, naive = InvalidationLog(), ListScan()
    for event in events:
        index = log.applied_index + 1
        match event:
            case ("invalidate", str() as distribution_id, list() as paths):
                log.append(index, distribution_id, paths)
                naive.entries += [(index, distribution_id, path) for path in paths]
            case ("advance",):
                log.advance(index)
            case ("snapshot", int() as skipped):
                log.start_over(index + skipped)
                naive.entries.clear()
                naive.begun_at = index + skipped
    return log, naive


@settings(max_examples=examples(150))
@given(EVENTS, DISTRIBUTIONS, PATHS, st.data())
def test_the_log_answers_as_a_scan_of_everything_would(
    events: list[tuple[object, ...]], distribution_id: str, target: str, data: st.DataObject
) -> None:
    log, naive = replay(events)
    for stamp in {naive.begun_at, log.applied_index, data.draw(st.integers(naive.begun_at, log.applied_index))}:
        assert log.is_invalidated(distribution_id, target, stamp) == naive.is_invalidated(
            distribution_id, target, stamp
        )


@given(EVENTS, DISTRIBUTIONS, PATHS, st.data())
def test_a_log_that_is_full_forgets_no_invalidation(
    events: list[tuple[object, ...]], distribution_id: str, target: str, data: st.DataObject
) -> None:
    """Beyond its bound it may void too much, never too little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invalidation_index, "MAXIMUM_PATHS_PER_DISTRIBUTION", 3)
        log, naive = replay(events)
        for of_distribution in log._by_distribution.values():
            assert len(of_distribution.exact) + len(of_distribution.prefixes) <= 3
        stamp = data.draw(st.integers(0, log.applied_index))
        assert log.is_invalidated(distribution_id, target, stamp) >= naive.is_invalidated(
            distribution_id, target, stamp
        )
        assert not log.is_invalidated(distribution_id, target, log.applied_index)


def test_up_to_its_bound_a_log_voids_nothing_but_what_was_invalidated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidation_index, "MAXIMUM_PATHS_PER_DISTRIBUTION", 3)
    log = InvalidationLog()
    log.append(1, "E1", ["/a", "/b/*", "/c"])
    log.append(2, "E1", ["/a"])  # known already: it takes no more room
    assert [log.is_invalidated("E1", target, 0) for target in ("/a", "/b/1", "/c", "/d")] == [True, True, True, False]
    log.append(3, "E1", ["/e"])
    assert log.is_invalidated("E1", "/d", 2) and not log.is_invalidated("E2", "/d", 2)


# -- the memory store

CAPACITY = 32 * 1024
TEMPLATE = EntryTemplates(LocalNode(Role.EDGE, b"FRA56-P1", b"1.1 a")).of(
    200, b"OK", b"", CacheMetadata(60.0, LifetimeRule.MAX_AGE), is_strict=False
)


def key_of(name: str) -> bytes:
    return b"E1\n/" + name.encode()


def entry_of(name: str, body: bytes) -> Entry:
    return make_entry(key_of(name), content_length(len(body)), [body], len(body), TEMPLATE, ResponseTiming(1, 0.0, 0.0))


NAMES = st.sampled_from([str(number) for number in range(30)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.integers(0, 3_000)),
        st.tuples(st.just("lookup"), NAMES),
        st.tuples(st.just("peek"), NAMES),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("arrive"), st.integers(0, 20), st.integers(1, 3_000)),
        st.tuples(st.just("give up"), st.integers(0, 20)),
    ),
    max_size=80,
)


@given(STEPS)
@example([("put", "0", 0), ("put", "1", 0), ("put", "0", 0)])
def test_the_memory_store_keeps_its_budget_and_forgets_only_what_was_used_least_recently(
    steps: list[tuple[object, ...]],
) -> None:
    store = MemoryStore(CAPACITY, POLICIES["lru"])
    model: OrderedDict[str, int] = OrderedDict()
    writers = [(store.open_writer(b"E1\n/a", None), [0]) for _ in range(21)]

    def evict(reserved: int) -> None:
        while model and sum(model.values()) + reserved > CAPACITY:
            model.popitem(last=False)

    for step in steps:
        match step:
            case ("put", str() as name, int() as size):
                entry = entry_of(name, bytes(size))
                store.put(entry)
                model[name] = entry.cost_bytes  # where it was: who replaces an entry has looked it up before
            case ("lookup", str() as name):
                assert (store.lookup(key_of(name)) is not None) == (name in model)
                if name in model:
                    model.move_to_end(name)
            case ("peek", str() as name):
                assert (store.peek(key_of(name)) is not None) == (name in model)
            case ("remove", str() as name):
                store.remove(key_of(name))
                model.pop(name, None)
            case ("arrive", int() as number, int() as size):
                writer, reserved = writers[number]
                assert writer is not None
                others = sum(held for other, (held,) in writers if other is not writer)
                evict(
                    others + reserved[0] + size
                    if reserved[0] + size <= store.largest_body_bytes and reserved[0] >= 0
                    else 0
                )
                reserved[0] = reserved[0] + size if writer.add(bytes(size)) else 0
                if not reserved[0]:
                    writers[number] = (store.open_writer(b"E1\n/a", None), [0])
            case ("give up", int() as number):
                writer, _ = writers[number]
                assert writer is not None
                writer.abort()
                writers[number] = (store.open_writer(b"E1\n/a", None), [0])
        held = sum(reserved for _, (reserved,) in writers)
        evict(held)
        assert store.statistics.used_bytes == held + sum(model.values()) <= CAPACITY
        assert list(model) == [target_of(node.key)[1:] for node in store._policy.nodes()]
        assert store.statistics.entries == len(model)


# -- paths and patterns


def remove_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4, as it is written there."""
    output = ""
    while path:
        if path.startswith("/./"):
            path = path[2:]
        elif path == "/.":
            path = "/"
        elif path.startswith("/../"):
            path, output = path[3:], output.rpartition("/")[0]
        elif path == "/..":
            path, output = "/", output.rpartition("/")[0]
        else:
            end = path.find("/", 1)
            end = len(path) if end < 0 else end
            output, path = output + path[:end], path[end:]
    return output


@given(st.text("a./", max_size=12).map(lambda text: "/" + text))
def test_a_normalised_path_is_that_of_the_rfc_without_doubled_slashes(path: str) -> None:
    single = path
    while "//" in single:
        single = single.replace("//", "/")
    assert normalise_path(path) == remove_dot_segments(single)
    assert normalise_path(normalise_path(path)) == normalise_path(path)


def matches(pattern: str, text: str) -> bool:
    """`*` and `?`, by trying everything."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and matches(pattern[1:], text[1:])


@given(st.text("ab*?/.+\n", min_size=1, max_size=8), st.text("ab/.+\n", max_size=8))
def test_a_pattern_matches_what_its_characters_say(pattern: str, text: str) -> None:
    full = pattern if pattern.startswith(("/", "*")) else f"/{pattern}"
    assert bool(compile_pattern(pattern).fullmatch(f"/{text}")) == matches(full, f"/{text}")


# -- field values: whatever is in them, they mean something


@given(st.binary(max_size=60))
def test_no_field_value_is_an_error(value: bytes) -> None:
    control = parse_cache_control(value)
    assert all(
        0 <= lifetime <= LONGEST_LIFETIME_SECONDS
        for lifetime in (control.max_age, control.s_maxage, control.stale_if_error)
        if lifetime is not None
    )
    parse_http_date(value)
    parse_cookies(value)
    normalise_accept_encoding(value, True, True)
    assert corrected_age({b"age": value}, 0.0, 0.0) >= 0


DATE_TEXTS = st.from_regex(
    rb"(?:[A-Z][a-z]{2},? )?[0-9]{1,5}[ -](?:Jan|Feb|Dec|Foo)[ -][0-9]{1,6} [0-9]{1,3}:[0-9]{1,3}(?::[0-9]{1,3})?(?: GMT| [+-][0-9]{4,9}| Z)?",
    fullmatch=True,
)


@given(DATE_TEXTS)
def test_no_date_is_an_error(value: bytes) -> None:
    parsed = parse_http_date(value)
    assert parsed is None or isinstance(parsed, float)


@given(st.integers(0, 4_000_000_000))
def test_a_date_that_is_written_is_read_again(seconds: int) -> None:
    assert parse_http_date(formatdate(seconds, usegmt=True).encode()) == seconds


DIRECTIVES = st.lists(
    st.sampled_from(
        [
            b"no-store",
            b"no-cache",
            b"private",
            b"public",
            b"max-age=0",
            b"max-age=60",
            b"s-maxage=5",
            b"max-age=x",
            b"must-revalidate",
        ]
    ),
    max_size=3,
)


@given(st.integers(100, 599), DIRECTIVES, st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_lifetime_is_never_outside_what_the_policy_allows(
    status: int, directives: list[bytes], minimum: int, above: int, more: int
) -> None:
    none = Selection(SelectionMode.NONE)
    policy = CachePolicy("p", minimum, minimum + above, minimum + above + more, False, False, none, none, none)
    fields = {b"cache-control": b", ".join(directives)} if directives else {}
    seconds = metadata_by_table(ResponseHead(status, b"", (), 0, fields), policy, 10.0, 0.0).lifetime_seconds
    if seconds is not None and status < 400:
        assert minimum <= seconds <= policy.maximum_ttl
        if minimum == 0 and {b"no-store", b"no-cache", b"private"} & set(directives):
            assert seconds == 0
    if policy.maximum_ttl == 0:
        assert seconds is None


@given(
    st.lists(st.sampled_from([b"a=1", b"b=2", b"A=1", b"a", b"", b"a=2", b"a;b=1"]), max_size=6),
    st.sampled_from(list(SelectionMode)),
)
def test_selecting_a_query_string_twice_is_selecting_it_once(parts: list[bytes], mode: SelectionMode) -> None:
    """What a regional cache makes of what an edge made of it is the same key."""
    selection = Selection(mode, (b"a",))
    once = select_query(b"&".join(parts), selection)
    assert select_query(once, selection) == once


@given(st.lists(st.sampled_from([b"a", b'"b, c"', b'W/"d"', b'e="f\\",g"']), max_size=5))
def test_a_list_is_split_at_the_commas_between_its_members(members: list[bytes]) -> None:
    assert split_list(b" ,\t".join(members)) == members
