"""DESIGN section 4 as dialogue: what a node may answer with once it has applied an invalidation."""

import asyncio
from collections.abc import Callable

import pytest

from edge_node.model.configuration import Role
from edge_node.policy.geo import GeoTable
from edge_node.policy.upstream_request import parse_request
from tests.builders import behavior_message, listed, policy_message, read_distribution
from tests.conversations.dialogue import Node
from tests.edge_state import put_distribution, reconfigured

FRESH = ("cache-control", "max-age=60")
EDGE = (("x-edge-distribution", "E1"), ("x-edge-request-id", "id=="))


async def test_an_invalidated_entry_is_gone() -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH, ("etag", '"1"'))
    node.invalidates("/a")
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert "if-none-match" not in fetch.request  # rule 8: not even to revalidate
    fetch.answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"
    assert node.records.all[-1].reason == "invalidated"


async def test_an_invalidated_entry_is_never_served_on_an_error() -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH, ("etag", '"1"'))
    node.invalidates("/a")
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).fails()
    assert (await viewer.answer()).status == 502


async def test_an_entry_invalidated_during_its_refresh_is_not_served_on_an_error() -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH, ("age", "60"), ("etag", '"1"'))
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    node.invalidates("/a")
    fetch.fails()
    assert (await viewer.answer()).status == 502


async def test_a_fetch_in_flight_across_an_invalidation_is_neither_joined_nor_kept() -> None:
    node = Node()
    before = node.viewer().asks("/a")
    old = await node.fetch(1)
    node.invalidates("/a")
    after = node.viewer().asks("/a")
    new = await node.fetch(2)
    new.answers(200, b"new", FRESH)
    assert (await after.answer()).body == b"new"
    old.answers(200, b"old", FRESH)  # ends last
    assert (await before.answer()).body == b"old"
    assert (await node.viewer().asks("/a").answer()).body == b"new"
    await node.asks_nothing_more(2)


async def test_a_fetch_in_flight_across_an_invalidation_is_not_kept_when_it_ends_first() -> None:
    node = Node()
    before = node.viewer().asks("/a")
    old = await node.fetch(1)
    node.invalidates("/*")
    old.answers(200, b"old", FRESH)
    assert (await before.answer()).body == b"old"
    after = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await after.answer()).body == b"new"


async def test_a_refresh_in_flight_across_an_invalidation_does_not_renew_the_entry() -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH, ("age", "60"), ("etag", '"1"'))
    before = node.viewer().asks("/a")
    refresh = await node.fetch(2)
    node.invalidates("/a")
    after = node.viewer().asks("/a")
    fetch = await node.fetch(3)
    assert "if-none-match" not in fetch.request
    refresh.confirms(FRESH)
    await before.answer()
    fetch.answers(200, b"new", FRESH)
    assert (await after.answer()).body == b"new"
    assert (await node.viewer().asks("/a").answer()).body == b"new"


async def test_other_paths_keep_what_they_have_and_the_check_is_paid_once() -> None:
    node = Node()
    await node.stores("/b", b"kept", FRESH)
    index = node.invalidates("/a", "/c*")
    assert (await node.viewer().asks("/b").answer()).body == b"kept"
    (entry,) = [node.store.peek(key) for key in list(node.store._entries)]
    assert entry is not None and entry.stamp == index
    await node.asks_nothing_more(1)


async def test_every_variant_of_a_path_goes() -> None:
    node = Node(behavior_message(policy=policy_message(headers=listed("x-language"))))
    await node.stores("/a", b"one", FRESH, ask=[("x-language", "de")])
    await node.stores("/a", b"two", FRESH, ask=[("x-language", "fr")])
    node.invalidates("/a")
    for number, language in enumerate(("de", "fr"), 3):
        node.viewer().asks("/a", ("x-language", language))
        await node.fetch(number)


async def test_a_snapshot_that_skips_entries_invalidates_what_is_older() -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH)
    node.learns("log-1", 9)
    node.viewer().asks("/a")
    await node.fetch(2)


async def test_a_fetch_in_flight_across_a_snapshot_that_skips_entries_is_not_kept() -> None:
    node = Node()
    before = node.viewer().asks("/a")
    old = await node.fetch()
    node.learns("log-1", 9)
    old.answers(200, b"old", FRESH)
    assert (await before.answer()).body == b"old"
    node.viewer().asks("/a")
    await node.fetch(2)


@pytest.mark.parametrize("index", [1, 5])
async def test_another_log_invalidates_everything(index: int) -> None:
    node = Node()
    node.invalidates("/x")
    node.invalidates("/x")
    await node.stores("/a", b"old", FRESH)  # stamped 3 in the old log
    node.learns("log-2", index)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


