"""The catalogue: every fault has its two halves, the page says what the table says, leases have bounds."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from lab.durations import format_duration
from lab.errors import UsageError
from lab.faults.actions import ACTIONS
from lab.faults.catalogue import CATALOGUE, find_fault, lease_of
from lab.faults.fault import Fault, Targets
from lab.faults.lease import ConflictError, Lease, Phase, Place, check_room
from lab.faults.parameters import Parameter, Value
from lab.topology.layout import Role
from tests.faults.contract import ROWS

PAGE = Path(__file__).resolve().parents[4] / "docs" / "faults.md"


def test_every_fault_can_be_injected_and_undone() -> None:
    assert list(ACTIONS) == list(CATALOGUE)


def test_every_fault_is_seen_from_outside_by_a_test() -> None:
    """On processes and on containers: tests/faults."""
    assert list(ROWS) == list(CATALOGUE)


def test_the_page_has_each_fault_as_it_is() -> None:
    section = PAGE.read_text().partition("## The catalogue\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [row_of(fault) for fault in CATALOGUE.values()]


def row_of(fault: Fault) -> str:
    told = ", ".join(described(each) for each in fault.parameters) or "none"
    lease = (
        "none"
        if fault.is_momentary
        else f"{format_duration(fault.lease_seconds)}, at most {format_duration(fault.longest_lease_seconds)}"
    )
    return f"| `{fault.name}` | {fault.does} | {told} | {whom(fault)} | {fault.heals} | {lease} |"


def whom(fault: Fault) -> str:
    if fault.targets is not Targets.NODES:
        return fault.targets.value
    others = [role for role in Role if role not in fault.roles]
    if len(others) <= 1:
        return f"all but {_listed(others)}" if others else "all"
    return _listed(fault.roles)


def _listed(roles: Iterable[Role]) -> str:
    return ", ".join(role.value.replace("_", " ") for role in roles)


def described(parameter: Parameter) -> str:
    default = "" if parameter.default is None else f"={parameter.show(parameter.default)}"
    unit = f" {parameter.unit}" if parameter.unit and parameter.unit != "s" else ""
    return f"`{parameter.name}{default}`{unit}"


@pytest.mark.parametrize("fault", CATALOGUE.values(), ids=lambda fault: fault.name)
def test_defaults_are_within_their_bounds(fault: Fault) -> None:
    for each in fault.parameters:
        if each.default is not None:
            assert each.read(each.default) == each.default
            assert each.read(each.show(each.default)) == each.default, "as people write it"
    assert fault.lease_seconds <= fault.longest_lease_seconds


def test_a_lease_has_a_default_and_an_end() -> None:
    kill = find_fault("kill")
    assert (lease_of(kill, None), lease_of(kill, 3600)) == (30, 3600)
    for wrong in (0, -1, 3600.001, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="kill can last up to 1h"):
            lease_of(kill, wrong)
    with pytest.raises(UsageError, match="no lease to be given"):
        lease_of(find_fault("restart"), 5)


@pytest.mark.parametrize(
    ("older", "newer", "is_hidden"),
    [
        (("/", 1.0), ("/", 1.0), True),
        (("/api/", 1.0), ("/", 1.0), True),
        (("/", 1.0), ("/api/", 1.0), False),
        (("/", 1.0), ("/", 0.5), False),
        (("/", 0.5), ("/", 1.0), True),
        (("/a", 1.0), ("/b", 1.0), False),
    ],
)
def test_an_answer_that_would_hide_another_fault_s_is_refused(
    older: tuple[str, float], newer: tuple[str, float], is_hidden: bool
) -> None:
    """An origin applies the newest behavior that matches, alone."""
    told: list[dict[str, Value]] = [{"path": path, "probability": probability} for path, probability in (older, newer)]
    lease = Lease("f-1", "http-status", "o", {"status": 503, **told[0]}, (Place("o"),), "b", 30, 0, 30, Phase.INJECTED)
    if is_hidden:
        with pytest.raises(ConflictError, match=r"o has http-status already \(f-1\)"):
            check_room(find_fault("http-drop"), told[1], ["o"], [lease])
    else:
        check_room(find_fault("http-drop"), told[1], ["o"], [lease])
    check_room(find_fault("http-drop"), told[1], ["another"], [lease])
    check_room(find_fault("kill"), {}, ["o"], [lease])


@pytest.mark.parametrize(
    ("older", "newer", "is_refused"),
    [
        (("link-cut", "a--b"), ("link-cut", "a--b"), True),
        (("link-cut", "a--b"), ("partition", "a--b"), True),
        (("partition", "a--b forward"), ("link-cut", "a--b"), True),
        (("link-cut", "a--b forward"), ("link-cut", "a--b forward"), True),
        (("link-cut", "a--b forward"), ("link-cut", "a--b backward"), False),
        (("link-cut", "a--b"), ("link-cut", "a--c"), False),
        (("link-cut", "a--b"), ("link-loss", "a--b"), False),
        (("link-delay", "a--b"), ("link-loss", "a--b"), False),
        (("link-slice", "a--b"), ("link-slice", "a--b"), False),
        (("cut", "edge-1"), ("cut", "edge-1"), False),
        (("cut", "edge-1"), ("kill", "edge-1"), False),
    ],
)
def test_faults_of_one_direction_of_a_link_that_would_undo_each_other_are_refused(
    older: tuple[str, str], newer: tuple[str, str], is_refused: bool
) -> None:
    lease = Lease("f-1", older[0], "t", {}, (Place(older[1]),), "b", 30, 0, 30, Phase.INJECTED)
    if is_refused:
        with pytest.raises(ConflictError, match=rf"{older[1]} has {older[0]} already \(f-1\)"):
            check_room(find_fault(newer[0]), {}, [newer[1]], [lease])
    else:
        check_room(find_fault(newer[0]), {}, [newer[1]], [lease])
