"""Every conversation is held three times: viewers speak HTTP/1.1 or share a connection of many streams, and upstream's responses come in pieces or in one.

What is about HTTP/1.1 itself says so (`http1_only`, with a reason). When a test is over, every byte and every frame that a viewer has got is read strictly, also where
the test did not look at it.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from edge_node import IS_COMPILED
from tests.conversations import origins
from tests.conversations.dialogue import Arrival, Fetch, Http1Viewer, Node, Viewer
from tests.conversations.multiplexed_viewer import MultiplexedViewer
from tests.conversations.origins import Pieces


@dataclass(frozen=True)
class Manner:
    """How peers behave."""

    viewer: type[Viewer]
    arrival: Arrival
    pieces: Pieces
    """The same on the wire, for origins behind the real fetcher."""


HTTP1 = {
    "http1-pieces": Manner(Http1Viewer, Arrival.PIECES, Pieces.HEAD_AND_BODY),
    "http1-whole": Manner(Http1Viewer, Arrival.WHOLE, Pieces.ONE),
}
MULTIPLEXED = {"multiplexed-split": Manner(MultiplexedViewer, Arrival.SPLIT, Pieces.HEAD_AND_SOME)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "manner" not in metafunc.fixturenames:
        return
    manners = dict[str, Manner | None](HTTP1)
    if IS_COMPILED:  # the same code again: one manner of each protocol
        del manners["http1-pieces"]
    if metafunc.definition.get_closest_marker("http1_only") is None:
        manners |= MULTIPLEXED
    if not inspect.iscoroutinefunction(metafunc.function):  # nobody speaks in it
        metafunc.parametrize("manner", [None], ids=["-"])
        return
    metafunc.parametrize("manner", manners.values(), ids=manners.keys())


@pytest.fixture(autouse=True)
def every_byte_is_judged(manner: Manner | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    viewers: list[Viewer] = []
    if manner is not None:
        monkeypatch.setattr(Node, "viewer_kind", manner.viewer)
        monkeypatch.setattr(Node, "judged", viewers)
        monkeypatch.setattr(Fetch, "arrival", manner.arrival)
        monkeypatch.setattr(origins, "usual_pieces", manner.pieces)
    yield
    for viewer in viewers:
        viewer.judge()