@pytest.mark.parametrize("headers", [(), (("range", "bytes=0-1"),), (("if-none-match", '"0"'),)])
@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_fetch_in_flight_across_a_change_of_log_is_not_kept(
    headers: tuple[tuple[str, str], ...], has_begun: bool
) -> None:
    """Rule 9: its stamp counts in the old log, so it can be compared with nothing."""
    node = Node()
    for _ in range(5):
        node.invalidates("/x")
    before = node.viewer().asks("/a", *headers)  # stamped 6
    old = await node.fetch()
    if has_begun:
        old.begins(200, FRESH, ("content-length", "3"))
    node.learns("log-2", 2)
    if not has_begun:
        old.begins(200, FRESH, ("content-length", "3"))
    old.sends(b"old").ends()
    assert (await before.answer()).body == b"old"
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


async def test_those_who_waited_when_the_log_changed_are_answered_and_who_comes_later_waits_for_a_new_fetch() -> None:
    node = Node()
    before = [node.viewer().asks("/a") for _ in range(3)]
    old = await node.fetch()
    node.learns("log-2", 1)
    after = [node.viewer().asks("/a")]
    new = await node.fetch(2)
    old.answers(200, b"old", FRESH)
    assert [(await viewer.answer()).body for viewer in before] == [b"old"] * 3
    after.append(node.viewer().asks("/a"))
    new.answers(200, b"new", FRESH)
    assert [(await viewer.answer()).body for viewer in after] == [b"new"] * 2
    await node.asks_nothing_more(2)


async def test_a_refresh_in_flight_across_a_change_of_log_is_not_kept() -> None:
    node = Node()
    for _ in range(5):
        node.invalidates("/x")
    await node.stores("/a", b"old", FRESH, ("age", "60"), ("etag", '"1"'))
    before = node.viewer().asks("/a")
    refresh = await node.fetch(2)
    node.learns("log-2", 2)
    refresh.confirms(FRESH)
    await before.answer()
    node.viewer().asks("/a")
    await node.fetch(3)


