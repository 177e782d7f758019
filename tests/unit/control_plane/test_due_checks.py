"""Who is looked at, and when."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from control_plane.due_checks import LONGEST_CHECK_SECONDS, DueChecks
from control_plane.nodes import NodeDescription, NodeRecord, Role


def records(number: int) -> dict[str, NodeRecord]:
    described = (
        NodeDescription(f"edge-{each}", Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")
        for each in range(number)
    )
    return {node.identifier: NodeRecord(node) for node in described}


def take(checks: DueChecks, nodes: dict[str, NodeRecord], now: float) -> list[str]:
    return [record.description.identifier for record in checks.take(nodes, now)]


def test_a_node_is_looked_at_once_at_the_earliest_time_that_is_planned() -> None:
    checks, nodes = DueChecks(100.0), records(1)
    for at in (130.0, 110.0, 120.0):
        checks.plan(nodes["edge-0"], at)
    assert checks.next_at == 100.0, "at first at once, whoever there is"
    assert take(checks, nodes, 109.9) == [] and checks.next_at == 110.0
    assert take(checks, nodes, 110.0) == ["edge-0"] and nodes["edge-0"].check_at == inf
    assert take(checks, nodes, 140.0) == []


def test_who_is_forgotten_is_not_looked_at_and_without_a_plan_a_minute_passes() -> None:
    checks, nodes = DueChecks(100.0), records(1)
    checks.plan(nodes["edge-0"], 110.0)
    assert take(checks, {}, 120.0) == []
    assert checks.next_at == 120.0 + LONGEST_CHECK_SECONDS


PLANS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50)), max_size=40)


@given(PLANS, st.lists(st.integers(1, 20), max_size=8))
def test_who_is_due_is_who_a_walk_over_all_would_find(plans: list[tuple[int, int]], pauses: list[int]) -> None:
    checks, nodes, now = DueChecks(0.0), records(5), 0.0
    planned: dict[str, float] = {}
    for number, pause in enumerate(pauses):
        for which, after in plans[number::8]:
            name = f"edge-{which}"
            checks.plan(nodes[name], now + after)
            planned[name] = min(planned.get(name, inf), now + after)
        now += pause
        due = {name for name, at in planned.items() if at <= now}
        assert checks.next_at <= min(planned.values(), default=inf)
        assert sorted(take(checks, nodes, now)) == sorted(due)
        for name in due:
            del planned[name]
