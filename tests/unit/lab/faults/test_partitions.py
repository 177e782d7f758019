"""Partitions against a slow oracle: who can reach whom when the links that they name are cut."""

from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import UsageError
from lab.faults.partitions import home_of, parted, read_partition

REGIONS = ("us-east-1", "eu-central-1", "ap-northeast-1", "sa-east-1", "af-south-1")
counts = st.integers(2, len(REGIONS))


def links(count: int) -> dict[str, tuple[str, str]]:
    """As the relays have them: regions with each other and themselves, viewers (two populations in the first region) and the operator with all regions."""
    regions = REGIONS[:count]
    others = (*(f"viewers-{region}" for region in regions), f"viewers-{regions[0]}-2", "operator")
    ends = [*combinations_with_replacement(regions, 2), *((other, region) for other in others for region in regions)]
    return {f"{one}--{other}": (one, other) for one, other in ends}


class Reach:
    """Who hears whom, directly."""

    def __init__(self, count: int, target: str) -> None:
        known = links(count)
        cut = parted(read_partition(target), known)
        assert len(cut) == len(set(cut)), "nothing is named twice"
        self.heard = set()
        for name, (one, other) in known.items():
            self.heard |= {(one, other)} if (name, True) not in cut else set()
            self.heard |= {(other, one)} if (name, False) not in cut else set()

    def both(self, one: str, other: str) -> bool:
        return {(one, other), (other, one)} <= self.heard

    def neither(self, one: str, other: str) -> bool:
        return not {(one, other), (other, one)} & self.heard


@given(counts, st.data())
def test_halves_are_whole_in_themselves_and_hear_nothing_of_each_other(count: int, data: st.DataObject) -> None:
    regions = REGIONS[:count]
    first = data.draw(st.lists(st.sampled_from(regions), min_size=1, max_size=count - 1, unique=True))
    reach = Reach(count, f"partition:halves:{'+'.join(first)}")
    for one in regions:
        for other in regions:
            is_together = (one in first) == (other in first)
            for place in (one, f"viewers-{one}"):
                assert (reach.both if is_together else reach.neither)(place, other)
        assert reach.both("operator", one), "the operator sees both sides"
    assert Reach(count, f"partition:halves:{'+'.join(r for r in regions if r not in first)}").heard == reach.heard


@given(counts, st.integers(0, 10**18 - 1))
def test_a_seed_draws_halves_of_the_same_size(count: int, seed: int) -> None:
    reach, again = (Reach(count, f"partition:halves?seed={seed}") for _ in range(2))
    regions = REGIONS[:count]
    sides = {frozenset(other for other in regions if reach.both(one, other)) for one in regions}
    assert sorted(map(len, sides)) == [count // 2, count - count // 2] or sides == {
        frozenset(regions[:1]),
        frozenset(regions[1:]),
    }
    assert reach.heard == again.heard


def test_without_a_seed_the_first_half_is_that_of_the_lab() -> None:
    reach = Reach(4, "partition:halves")
    assert reach.both("us-east-1", "eu-central-1") and reach.neither("eu-central-1", "ap-northeast-1")
    assert {Reach(5, f"partition:halves?seed={seed}").neither("us-east-1", "eu-central-1") for seed in range(20)} == {
        True,
        False,
    }


@given(st.integers(4, len(REGIONS)))
def test_in_a_ring_everybody_hears_two(count: int) -> None:
    reach, regions = Reach(count, "partition:ring"), REGIONS[:count]
    for at, one in enumerate(regions):
        beside = {one, regions[at - 1], regions[(at + 1) % count]}
        for other in regions:
            for place in (one, f"viewers-{one}"):
                assert (reach.both if other in beside else reach.neither)(place, other)


@given(counts, st.data())
def test_one_against_all(count: int, data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(REGIONS[:count]))
    reach = Reach(count, f"partition:one-against-all:{one}")
    for other in REGIONS[:count]:
        assert (reach.both if other == one else reach.neither)(one, other)
        assert (reach.both if other == one else reach.neither)(f"viewers-{one}", other)


@pytest.mark.parametrize("place", ["viewers-us-east-1", "viewers-us-east-1-2", "operator"])
def test_those_who_are_no_region_can_be_the_one(place: str) -> None:
    reach = Reach(3, f"partition:one-against-all:{place}")
    assert all(reach.neither(place, region) for region in REGIONS[:3])
    assert all(reach.both(one, other) for one in REGIONS[:3] for other in REGIONS[:3])


@given(counts, st.data())
def test_one_directional(count: int, data: st.DataObject) -> None:
    regions = REGIONS[:count]
    first = data.draw(st.lists(st.sampled_from(regions), min_size=1, max_size=count - 1, unique=True))
    reach = Reach(count, f"partition:one-directional:{'+'.join(first)}")
    for one in regions:
        for other in regions:
            assert ((one, other) in reach.heard) == (not (one in first and other not in first))


@pytest.mark.parametrize(
    ("count", "target", "problem"),
    [
        (2, "partition:thirds", "write partition:halves"),
        (2, "partition:halves:mars", "no place 'mars': there are us-east-1"),
        (2, "partition:halves:us-east-1+eu-central-1", "partition:halves cuts nothing"),
        (1, "partition:halves", "halves need two regions"),
        (2, "partition:halves:us-east-1?seed=7", "a seed has no meaning there"),
        (4, "partition:ring:us-east-1", "a group has no meaning there"),
        (4, "partition:ring?seed=7", "a seed has no meaning there"),
        (3, "partition:ring", "a ring cuts nothing with fewer than 4 regions"),
        (2, "partition:one-against-all", "say who"),
        (3, "partition:one-against-all:us-east-1+eu-central-1", "say who"),
    ],
)
def test_what_makes_no_sense_is_refused(count: int, target: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parted(read_partition(target), links(count))


def test_the_home_of_viewers_is_their_region_whatever_it_is_called() -> None:
    regions = ("us-east-1", "us-east")
    homes = {
        place: home_of(place, regions) for place in ("viewers-us-east-1", "viewers-us-east-1-2", "viewers-us-east-2")
    }
    assert homes == {
        "viewers-us-east-1": "us-east-1",
        "viewers-us-east-1-2": "us-east-1",
        "viewers-us-east-2": "us-east",
    }
    assert home_of("us-east", regions) == "us-east"
    assert home_of("operator", regions) == "operator"
