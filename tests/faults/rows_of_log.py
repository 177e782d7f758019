"""Faults of the change log, and of a cache that does not heed it: what becomes of receipts, and of the viewers who trust them.

A receipt says that nobody gets anything older. With all of these faults but two that has to hold, however the log comes; with `lying-acknowledgement` and
`stale-regional` it has to be seen that it does not.
"""

from collections.abc import Callable

from lab.clients.http_client import post_json
from tests.faults.scene import EDGE, OTHER_EDGE, REGIONAL, ROUTER, Row, Scene, Symptom

_DELAY_SECONDS = 1.0
_REASON = "not today"
_MOST_NAMES = 200
_OLD, _NEW = "old", "new"


class Change:
    """An object that an edge has stored, and its change at the origin with an invalidation."""

    def __init__(self, scene: Scene, name: str = "") -> None:
        self._scene = scene
        self.name = name or scene.new_name()
        self.invalidation = ""
        scene.put(self.name, _OLD)
        assert scene.text(EDGE, self.name) == _OLD

    def make(self) -> None:
        """Once."""
        if not self.invalidation:
            self._scene.put(self.name, _NEW)
            self.invalidation = self._scene.invalidate(self.name)

    def is_completed(self) -> bool:
        return self._scene.is_completed(self.invalidation)

    def part(self, node_id: str) -> str:
        return self._scene.part(self.invalidation, node_id)

    def is_stale(self, node_id: str = EDGE) -> bool:
        return self._scene.text(node_id, self.name) == _OLD

    def is_fresh(self, node_id: str = EDGE) -> bool:
        return self._scene.text(node_id, self.name) == _NEW


class InOrder:
    """A node follows the log: an invalidation is acknowledged by it, and then everybody gets the new version."""

    def __init__(self, scene: Scene, node_id: str) -> None:
        self._scene, self._node_id = scene, node_id
        self._change: Change | None = None

    def __call__(self) -> bool:
        if self._change is None:
            if not self._scene.is_whole():
                return False
            self._change = Change(self._scene)
            self._change.make()
        if not self._change.is_completed():
            return False
        change, self._change = self._change, None
        return change.part(self._node_id) == "acknowledged" and change.is_fresh() and change.is_fresh(OTHER_EDGE)


def _lost(scene: Scene) -> Symptom:
    """The receipt waits for the lease, leaves the node out, and is true: the node has fenced itself."""
    change = Change(scene)

    def is_seen() -> bool:
        change.make()
        is_told = change.is_completed() and change.part(EDGE) == "left_out"
        assert not (is_told and change.is_stale()), "the receipt is there, and a viewer gets what is older"
        return is_told and change.is_fresh() and scene.times(EDGE, "log-lose") > 0

    return Symptom(is_seen, InOrder(scene, EDGE))


def _late(scene: Scene) -> Symptom:
    change = Change(scene)

    def is_seen() -> bool:
        change.make()
        if not change.is_completed():
            return False
        line = next(line for line in scene.receipt(change.invalidation)["nodes"] if line["id"] == EDGE)
        return bool(line["seconds"] >= _DELAY_SECONDS) and change.is_fresh()

    return Symptom(is_seen, InOrder(scene, EDGE))


def _harmless(kind: str) -> Callable[[Scene], Symptom]:
    """It happens, and the protocol does not mind."""

    def watch(scene: Scene) -> Symptom:
        in_order = InOrder(scene, EDGE)
        return Symptom(lambda: in_order() and scene.times(EDGE, kind) > 0, InOrder(scene, EDGE))

    return watch


def _out_of_order(scene: Scene) -> Symptom:
    """A gap ends the stream, and the next one has both; sooner or later in their order."""
    before = scene.metric(EDGE, "cdn_sync_reconnects_total")
    changes: list[Change] = []

    def is_seen() -> bool:
        if not changes or all(change.is_completed() for change in changes):
            if changes and scene.metric(EDGE, "cdn_sync_reconnects_total") > before:
                return all(change.is_fresh() for change in changes)
            changes[:] = [Change(scene), Change(scene)]
            for change in changes:
                change.make()
        return False

    return Symptom(is_seen, InOrder(scene, EDGE))


