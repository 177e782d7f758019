"""Places at an upstream: taken, waited for in turn, released, and refused to those who would wait too long."""

import asyncio

import pytest

from edge_node.model.errors import Fault, UpstreamError, UpstreamErrorKind
from edge_node.upstream import limits as limits_module
from edge_node.upstream.endpoints import Tier
from edge_node.upstream.limits import REGIONAL_CONNECTIONS, UpstreamLimits, UpstreamSlots
from tests.edge_wires import turn

ADDRESS = ("192.0.2.1", 80)
LONG = 60.0


def full(capacity: int = 1, most_waiting: int = 2) -> UpstreamSlots:
    slots = UpstreamSlots(capacity, most_waiting)
    for _ in range(capacity):
        assert not slots.is_full
        slots.take()
    assert slots.is_full
    return slots


async def waiting(slots: UpstreamSlots, count: int) -> "list[asyncio.Task[None]]":
    tasks = [asyncio.ensure_future(slots.wait(ADDRESS, LONG)) for _ in range(count)]
    await turn()
    return tasks


async def test_a_place_goes_to_who_has_waited_longest() -> None:
    slots = full()
    first, second = await waiting(slots, 2)
    assert not first.done()
    slots.release()
    await turn()
    assert first.done() and not second.done()
    assert slots.is_full, "it was handed over"
    slots.release()
    await second
    slots.release()
    assert slots.is_unused


async def test_one_too_many_is_refused_at_once() -> None:
    slots = full()
    await waiting(slots, 2)
    with pytest.raises(UpstreamError) as raised:
        await slots.wait(ADDRESS, LONG)
    error = raised.value.failure
    assert (error.kind, error.status, error.fault) == (UpstreamErrorKind.OVERLOADED, 503, Fault.INTERNAL)
    assert error.is_request_untouched and "192.0.2.1:80" in error.detail


async def test_waiting_has_an_end_and_leaves_nothing_behind() -> None:
    slots = full()
    with pytest.raises(UpstreamError) as raised:
        await slots.wait(ADDRESS, 0.0)
    assert raised.value.failure.kind is UpstreamErrorKind.OVERLOADED
    slots.release()
    assert slots.is_unused


async def test_who_leaves_while_waiting_takes_no_place_along() -> None:
    slots = full()
    first, second = await waiting(slots, 2)
    first.cancel()
    await turn()
    slots.release()
    await second
    slots.release()
    assert slots.is_unused


async def test_who_has_left_or_waited_too_long_is_none_of_the_many_that_wait() -> None:
    slots = full(most_waiting=1)
    with pytest.raises(UpstreamError):
        await slots.wait(ADDRESS, 0.0)
    (left,) = await waiting(slots, 1)
    left.cancel()
    await turn()
    (next_one,) = await waiting(slots, 1)
    assert not next_one.done(), "there is room for one who waits"
    slots.release()
    await next_one


async def test_who_leaves_just_as_the_place_comes_passes_it_on() -> None:
    slots = full()
    first, second = await waiting(slots, 2)
    slots.release()
    first.cancel()  # it has the place, and has not been told
    await turn()
    assert first.cancelled() and second.done()
    slots.release()
    assert slots.is_unused


async def test_who_has_just_left_is_passed_over_by_a_place_that_comes() -> None:
    slots = full()
    first, second = await waiting(slots, 2)
    first.cancel()  # and has not run since
    slots.release()
    await turn()
    assert first.cancelled() and second.done()
    slots.release()
    assert slots.is_unused


async def test_whose_waiting_has_just_ended_is_passed_over_by_a_place_that_comes() -> None:
    slots = full()
    late = asyncio.ensure_future(slots.wait(ADDRESS, 0.0))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(slots.release)  # behind the end of its time, before it is told
    with pytest.raises(UpstreamError) as raised:
        await late
    assert raised.value.failure.kind is UpstreamErrorKind.OVERLOADED
    assert slots.is_unused


async def test_each_upstream_has_places_of_its_own_and_a_regional_cache_has_more() -> None:
    limits = UpstreamLimits(1)
    origin, other = limits.slots_of(ADDRESS, Tier.ORIGIN), limits.slots_of(("192.0.2.2", 80), Tier.ORIGIN)
    origin.take()
    assert origin.is_full and not other.is_full
    assert limits.slots_of(ADDRESS, Tier.ORIGIN) is origin
    regional = limits.slots_of(("192.0.2.3", 80), Tier.REGIONAL)
    for _ in range(REGIONAL_CONNECTIONS):
        assert not regional.is_full
        regional.take()
    assert regional.is_full


async def test_upstreams_that_are_not_used_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "MOST_IDLE_UPSTREAMS", 2)
    limits = UpstreamLimits(1)
    busy = limits.slots_of(ADDRESS, Tier.ORIGIN)
    busy.take()
    idle = limits.slots_of(("192.0.2.2", 80), Tier.ORIGIN)
    limits.slots_of(("192.0.2.3", 80), Tier.ORIGIN)
    assert limits.slots_of(ADDRESS, Tier.ORIGIN) is busy
    assert limits.slots_of(("192.0.2.2", 80), Tier.ORIGIN) is not idle
