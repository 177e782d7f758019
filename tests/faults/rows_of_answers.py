"""Faults of an origin's answers: what a viewer of an edge gets of what is not stored, and whoever asks the origin itself where an edge would hide it."""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.clients.http_client import split_address
from tests.faults.scene import EDGE, ORIGIN, Row, Scene, Symptom

_BYTES = 2_000
_SLOW_SECONDS = 0.3
_RATE = _BYTES * 3
"""Slower than `_SLOW_SECONDS` for the whole of it."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A download that nobody has asked for before."""

    status: int
    body: bytes
    head_seconds: float
    seconds: float


def _download(scene: Scene, node_id: str) -> _Seen:
    """Through an edge, or from the origin itself. Status 0: no answer, or not all of it."""
    connection = http.client.HTTPConnection(*split_address(scene.address(node_id)), timeout=10)
    began = time.monotonic()
    status, body, head_seconds = 0, b"", 0.0
    try:
        # The size is in the query: the content is that of the path's last part.
        headers = {"host": scene.distribution.domain_name}
        connection.request("GET", f"/download/{scene.new_name()}?size={_BYTES}", headers=headers)
        response = connection.getresponse()
        head_seconds = time.monotonic() - began
        body = response.read()
        status = response.status
    except http.client.IncompleteRead as error:
        body = error.partial
    except (ConnectionError, http.client.HTTPException):
        pass
    finally:
        connection.close()
    return _Seen(status, body, head_seconds, time.monotonic() - began)


def _seen_at(node_id: str, is_broken: Callable[[_Seen], bool]) -> Callable[[Scene], Symptom]:
    def watch(scene: Scene) -> Symptom:
        def is_well() -> bool:
            seen = _download(scene, node_id)
            return seen.status == 200 and len(seen.body) == _BYTES and seen.seconds < _SLOW_SECONDS

        return Symptom(lambda: is_broken(_download(scene, node_id)), is_well)

    return watch


def _corrupt(scene: Scene) -> Symptom:
    """Of the same path the origin gives the same bytes."""

    def body() -> bytes:
        return scene.get(ORIGIN, f"/download/same.bin?size={_BYTES}").body

    whole = body()
    wrong = bytes((whole[0] ^ 0xFF,)) + whole[1:]
    return Symptom(lambda: body() == wrong, lambda: body() == whole)


ROWS = {
    "http-status": Row(ORIGIN, _seen_at(EDGE, lambda seen: seen.status == 503), {"status": 503}),
    "http-delay": Row(ORIGIN, _seen_at(EDGE, lambda seen: seen.head_seconds >= _SLOW_SECONDS), {"by": _SLOW_SECONDS}),
    "http-stall": Row(
        ORIGIN,
        _seen_at(EDGE, lambda seen: len(seen.body) == _BYTES and seen.seconds >= _SLOW_SECONDS),
        {"by": _SLOW_SECONDS},
    ),
    "http-trickle": Row(
        ORIGIN,
        _seen_at(EDGE, lambda seen: len(seen.body) == _BYTES and seen.seconds >= _SLOW_SECONDS),
        {"rate": _RATE},
    ),
    "http-truncate": Row(ORIGIN, _seen_at(ORIGIN, lambda seen: seen.status == 0 and len(seen.body) <= 100)),
    "http-reset": Row(ORIGIN, _seen_at(ORIGIN, lambda seen: seen.status == 0 and len(seen.body) <= 100)),
    "http-corrupt": Row(ORIGIN, _corrupt),
    "http-drop": Row(ORIGIN, _seen_at(EDGE, lambda seen: seen.status == 502)),
}