def _lie(scene: Scene) -> Symptom:
    change, in_order = Change(scene), InOrder(scene, EDGE)

    def is_seen() -> bool:
        change.make()
        return change.is_completed() and change.part(EDGE) == "acknowledged" and change.is_stale()

    return Symptom(is_seen, lambda: (not change.invalidation or change.is_fresh()) and in_order())


def _refused(scene: Scene) -> Symptom:
    in_order = InOrder(scene, EDGE)
    made: list[str] = []

    def distribution() -> dict[str, object]:
        found = scene.control_status()["distributions"]
        return next((each for each in found if each["id"] == made[0]), {})

    def is_seen() -> bool:
        if not made:
            made.append(scene.new_distribution().id)
        known = distribution()
        refusals = known.get("rejections")
        reasons = [each["reason"] for each in refusals if each["node"] == EDGE] if isinstance(refusals, list) else []
        return known.get("status") == "InProgress" and reasons == [_REASON]

    def is_healed() -> bool:
        if made and (distribution().get("status") != "Deployed" or scene.status(EDGE)["rejections"]):
            return False
        return in_order()

    return Symptom(is_seen, is_healed)


def _out_of_date(scene: Scene) -> Symptom:
    """The router goes on to name an edge that everybody else knows to be gone."""
    address = scene.reached_at(OTHER_EDGE).rpartition(":")[0]

    def is_gone() -> bool:
        found = scene.control_status()["nodes"]
        return any(each["id"] == OTHER_EDGE and each["state"] == "expired" for each in found)

    def is_seen() -> bool:
        if scene.state(OTHER_EDGE) == "live":
            scene.cluster.kill(OTHER_EDGE)
        return is_gone() and address in scene.resolved()

    def is_healed() -> bool:
        if scene.state(OTHER_EDGE) == "down" and address not in scene.resolved():
            scene.cluster.start(OTHER_EDGE)
        return scene.is_whole() and address in scene.resolved()

    return Symptom(is_seen, is_healed)


def _stale(scene: Scene) -> Symptom:
    """Edges do as they should, and get the old version from the regional cache. What they took from it they keep, also when it is healed."""
    change, in_order = Change(scene, name_at(scene, REGIONAL)), InOrder(scene, REGIONAL)

    def is_seen() -> bool:
        change.make()
        return change.is_completed() and change.part(REGIONAL) == "acknowledged" and change.is_stale()

    return Symptom(is_seen, lambda: (not change.invalidation or change.is_fresh(OTHER_EDGE)) and in_order())


def name_at(scene: Scene, regional: str) -> str:
    """Of something that the edge would ask this regional cache for."""
    for _ in range(_MOST_NAMES):
        name = scene.new_name()
        url = f"http://{scene.distribution.domain_name}/bucket/faults/{name}"
        told = post_json(scene.admin(EDGE), "/explain", {"method": "GET", "url": url, "headers": []})
        if told["next"].get("node") == regional:
            return name
    raise AssertionError(f"{EDGE} would ask {regional} for none of {_MOST_NAMES} names")


ROWS = {
    "log-lose": Row(EDGE, _lost),
    "log-delay": Row(EDGE, _late, {"by": _DELAY_SECONDS}),
    "log-duplicate": Row(EDGE, _harmless("log-duplicate")),
    "log-reorder": Row(EDGE, _out_of_order),
    "lying-acknowledgement": Row(EDGE, _lie),
    "reject-configuration": Row(EDGE, _refused, {"reason": _REASON}),
    "directory-lost": Row(ROUTER, _out_of_date),
    "stale-regional": Row(REGIONAL, _stale),
}
