"""What the process of the management API tells the one that started it."""

import socket

import pytest

from control_plane.api_channel import (
    Answered,
    ApiChannel,
    ApiEvent,
    Committed,
    Failed,
    Serving,
    Suffered,
    encode,
    parse,
)


@pytest.mark.parametrize(
    "event", [Serving(), Committed(), Failed(), Answered("CreateInvalidation", "ok"), Suffered("api-error")]
)
def test_what_is_told_is_understood(event: ApiEvent) -> None:
    assert parse(encode(event)) == event


@pytest.mark.parametrize("line", [b"", b"\n", b"answered\n", b"answered a\n", b"\xff\xff\n", b"something else\n"])
def test_what_is_no_event_is_none(line: bytes) -> None:
    assert parse(line) is None


def test_whoever_does_not_read_holds_nobody_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = ApiChannel(theirs)
        for _ in range(100_000):
            channel.tell(Committed())  # returns although there is no room long since
        assert ours.recv(10) == b"committed\n"
