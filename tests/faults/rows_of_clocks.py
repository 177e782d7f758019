"""Faults of clocks, at an edge: what `Age` says of an answer that is stored there."""

import time
from collections.abc import Callable

from tests.faults.scene import EDGE, Row, Scene, Symptom

_OFFSET_SECONDS = 7_200.0
_RATE = 0.5
"""A lease still lasts until the next heartbeat, so that the edge answers from what it has stored."""
_MOST_SECONDS_OFF = 3.0
"""Age is in whole seconds, and rounded by two tiers."""


def _seconds_off(scene: Scene) -> Callable[[], float]:
    """By how much an answer is older than the true clock says, which was stored when this was called."""
    name = scene.new_name()
    scene.put(name, "1", cache_control="max-age=86400")

    def age() -> float:
        return float(scene.get(EDGE, f"/bucket/faults/{name}").headers.get("age", "0"))

    age()
    stored_at = time.monotonic()
    return lambda: age() - (time.monotonic() - stored_at)


def _too_old(seconds: float) -> Callable[[Scene], Symptom]:
    def watch(scene: Scene) -> Symptom:
        seconds_off = _seconds_off(scene)
        return Symptom(lambda: seconds_off() > seconds, lambda: abs(seconds_off()) < _MOST_SECONDS_OFF)

    return watch


ROWS = {
    "clock-offset": Row(EDGE, _too_old(_OFFSET_SECONDS - _MOST_SECONDS_OFF), {"by": _OFFSET_SECONDS}),
    "clock-drift": Row(EDGE, _too_old(_MOST_SECONDS_OFF + 1), {"rate": _RATE}),
}
