"""A run begins over links that are as they were asked for, or not at all."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lab.checkers.lateness import Lateness
from lab.checkers.verdict import Check, Outcome
from lab.clients.relays import LinkMeasurement
from lab.cluster.interface import Cluster
from lab.experiments import links
from lab.experiments.links import LINKS_FILE, TRIES, LinksAreOffError, check_before_run
from lab.experiments.run_verdict import EndedRun, late_load, over_links
from lab.topology.layout import Role

Found = tuple[LinkMeasurement, ...]


def lab_with(*roles: Role) -> Cluster:
    nodes = [SimpleNamespace(id=role.value, role=role) for role in roles]
    addresses = SimpleNamespace(admin="127.0.0.1:1")
    return cast(Cluster, SimpleNamespace(nodes=lambda: nodes, addresses=lambda _node_id: addresses))


def delays(*, is_off: bool) -> Found:
    measured = 90.0 if is_off else 45.2
    ways = ("forward", "backward")
    return tuple(LinkMeasurement("a--b", way, "delay", "ms", 45.0, measured, 4.5, is_off) for way in ways)


def relays_that_find(monkeypatch: pytest.MonkeyPatch, *rounds: Found) -> list[Found]:
    """Each self-test finds the next of these; what is left of them is returned."""
    left = list(rounds)
    monkeypatch.setattr(links, "measure_links", lambda _address: left.pop(0))
    return left


def test_it_says_that_it_measures_before_it_does_and_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    relays_that_find(monkeypatch, delays(is_off=True), delays(is_off=False))
    check_before_run(lab_with(Role.EDGE, Role.WAN), tmp_path, said.append)
    assert said[0].startswith("measuring")
    assert said[1:] == ["1 links are as asked; the longest, a--b, takes 90.4 ms there and back (90 asked)"]
    assert [each["measured"] for each in json.loads((tmp_path / LINKS_FILE).read_text())] == [45.2, 45.2]


def test_links_that_are_off_at_every_try_end_the_run_and_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = relays_that_find(monkeypatch, *[delays(is_off=True)] * TRIES, delays(is_off=False))
    with pytest.raises(LinksAreOffError, match=r"1 of 1 links .*\n  a--b \(forward\): delay of 45 ms asked, 90 ms"):
        check_before_run(lab_with(Role.WAN), tmp_path, lambda _line: None)
    assert len(left) == 1, "it does not try until it is pleased"
    assert (tmp_path / LINKS_FILE).exists(), "what was found is there to be looked at"


def test_links_that_are_only_late_are_told_from_those_that_are_too_fast_or_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (late,) = {each.measured: each for each in delays(is_off=True)}.values()
    for others, is_only_late in (
        ((), True),
        ((replace(late, measured=30.0),), False),
        ((replace(late, measured=None),), False),
        ((replace(late, what="bandwidth"),), False),
    ):
        relays_that_find(monkeypatch, *[(late, *others)] * TRIES)
        with pytest.raises(LinksAreOffError) as raised:
            check_before_run(lab_with(Role.WAN), tmp_path, lambda _line: None)
        assert raised.value.is_only_late is is_only_late


@pytest.mark.parametrize("is_only_late", [True, False])
@pytest.mark.parametrize("is_limit", [True, False])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_limit_that_was_kept_is_told_over_links_that_are_late(
    outcome: Outcome, is_limit: bool, is_only_late: bool
) -> None:
    run = cast(EndedRun, SimpleNamespace(links_trouble="1 of 1 links", links_are_only_late=is_only_late))
    told = over_links(run, Check("p95 <= 1 s", outcome, "p95 <= 1 s."), is_limit=is_limit).outcome
    assert told is (Outcome.VALID if outcome is Outcome.VALID and is_limit and is_only_late else Outcome.UNKNOWN)


def test_a_lab_without_relays_has_nothing_to_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    relays_that_find(monkeypatch)
    (tmp_path / LINKS_FILE).write_text("[]")  # of a run before, over links that this lab has not
    check_before_run(lab_with(Role.EDGE), tmp_path, said.append)
    assert not said and not (tmp_path / LINKS_FILE).exists()


@pytest.mark.parametrize(
    ("outcome", "is_limit", "expected"),
    [
        (Outcome.VALID, True, Outcome.VALID),
        (Outcome.INVALID, True, Outcome.UNKNOWN),
        (Outcome.VALID, False, Outcome.UNKNOWN),
        (Outcome.UNKNOWN, True, Outcome.UNKNOWN),
    ],
)
def test_of_a_load_that_was_late_only_a_limit_that_was_kept_is_told(
    outcome: Outcome, is_limit: bool, expected: Outcome
) -> None:
    check = Check("p95 <= 1 s", outcome, "p95 <= 1 s.")
    assert late_load(Lateness("load fell behind"), check, is_limit=is_limit).outcome is expected
    assert late_load(Lateness(), check, is_limit=is_limit) is check
    dropped = Lateness("load fell behind", is_bounded=False)
    assert late_load(dropped, check, is_limit=is_limit).outcome is Outcome.UNKNOWN
