"""What commands print to a terminal, by what a terminal gets: colours there, and no escape sequence for who has set NO_COLOR."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.lab_harness import environment

SECONDS = 30
ESCAPE = b"\x1b"
LIVE_TABLE = """
from lab.report.live import LiveTable, Picture, RegionNow
from lab.terminal import make_console
with LiveTable(make_console()) as live:
    for second in range(3):
        region = RegionNow("eu", 3, 7.0, 0.5, 1.0, 2.0, 3.0, 1)
        live.show(Picture(second, "viewers", (region,), (("edge", 0.5),), 11, 12, ("edge-1",), ("an event",)))
"""
COLOURS = "from lab.terminal import make_console; make_console().print('[red]broken[/] or not', style='bold')"


def on_a_terminal(program: str, **changed: str) -> bytes:
    """All that a terminal gets from a program. Its own end of the terminal is closed with it."""
    ours, theirs = pty.openpty()
    known = {name: value for name, value in environment().items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**known, "TERM": "xterm-256color", **changed},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        told = read_all(ours)
        assert process.wait(SECONDS) == 0, told
    os.close(ours)
    return told


def read_all(terminal: int) -> bytes:
    """Until nobody has the other end any more, which Linux says with an error."""
    told, deadline = b"", time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:
            return told
        if not piece:
            return told
        told += piece
    raise AssertionError(f"the program does not end: {told!r}")


@pytest.mark.parametrize("program", [COLOURS, LIVE_TABLE], ids=["colours", "live-table"])
def test_no_color_is_no_escape_sequence(program: str) -> None:
    assert ESCAPE in on_a_terminal(program)
    plain = on_a_terminal(program, NO_COLOR="1")
    assert ESCAPE not in plain and plain.strip()
    assert ESCAPE not in on_a_terminal(program, NO_COLOR="1", FORCE_COLOR="1")
    assert ESCAPE in on_a_terminal(program, NO_COLOR=""), "an empty one is none (no-color.org)"


@pytest.mark.parametrize("program", [COLOURS, LIVE_TABLE], ids=["colours", "live-table"])
def test_what_is_no_terminal_gets_none(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, timeout=SECONDS, check=True
    )
    assert ESCAPE not in done.stdout and done.stdout.strip()


def test_commands_make_their_consoles_in_one_place() -> None:
    """Else one of them would not know of NO_COLOR."""
    lab = Path(__file__).parents[4] / "lab"
    makers = {path.name for path in lab.rglob("*.py") if "Console(" in path.read_text()}
    assert makers == {"terminal.py"}
