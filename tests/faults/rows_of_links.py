"""Faults of links, partitions and of who hears whom: what a viewer of an edge gets of what is not stored, and so has to cross the links between tiers and origins."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.clients.http_client import ask, split_address
from lab.faults.parameters import Value
from tests.faults.scene import EDGE, FAR_ORIGIN, FAR_REGION, ORIGIN, REGION, Row, Scene, Symptom

_HERE = f"link:{REGION}--{REGION}"
"""Between two machines of the region: edges, regional caches and the origin are there."""
_BYTES = 20_000
_SLOW_SECONDS = 0.3
_SILENCE_SECONDS = 1.0
_BEHAVIOR_SECONDS = 300


@dataclass(frozen=True, slots=True)
class _Seen:
    """A request for what nobody has asked for before. Status 0: no whole answer; it is silent when nothing of one came in time."""

    status: int
    is_silent: bool
    seconds: float

    @property
    def is_well(self) -> bool:
        return self.status == 200 and self.seconds < _SLOW_SECONDS

    @property
    def is_slow(self) -> bool:
        return self.status == 200 and self.seconds >= _SLOW_SECONDS


def _ask(scene: Scene, path: str, host: str, patience_seconds: float) -> _Seen:
    connection = http.client.HTTPConnection(*split_address(scene.address(EDGE)), timeout=patience_seconds)
    began = time.monotonic()
    status, is_silent = 0, False
    try:
        connection.request("GET", path, headers={"host": host})
        response = connection.getresponse()
        response.read()
        status = response.status
    except TimeoutError:
        is_silent = True
    except (ConnectionError, http.client.HTTPException):
        pass
    finally:
        connection.close()
    return _Seen(status, is_silent, time.monotonic() - began)


def _download(scene: Scene, host: str = "", patience_seconds: float = 10.0) -> _Seen:
    path = f"/download/{scene.new_name()}?size={_BYTES}"
    return _ask(scene, path, host or scene.distribution.domain_name, patience_seconds)


def _seen(is_broken: Callable[[_Seen], bool], patience_seconds: float = 10.0) -> Callable[[Scene], Symptom]:
    def watch(scene: Scene) -> Symptom:
        return Symptom(
            lambda: is_broken(_download(scene, patience_seconds=patience_seconds)), lambda: _download(scene).is_well
        )

    return watch


def _silence() -> Callable[[Scene], Symptom]:
    return _seen(lambda seen: seen.is_silent, _SILENCE_SECONDS)


def _of_the_far_origin(scene: Scene) -> Symptom:
    host = scene.new_distribution(FAR_ORIGIN).domain_name

    def download(patience_seconds: float) -> _Seen:
        return _download(scene, host, patience_seconds)

    return Symptom(lambda: download(_SILENCE_SECONDS).is_silent, lambda: download(10.0).status == 200)


def _closing(is_broken: Callable[[_Seen], bool], patience_seconds: float) -> Callable[[Scene], Symptom]:
    """The origin closes instead of answering: when does the edge hear of it?"""

    def watch(scene: Scene) -> Symptom:
        prefix = f"/download/closing-{scene.new_name()}"
        behavior = {"path_prefix": prefix, "drop_connection": True, "lease_seconds": _BEHAVIOR_SECONDS}
        fields = [("content-type", "application/json")]
        body = json.dumps(behavior).encode()
        assert ask(scene.admin(ORIGIN), "/behaviors", method="POST", headers=fields, body=body).status == 201

        def download(seconds: float) -> _Seen:
            return _ask(scene, f"{prefix}-{scene.new_name()}", scene.distribution.domain_name, seconds)

        def is_told_at_once() -> bool:
            seen = download(10.0)
            return seen.status == 502 and seen.seconds < _SLOW_SECONDS

        return Symptom(lambda: is_broken(download(patience_seconds)), is_told_at_once)

    return watch


def _of_link(watch: Callable[[Scene], Symptom], parameters: Mapping[str, Value] | None = None) -> Row:
    return Row(_HERE, watch, parameters or {})


ROWS = {
    "cut": Row(EDGE, _silence()),
    "link-delay": _of_link(_seen(lambda seen: seen.is_slow), {"by": _SLOW_SECONDS}),
    "link-loss": _of_link(_seen(lambda seen: seen.is_slow), {"percent": 40.0}),
    "link-bandwidth": _of_link(_seen(lambda seen: seen.is_slow), {"mbit": 0.25}),
    "link-cut": _of_link(_silence()),
    "partition": Row(f"partition:one-against-all:{FAR_REGION}", _of_the_far_origin),
    "link-throttle": _of_link(_seen(lambda seen: seen.is_slow), {"rate": 30}),
    "link-reset": _of_link(_seen(lambda seen: seen.status != 200)),
    "link-timeout": _of_link(_silence()),
    "link-half-open": _of_link(_closing(lambda seen: seen.is_silent, _SILENCE_SECONDS)),
    "link-slow-close": _of_link(
        _closing(lambda seen: seen.status == 502 and seen.seconds >= _SLOW_SECONDS, 10.0), {"by": 2 * _SLOW_SECONDS}
    ),
    "link-slice": _of_link(_seen(lambda seen: seen.is_slow), {"size": 1_000, "gap": 0.05}),
    "link-limit-data": _of_link(_seen(lambda seen: seen.status != 200)),
}
