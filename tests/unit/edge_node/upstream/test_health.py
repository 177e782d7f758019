"""Which failures take a regional cache out, for how long, and how many may be out at once."""

import pytest

from edge_node.model.errors import UpstreamErrorKind
from edge_node.upstream.health import (
    BASE_EJECTION_SECONDS,
    MAXIMUM_EJECTION_SECONDS,
    MOST_REMEMBERED_PEERS,
    PeerHealth,
)

UNREACHABLE = [UpstreamErrorKind.REFUSED, UpstreamErrorKind.CONNECT_TIMEOUT, UpstreamErrorKind.NAME]
OF_OTHERS = [
    UpstreamErrorKind.TRUNCATED,
    UpstreamErrorKind.INVALID_RESPONSE,
    UpstreamErrorKind.FAILOVER,
    UpstreamErrorKind.OVERLOADED,
    UpstreamErrorKind.INTERNAL,
]
RESET, TIMEOUT, REFUSED = UpstreamErrorKind.RESET, UpstreamErrorKind.READ_TIMEOUT, UpstreamErrorKind.REFUSED


def fails(health: PeerHealth, *kinds: UpstreamErrorKind, peer: str = "r1", now: float = 0.0, peers: int = 2) -> bool:
    """Whether the last of these ejects the peer."""
    return [health.failed(peer, kind, now, peers) for kind in kinds][-1]


def test_every_kind_of_error_is_known_here() -> None:
    assert {*UNREACHABLE, *OF_OTHERS, RESET, TIMEOUT} == set(UpstreamErrorKind)


@pytest.mark.parametrize("kind", [*UNREACHABLE, RESET])
def test_two_in_a_row_of_what_only_the_peer_can_do_eject_it(kind: UpstreamErrorKind) -> None:
    health = PeerHealth()
    assert not fails(health, kind)
    assert not health.is_ejected("r1", 0.0)
    assert fails(health, kind)
    assert health.is_ejected("r1", 0.0) and not health.is_ejected("r2", 0.0)


def test_of_timeouts_it_takes_three() -> None:
    health = PeerHealth()
    assert not fails(health, TIMEOUT, TIMEOUT)
    assert fails(health, TIMEOUT)


@pytest.mark.parametrize("kind", OF_OTHERS)
def test_what_came_through_a_peer_never_ejects_it(kind: UpstreamErrorKind) -> None:
    health = PeerHealth()
    assert not any(health.failed("r1", kind, 0.0, 2) for _ in range(1_000))
    assert health.is_clean and not health.is_ejected("r1", 0.0)


def test_a_response_in_between_makes_up_for_it() -> None:
    health = PeerHealth()
    for _ in range(100):
        assert not fails(health, TIMEOUT, TIMEOUT)
        health.answered("r1", 0.0)
    assert health.is_clean


def test_it_comes_back_by_itself_and_one_failure_more_doubles_its_time() -> None:
    health, now, seconds = PeerHealth(), 0.0, BASE_EJECTION_SECONDS
    assert fails(health, REFUSED, REFUSED)
    for _ in range(10):
        assert health.is_ejected("r1", now + seconds - 0.01)
        assert not health.is_ejected("r1", now + seconds)
        now += seconds
        seconds = min(2 * seconds, MAXIMUM_EJECTION_SECONDS)
        assert fails(health, TIMEOUT, now=now)
    assert seconds == MAXIMUM_EJECTION_SECONDS


def test_ejections_are_forgotten_when_it_has_been_well_for_as_long_as_it_was_out() -> None:
    health = PeerHealth()
    fails(health, REFUSED, REFUSED)
    health.answered("r1", BASE_EJECTION_SECONDS)
    assert not health.is_clean
    assert not fails(health, REFUSED, now=BASE_EJECTION_SECONDS)  # no longer on probation,
    assert fails(health, REFUSED, now=BASE_EJECTION_SECONDS)
    assert health.is_ejected("r1", 2.9 * BASE_EJECTION_SECONDS)  # but out for twice the time
    health.answered("r1", 5 * BASE_EJECTION_SECONDS)
    assert health.is_clean


def test_those_who_were_asked_together_count_once() -> None:
    health = PeerHealth()
    assert sum(health.failed("r1", RESET, 0.0, 2) for _ in range(100)) == 1
    health.answered("r1", 0.1)  # it was asked before, too
    assert health.is_ejected("r1", BASE_EJECTION_SECONDS - 0.01)
    assert not health.is_ejected("r1", BASE_EJECTION_SECONDS)


@pytest.mark.parametrize(("peers", "most"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3)])
def test_silence_ejects_half_of_the_peers_at_most_and_one_at_least(peers: int, most: int) -> None:
    health = PeerHealth()
    for number in range(peers):
        for _ in range(10):
            health.failed(f"r{number}", TIMEOUT, 0.0, peers)
    assert sum(health.is_ejected(f"r{number}", 0.0) for number in range(peers)) == most


def test_the_unreachable_may_all_be_ejected() -> None:
    health = PeerHealth()
    for number in range(4):
        assert fails(health, REFUSED, REFUSED, peer=f"r{number}", peers=4)


def test_who_could_not_be_ejected_is_when_another_has_come_back() -> None:
    health = PeerHealth()
    assert fails(health, TIMEOUT, TIMEOUT, TIMEOUT, peer="r1")
    assert not fails(health, TIMEOUT, TIMEOUT, TIMEOUT, peer="r2")
    assert fails(health, TIMEOUT, peer="r2", now=BASE_EJECTION_SECONDS)


def test_it_remembers_no_more_than_so_many_peers() -> None:
    health = PeerHealth()
    for number in range(2 * MOST_REMEMBERED_PEERS):
        fails(health, REFUSED, REFUSED, peer=f"r{number}")
    out = [health.is_ejected(f"r{number}", 0.0) for number in range(2 * MOST_REMEMBERED_PEERS)]
    assert sum(out) == MOST_REMEMBERED_PEERS and out[-1]
