"""What faults make of a link's values: never better than they were."""

from hypothesis import given
from hypothesis import strategies as st

from lab.faults.link_values import SAME, later, lossier, narrower
from lab.faults.parameters import Value

numbers = st.floats(0, 1000, allow_nan=False)


@given(numbers, numbers, st.floats(0, 10), st.floats(0, 10), st.sampled_from([SAME, "pareto"]))
def test_a_delay_is_added(delay: float, jitter: float, by: float, more: float, distribution: str) -> None:
    given: dict[str, Value] = {"by": by, "jitter": more, "distribution": distribution}
    after = later({"delay_ms": delay, "jitter_ms": jitter, "distribution": "normal"}, given)
    assert (after["delay_ms"], after["jitter_ms"]) == (delay + 1000 * by, jitter + 1000 * more)
    assert after["distribution"] == ("normal" if distribution == SAME else distribution)


@given(st.floats(0, 99), st.floats(0.0001, 99))
def test_no_loss_becomes_less(own: float, wanted: float) -> None:
    assert lossier({"loss_percent": own}, {"percent": wanted}) == {"loss_percent": max(own, wanted)}


@given(st.floats(0.012, 1e5), st.floats(0.012, 1e5), st.integers(0, 1000), st.integers(0, 1000))
def test_no_link_becomes_wider_and_none_is_0(own: float, wanted: float, queue: int, given_queue: int) -> None:
    given = {"mbit": wanted, "queue": given_queue}
    assert narrower({"bandwidth_mbit": own, "queue_kib": queue}, given) == {
        "bandwidth_mbit": min(own, wanted),
        "queue_kib": given_queue or queue,
    }
    assert narrower({"bandwidth_mbit": 0, "queue_kib": 0}, given)["bandwidth_mbit"] == wanted
