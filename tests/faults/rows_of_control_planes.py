"""Faults of the control plane: what nodes and clients of the management API notice."""

import time
from collections.abc import Callable

from botocore.exceptions import ClientError

from lab.clients.http_client import UnreachableError
from tests.faults.management_client import client_of
from tests.faults.scene import CONTROL_PLANE as TARGET
from tests.faults.scene import EDGE, Row, Scene, Symptom

_DELAY_SECONDS = 2.0
"""More than a busy machine needs for the call."""
_OK = "ok"


def _outcome(scene: Scene) -> str:
    """Of a call: the code of its error."""
    with client_of(scene) as client:
        try:
            client.list_distributions()
        except ClientError as error:
            return str(error.response["Error"]["Code"])
    return _OK


def _answers(code: str) -> Callable[[Scene], Symptom]:
    def watch(scene: Scene) -> Symptom:
        return Symptom(lambda: _outcome(scene) == code, lambda: _outcome(scene) == _OK)

    return watch


def _late(scene: Scene) -> Symptom:
    def seconds() -> float:
        with client_of(scene) as client:
            began = time.monotonic()
            client.list_distributions()
            return time.monotonic() - began

    return Symptom(lambda: seconds() >= _DELAY_SECONDS, lambda: seconds() < _DELAY_SECONDS)


def _lease(scene: Scene) -> str:
    try:
        return str(scene.status(EDGE)["lease"])
    except UnreachableError:
        return "unknown"


def _deaf(scene: Scene) -> Symptom:
    """No node has a lease any more, by its own account and by the control plane's, whose API answers; a receipt leaves all of them out."""
    asked: list[str] = []

    def is_seen() -> bool:
        if not asked:
            asked.append(scene.invalidate("nothing"))
        is_over = _lease(scene) == "expired" and scene.state(EDGE) == "expired"
        return is_over and scene.is_completed(asked[0]) and scene.part(asked[0], EDGE) == "left_out"

    return Symptom(is_seen, lambda: _lease(scene) == "held" and scene.state(EDGE) == "live")


def _refused(scene: Scene) -> Symptom:
    """A node that has to connect anew gets no lease; those that are connected keep theirs."""
    restarted: list[str] = []

    def is_seen() -> bool:
        if not restarted:
            scene.cluster.restart(EDGE)
            restarted.append(EDGE)
        return scene.times(TARGET, "control-plane-refuse") > 0 and _lease(scene) in ("none", "expired")

    return Symptom(is_seen, lambda: _lease(scene) == "held")


ROWS = {
    "control-plane-deaf": Row(TARGET, _deaf),
    "control-plane-refuse": Row(TARGET, _refused),
    "api-error": Row(TARGET, _answers("ServiceUnavailable")),
    "api-throttle": Row(TARGET, _answers("Throttling")),
    "api-delay": Row(TARGET, _late, {"by": _DELAY_SECONDS}),
}
