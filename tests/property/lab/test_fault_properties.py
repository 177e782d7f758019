"""Sentences about targets, durations and leases: independent of how they are computed."""

import json
import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lab.durations import format_duration, parse_duration
from lab.errors import UsageError
from lab.faults.catalogue import CATALOGUE
from lab.faults.lease import MOST_ATTEMPTS, Lease, Phase, Place, lease_from_json
from lab.faults.parameters import read_parameters
from lab.faults.targets import Candidate, choose, choose_for
from lab.topology.layout import Role
from tests.depth import examples

REGIONS, POPS = ("us-east-1", "eu-central-1"), ("", "FRA56-P1", "IAD89-P1")
NODES = st.lists(
    st.tuples(st.sampled_from(list(Role)), st.sampled_from(REGIONS), st.sampled_from(POPS)), min_size=1, max_size=12
).map(lambda places: [Candidate(f"node-{n}", *place) for n, place in enumerate(places)])
SELECTORS = st.sampled_from(
    [*(f"role:{role.value}" for role in Role), *(f"region:{each}" for each in REGIONS), "pop:FRA56-P1"]
)


def meant(selector: str, nodes: list[Candidate]) -> list[str]:
    """Slowly, from the words."""
    kind, _, value = selector.partition(":")
    attribute = {"role": lambda node: node.role.value, "region": lambda node: node.region, "pop": lambda node: node.pop}
    return [node.id for node in nodes if attribute[kind](node) == value]


def ids(target: str, nodes: list[Candidate]) -> list[str]:
    return [node.id for node in choose(target, nodes)]


@settings(max_examples=examples(50))
@given(NODES, st.lists(SELECTORS, min_size=1, max_size=3))
def test_a_union_is_everybody_who_is_meant_once_in_the_lab_s_order(
    nodes: list[Candidate], selectors: list[str]
) -> None:
    parts = [meant(selector, nodes) for selector in selectors]
    if not all(parts):
        missing = next(selector for selector, part in zip(selectors, parts, strict=True) if not part)
        with pytest.raises(UsageError, match=f"no node has the {missing.partition(':')[0]} "):
            choose(",".join(selectors), nodes)
        return
    wanted = {each for part in parts for each in part}
    assert ids(", ".join(selectors), nodes) == [node.id for node in nodes if node.id in wanted]


@settings(max_examples=examples(50))
@given(NODES, st.integers(1, 100), st.none() | st.integers(0, 10**6))
def test_a_fraction_is_rounded_up(nodes: list[Candidate], percent: int, seed: int | None) -> None:
    role = nodes[0].role.value
    of = meant(f"role:{role}", nodes)
    chosen = ids(f"role:{role}/{percent}%" + ("" if seed is None else f"?seed={seed}"), nodes)
    assert len(chosen) == max(1, math.ceil(Fraction(percent, 100) * len(of)))
    assert set(chosen) <= set(of)
    if seed is None:
        assert chosen == of[: len(chosen)]


@settings(max_examples=examples(50))
@given(NODES, st.integers(0, 10**9))
def test_the_same_seed_takes_the_same_nodes_and_more_of_them_keep_those(nodes: list[Candidate], seed: int) -> None:
    role = nodes[0].role.value
    count = len(meant(f"role:{role}", nodes))
    sets = [set(ids(f"role:{role}/{n}?seed={seed}", nodes)) for n in range(1, count + 1)]
    assert [len(each) for each in sets] == list(range(1, count + 1))
    assert all(less < more for less, more in pairwise(sets))
    assert sets[0] == set(ids(f"role:{role}/1?seed={seed}", list(reversed(nodes)))), "whatever their order"


def test_seeds_reach_every_node() -> None:
    nodes = [Candidate(f"edge-{n}", Role.EDGE, "r", "P") for n in range(5)]
    assert {ids(f"role:edge/1?seed={seed}", nodes)[0] for seed in range(100)} == {node.id for node in nodes}


@settings(max_examples=examples(100))
@given(st.text(alphabet="role:edge/%?sd=,1207 x", max_size=20) | st.text(max_size=8))
@example("role:edge/0%")
@example("role:edge/101%")
@example("role:edge/0")
@example("role:edge/50%?seed=")
@example("")
@example(",")
def test_what_is_no_target_is_refused_with_words(text: str) -> None:
    nodes = [Candidate("edge-1", Role.EDGE, "r", "P"), Candidate("o", Role.ORIGIN, "r", "")]
    try:
        chosen = choose(text, nodes)
    except UsageError:
        return
    assert chosen, "nobody is never meant"


def test_more_than_there_are_and_the_wrong_role_are_refused_by_name() -> None:
    nodes = [Candidate("edge-1", Role.EDGE, "r", "P"), Candidate("o", Role.ORIGIN, "r", "")]
    with pytest.raises(UsageError, match="wants 2 of 1: edge-1"):
        choose("role:edge/2", nodes)
    with pytest.raises(UsageError, match="http-drop is for origin, and edge-1 is edge; there are o"):
        choose_for(CATALOGUE["http-drop"], "region:r", nodes)


@settings(max_examples=examples(100))
@given(st.integers(0, 10**9))
def test_a_duration_is_read_as_it_is_written(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("2h", 7200),
        ("1h1m1s1ms", 3661.001),
        ("5m", 300),
        ("0s", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-1s", "1s1m", "1 s", "1e3s", "1w", "\u0661s", "m30s", "1.5m", "inf", "1s\n"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration: write it as 500ms, 30s, 1m30s or 1d"):
        parse_duration(text)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=1)
)


@settings(max_examples=examples(100))
@given(st.sampled_from(list(CATALOGUE.values())), st.data())
def test_whatever_is_given_as_a_parameter_is_within_bounds_or_refused(fault: object, data: st.DataObject) -> None:
    parameters = getattr(fault, "parameters")  # noqa: B009
    given_values = {each.name: data.draw(ANYTHING) for each in parameters if data.draw(st.booleans())}
    try:
        values = read_parameters(parameters, given_values)
    except UsageError:
        return
    for each in parameters:
        value = values[each.name]
        assert isinstance(value, str) or each.least <= value <= each.most
        assert json.loads(json.dumps(value)) == value


@settings(max_examples=examples(50))
@given(st.lists(st.text(max_size=5), max_size=3), st.floats(0, 1e9), st.sampled_from(list(Phase)), st.integers(0, 50))
def test_a_lease_is_read_as_it_was_written(nodes: list[str], at: float, phase: Phase, attempts: int) -> None:
    places = tuple(Place(node, {"behavior": "b-1"}) for node in nodes)
    lease = Lease("f-1", "kill", "x", {"by": 0.5}, places, "boot", 30.0, at, at + 30, phase, attempts, "trouble")
    assert lease_from_json(json.loads(json.dumps(lease.to_json()))) == lease


def test_the_undoing_is_tried_for_minutes_and_not_for_ever() -> None:
    lease, now, pauses = Lease("f-1", "kill", "x", {}, (), "boot", 1, 0, 1), 0.0, []
    while lease.phase is not Phase.GIVEN_UP:
        lease = lease.failed("refused", now)
        pauses.append(lease.due_at - now)
        now = lease.due_at
    assert len(pauses) == MOST_ATTEMPTS and pauses == sorted(pauses) and 300 < now < 600
