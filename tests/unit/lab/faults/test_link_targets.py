"""Which links a target means, and in which direction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import UsageError
from lab.faults.link_targets import BOTH, Direction, LinkCandidate, LinkPart, choose_links, read_part

ENDS = (
    ("us", "us"),
    ("us", "eu"),
    ("us", "ap"),
    ("eu", "eu"),
    ("eu", "ap"),
    ("ap", "ap"),
    ("viewers-us", "us"),
    ("viewers-us", "eu"),
    ("operator", "us"),
)
LINKS = tuple(LinkCandidate(f"{one}--{other}", (one, other)) for one, other in ENDS)


def chosen(target: str, direction: str = BOTH) -> list[str]:
    return [str(part) for part in choose_links(target, LINKS, direction)]


@pytest.mark.parametrize(
    ("target", "direction", "names"),
    [
        ("link:us--eu", BOTH, ["us--eu"]),
        ("link:eu--us", BOTH, ["us--eu"]),
        ("link:us--eu", "forward", ["us--eu forward"]),
        ("link:eu--us", "forward", ["us--eu backward"]),
        ("link:eu--us", "backward", ["us--eu forward"]),
        ("link:us--us", BOTH, ["us--us"]),
        ("link:eu--*", BOTH, ["us--eu", "eu--ap", "viewers-us--eu"]),
        ("link:eu--*", "forward", ["us--eu backward", "eu--ap forward", "viewers-us--eu backward"]),
        ("link:*--eu", "forward", ["us--eu forward", "eu--ap backward", "viewers-us--eu forward"]),
        ("link:viewers-us--*", BOTH, ["viewers-us--us", "viewers-us--eu"]),
        ("link:*", BOTH, [link.name for link in LINKS]),
        ("link:*/2", BOTH, ["us--us", "us--eu"]),
        ("link:*/1%", BOTH, ["us--us"]),
        ("link:eu--*/50%", BOTH, ["us--eu", "eu--ap"]),
        ("link:us--ap, link:us--eu,link:eu--us", BOTH, ["us--eu", "us--ap"]),
        ("link:us--eu,partition:one-directional:eu", BOTH, ["us--eu", "eu--ap forward", "viewers-us--eu backward"]),
    ],
)
def test_each_form(target: str, direction: str, names: list[str]) -> None:
    assert chosen(target, direction) == names


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("us--eu", "no target for a fault of links: write link:A--B"),
        ("edge-1", "no target for a fault of links"),
        ("link:us--mars", "no link 'link:us--mars': there are us--us, us--eu"),
        ("link:mars--*", "no link"),
        ("link:us", "no link 'link:us'"),
        ("link:*/10", "wants 10 of 9"),
        ("link:*/0%", "a fraction is from 1% to 100%"),
        ("link:us--eu/50", "wants 50 of 1"),
        ("link:us--eu,", "'' is no target"),
        ("x" * 4001, "at most 4000 characters"),
    ],
)
def test_what_makes_no_sense_is_refused(target: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        chosen(target)


def test_a_partition_says_its_directions_itself() -> None:
    with pytest.raises(UsageError, match="leave out direction=forward"):
        chosen("partition:halves", "forward")


@given(st.integers(0, 10**18 - 1), st.integers(1, 9), st.integers(1, 9))
def test_a_seed_draws_the_same_and_a_larger_number_keeps_those_of_a_smaller_one(
    seed: int, small: int, large: int
) -> None:
    fewer, more = sorted((small, large))
    drawn = chosen(f"link:*/{fewer}?seed={seed}")
    assert len(drawn) == fewer and drawn == chosen(f"link:*/{fewer}?seed={seed}")
    assert set(drawn) <= set(chosen(f"link:*/{more}?seed={seed}"))


@given(st.sampled_from(LINKS), st.sets(st.sampled_from(Direction), min_size=1))
def test_a_place_of_a_lease_is_read_as_it_is_written(link: LinkCandidate, directions: set[Direction]) -> None:
    part = LinkPart(link.name, frozenset(directions))
    assert read_part(str(part)) == part and len(part.paths) == len(directions)


@given(st.sampled_from([each for each in LINKS if each.ends[0] != each.ends[1]]), st.sampled_from(Direction))
def test_a_link_that_is_written_the_other_way_round_is_the_same_with_the_other_direction(
    link: LinkCandidate, direction: Direction
) -> None:
    one, other = link.ends
    turned = Direction.BACKWARD if direction is Direction.FORWARD else Direction.FORWARD
    assert chosen(f"link:{one}--{other}", direction) == chosen(f"link:{other}--{one}", turned)
