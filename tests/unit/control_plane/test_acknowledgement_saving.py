"""What nodes have acknowledged comes to the database, also when that is away for a moment."""

import asyncio

import pytest

from control_plane import acknowledgement_saving
from control_plane.acknowledgement_saving import AcknowledgementSaving
from control_plane.state import StoreError
from tests.unit.control_plane.test_coordination import live_node


async def test_what_the_database_has_not_taken_is_tried_again_although_nothing_else_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that was started anew fails the first write on each connection."""
    for name in ("SAVE_PAUSE_SECONDS", "SAVE_SECONDS_PER_NODE", "SAVE_AGAIN_SECONDS"):
        monkeypatch.setattr(acknowledgement_saving, name, 0.0)
    talk = live_node()
    talk.acknowledge("edge-1", talk.invalidate())
    said: list[int] = []
    is_saved = asyncio.Event()

    def save_settled(index: int) -> None:
        said.append(index)
        if len(said) == 1:
            raise StoreError("the connection is gone")
        is_saved.set()

    saving = AcknowledgementSaving(talk.coordinator, lambda: talk.now, save_settled)
    saving.want()
    running = asyncio.create_task(saving.run())
    try:
        await asyncio.wait_for(is_saved.wait(), 5.0)
    finally:
        running.cancel()
    assert said == [1, 1]
