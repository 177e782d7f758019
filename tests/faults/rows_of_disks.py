"""Faults of an edge's disk. A body that memory does not admit is on disk alone, and read from there for each viewer."""

import time

from lab.clients.http_client import Reply, UnreachableError
from tests.faults.management_client import client_of
from tests.faults.scene import EDGE, ORIGIN, Row, Scene, Symptom

_BYTES = 1_500_000
"""More than memory admits or would take back from disk."""
_PAUSE_SECONDS = 0.25
_SLOW_SECONDS = 1.0
"""A busy machine needs less for such a body, a disk on which each operation takes `_PAUSE_SECONDS` more."""


def _full(scene: Scene) -> Symptom:
    """What the control plane tells is served, and cannot be kept: the node says which of its files are older than that."""

    def unwritten_after_a_change() -> list[str]:
        with client_of(scene) as client:
            found = client.get_distribution_config(Id=scene.distribution.id)
            config = {**found["DistributionConfig"], "Comment": scene.new_name()}
            client.update_distribution(Id=scene.distribution.id, IfMatch=found["ETag"], DistributionConfig=config)
        scene.api.wait_deployed(scene.distribution.id)
        return list(scene.status(EDGE)["state_files"]["unwritten"])

    return Symptom(lambda: unwritten_after_a_change() != [], lambda: unwritten_after_a_change() == [])


class _Stored:
    """A body on the edge's disk, and what viewers get of it. Whatever the disk does, it is never another body."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._path = f"/download/{scene.new_name()}?size={_BYTES}"
        self._whole = scene.get(ORIGIN, self._path).body
        self.seconds = 0.0

    def is_found(self) -> bool:
        """It came from the edge, which asked nobody."""
        before = self._fetches()
        return self._got() is not None and self._fetches() == before

    def is_lost(self) -> bool:
        """It had to be fetched again, or broke off."""
        return not self.is_found()

    def _fetches(self) -> float:
        return self._scene.metric(EDGE, 'cdn_upstream_fetches_total{tier="regional"}')

    def _got(self) -> Reply | None:
        began = time.monotonic()
        try:
            reply = self._scene.get(EDGE, self._path)
        except UnreachableError:
            return None
        finally:
            self.seconds = time.monotonic() - began
        assert reply.body == self._whole, "a viewer got what the origin never sent"
        return reply


def _lost_on_disk(scene: Scene) -> Symptom:
    """Of what is there, nothing is of use; what cannot be read counts as damaged."""
    stored = _Stored(scene)
    before = scene.metric(EDGE, "cdn_disk_corrupt_total")
    return Symptom(
        lambda: stored.is_lost() and scene.metric(EDGE, "cdn_disk_corrupt_total") > before,
        stored.is_found,
    )


def _slow(scene: Scene) -> Symptom:
    stored = _Stored(scene)
    return Symptom(
        lambda: stored.is_found() and stored.seconds >= _SLOW_SECONDS,
        lambda: stored.is_found() and stored.seconds < _SLOW_SECONDS,
    )


ROWS = {
    "disk-full": Row(EDGE, _full),
    "disk-slow": Row(EDGE, _slow, {"by": _PAUSE_SECONDS}, needs_disk_tier=True),
    "disk-read-error": Row(EDGE, _lost_on_disk, needs_disk_tier=True),
    "disk-bit-flip": Row(EDGE, _lost_on_disk, needs_disk_tier=True),
}