async def test_a_regional_cache_that_is_behind_catches_up_before_it_answers() -> None:
    node = Node(role=Role.REGIONAL)
    await node.stores("/a", b"old", FRESH, ask=[*EDGE, ("x-edge-log-index", "log-1:1")])
    viewer = node.viewer().asks("/a", *EDGE, ("x-edge-log-index", "log-1:2"))
    await node.asks_nothing_more(1)
    assert viewer.has_got_nothing
    node.invalidates("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH)
    answer = await viewer.answer()
    assert (answer.body, answer.fields["x-edge-result"]) == (b"new", "miss;invalidated")


CHANGES: dict[str, Callable[[Node], None]] = {
    "distribution": lambda node: put_distribution(node.state, 2, read_distribution(node.message)),
    "removal": lambda node: reconfigured(node.state, 2, distributions=dict(node.state.router.snapshot.distributions)),
    "latencies": lambda node: reconfigured(node.state, 2, latency_milliseconds={"eu": 1.0}),
    "countries": lambda node: reconfigured(node.state, 2, geo_table=GeoTable()),
    "nothing": lambda node: node.state.apply(2),
    "snapshot": lambda node: node.learns("log-1", 2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_whatever_an_entry_of_the_log_changes_who_waits_for_it_goes_on(change: Callable[[Node], None]) -> None:
    node = Node(role=Role.REGIONAL)
    viewer = node.viewer().asks("/a", *EDGE, ("x-edge-log-index", "log-1:2"))
    await node.asks_nothing_more(0)
    change(node)
    (await node.fetch(1)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"
    await node.viewer().asks("/a", *EDGE, ("x-edge-log-index", "log-1:2")).answer()
    await node.asks_nothing_more(1)


async def test_a_regional_cache_without_a_lease_learns_from_an_edge_that_it_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DESIGN section 4, rule 10. From then on it fetches anew, also for edges that are no further than itself."""
    monkeypatch.setattr("edge_node.stages.catch_up.CATCH_UP_SECONDS", 0.0)
    node = Node(role=Role.REGIONAL)
    await node.stores("/a", b"old", FRESH, ask=[*EDGE, ("x-edge-log-index", "log-1:1")])
    node.state.fence.leased(node.now - 1.0)  # over, and receipts still wait for it
    assert (await node.viewer().asks("/a", *EDGE, ("x-edge-log-index", "log-1:1")).answer()).body == b"old"
    behind = node.viewer().asks("/b", *EDGE, ("x-edge-log-index", "log-1:2"))
    (await node.fetch(2)).answers(200, b"b", FRESH)
    await behind.answer()
    viewer = node.viewer().asks("/a", *EDGE, ("x-edge-log-index", "log-1:1"))
    (await node.fetch(3)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


OF_ANOTHER_HISTORY = "0f" * 16


@pytest.mark.parametrize(
    "position",
    ["log-1:2", "log-2:1", "log-1:", "nonsense", "log-1:" + "9" * 5000]
    + [f"log-1:1:{digest}" for digest in (OF_ANOTHER_HISTORY, "", "0f", "xy" * 16)],
)
async def test_a_regional_cache_that_cannot_catch_up_answers_without_its_cache(
    position: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_node.stages.catch_up.CATCH_UP_SECONDS", 0.0)
    node = Node(role=Role.REGIONAL)
    await node.stores("/a", b"old", FRESH, ask=[*EDGE, ("x-edge-log-index", "log-1:1")])
    viewer = node.viewer().asks("/a", *EDGE, ("x-edge-log-index", position))
    async with asyncio.timeout(5):
        while len(node.fetcher.fetches) < 2:
            await asyncio.sleep(0)
    (await node.fetch(2)).answers(200, b"new", FRESH)
    answer = await viewer.answer()
    assert (answer.body, answer.fields["x-edge-result"]) == (b"new", "pass;regional_behind")
    assert (
        await node.viewer().asks("/a", *EDGE, ("x-edge-log-index", "log-1:1")).answer()
    ).body == b"old"  # nor did it store


async def test_a_regional_cache_that_is_ahead_answers_from_its_cache_only_those_on_its_own_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DESIGN section 4, rule 9: the log was restored from a backup, and went on to indexes that this cache has applied with other invalidations."""
    monkeypatch.setattr("edge_node.stages.catch_up.CATCH_UP_SECONDS", 0.0)
    node = Node(role=Role.REGIONAL)
    node.state.invalidations.put_digest(b"1" * 16)
    for digest in (b"2" * 16, b"3" * 16):
        node.invalidates("/x")
        node.state.invalidations.put_digest(digest)
    own = [("x-edge-log-index", f"log-1:{index}:{digest.hex()}") for index, digest in ((2, b"2" * 16), (3, b"3" * 16))]
    await node.stores("/a", b"old", FRESH, ask=[*EDGE, own[0]])
    for position in own:
        assert (await node.viewer().asks("/a", *EDGE, position).answer()).body == b"old"
    for other in (f"2:{OF_ANOTHER_HISTORY}", "2:" + (b"3" * 16).hex(), f"3:{OF_ANOTHER_HISTORY}"):
        viewer = node.viewer().asks("/a", *EDGE, ("x-edge-log-index", f"log-1:{other}"))
        async with asyncio.timeout(5):
            while len(node.fetcher.fetches) < 2:
                await asyncio.sleep(0)
        node.fetcher.fetches.pop().answers(200, b"new", FRESH)
        assert (await viewer.answer()).fields["x-edge-result"] == "pass;regional_behind"


async def test_a_regional_cache_that_does_not_know_the_distribution_yet_lets_the_edge_ask_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its 403 would be a lie: the edge knows better. A cut connection makes the edge go on to the next target."""
    monkeypatch.setattr("edge_node.stages.catch_up.CATCH_UP_SECONDS", 0.0)
    node = Node(role=Role.REGIONAL)
    viewer = node.viewer().asks("/a", ("x-edge-distribution", "E2"), ("x-edge-log-index", "log-1:2"))
    async with asyncio.timeout(5):
        while not viewer.is_cut:
            await asyncio.sleep(0)
    assert viewer.has_got_nothing


async def test_an_edge_tells_the_regional_cache_what_it_had_applied_when_the_fetch_started() -> None:
    node = Node()
    node.knows_regionals("r1")
    node.invalidates("/x")
    node.state.invalidations.put_digest(bytes(range(16)))
    node.viewer().asks("/a")
    said = (await node.fetch()).request["x-edge-log-index"]
    assert said == "log-1:2:000102030405060708090a0b0c0d0e0f"


async def test_a_viewer_cannot_speak_for_an_edge() -> None:
    node = Node()
    node.knows_regionals("r1")
    node.viewer().asks(
        "/a", ("x-edge-log-index", "log-1:999"), ("x-edge-distribution", "E9"), ("x-edge-request-id", "mine")
    )
    fetch = await node.fetch()
    assert (fetch.request["x-edge-log-index"], fetch.request["x-edge-distribution"]) == ("log-1:1", "E1")
    assert fetch.request["x-edge-request-id"] != "mine"
    names = [name for name, _ in parse_request(fetch.targets[0].request)[1]]
    assert len(names) == len(set(names))
