"""Faults of the router: what a resolver gets, by dnspython."""

import time
from collections.abc import Callable

import dns.exception
import dns.rcode

from tests.faults.scene import ROUTER, Row, Scene, Symptom

_SILENCE_SECONDS = 0.3
_DELAY_SECONDS = 0.4
_WRONG = "192.0.2.77"


def _asked(is_broken: Callable[[Scene], bool]) -> Callable[[Scene], Symptom]:
    def watch(scene: Scene) -> Symptom:
        def is_well() -> bool:
            began = time.monotonic()
            try:
                found = scene.resolved()
            except dns.exception.Timeout:
                return False
            return bool(found - {_WRONG}) and time.monotonic() - began < _DELAY_SECONDS

        return Symptom(lambda: is_broken(scene), is_well)

    return watch


def _is_silent(scene: Scene) -> bool:
    try:
        scene.resolve(_SILENCE_SECONDS)
    except dns.exception.Timeout:
        return True
    return False


def _is_late(scene: Scene) -> bool:
    began = time.monotonic()
    return bool(scene.resolved()) and time.monotonic() - began >= _DELAY_SECONDS


ROWS = {
    "dns-servfail": Row(ROUTER, _asked(lambda scene: scene.resolve().rcode() == dns.rcode.SERVFAIL)),
    "dns-silence": Row(ROUTER, _asked(_is_silent)),
    "dns-wrong-answer": Row(ROUTER, _asked(lambda scene: scene.resolved() == {_WRONG}), {"address": _WRONG}),
    "dns-delay": Row(ROUTER, _asked(_is_late), {"by": _DELAY_SECONDS}),
}
