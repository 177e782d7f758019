"""The host's clock as the system gives it, and the anchor that a process takes of it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proto import host_clock
from proto.host_clock import BOOT_ID_FILE, HostClock, host_nanoseconds, host_seconds, read_clock_id, take_anchor
from proto.moments import DifferentClocksError, Moment

PROGRAM = "from proto.host_clock import HostClock; now = HostClock().now(); print(now.boot_id, now.monotonic_ns)"
is_linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


def test_nanoseconds_and_seconds_are_of_one_clock() -> None:
    before, seconds, after = host_nanoseconds(), host_seconds(), host_nanoseconds()
    assert before - 2 <= seconds * 1e9 <= after + 2


@is_linux
def test_the_clock_counts_suspended_time() -> None:
    """CLOCK_BOOTTIME is CLOCK_MONOTONIC and the time in suspend."""
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    now = host_nanoseconds()
    assert before <= now <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@is_linux
def test_another_process_has_the_same_clock() -> None:
    before = HostClock().now()
    boot_id, nanoseconds = subprocess.check_output([sys.executable, "-c", PROGRAM], text=True).split()
    other = Moment(boot_id, int(nanoseconds))
    assert other.is_after(before) and HostClock().now().is_after(other)


@is_linux
def test_a_process_in_a_time_namespace_of_its_own_has_another_clock() -> None:
    """Its clock is a day ahead, on the same boot: that must not be taken for the same clock."""
    unshare = shutil.which("unshare")
    command = [
        str(unshare),
        "--user",
        "--map-root-user",
        "--time",
        "--boottime",
        "86400",
        "--fork",
        sys.executable,
        "-c",
        PROGRAM,
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False) if unshare else None
    if answer is None or answer.returncode:
        pytest.skip("nobody may make a time namespace here")
    boot_id, nanoseconds = answer.stdout.split()
    own = HostClock().now()
    assert int(nanoseconds) > own.monotonic_ns + 80_000 * 1_000_000_000
    with pytest.raises(DifferentClocksError, match="time:"):
        Moment(boot_id, int(nanoseconds)).is_after(own)


def test_a_step_of_the_wall_clock_moves_nothing_that_a_process_says() -> None:
    walls = iter([1_000_000_000_000] * 5 + [5_000_000_000_000_000] * 5)
    clock = HostClock(lambda: next(walls))
    first = clock.now()
    stepped = HostClock(lambda: next(walls))
    assert stepped.now().is_after(first)
    assert clock.wall_seconds_at(first) == pytest.approx(1_000.0, abs=60.0)
    assert stepped.anchor.shares_base_with(clock.anchor) or not clock.anchor.boot_id


def test_an_anchor_is_the_closest_of_several_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process was stopped for an hour in the first three looks, at either side of the wall clock's."""
    hour = 3_600_000_000_000
    times = iter([0, hour, hour, 2 * hour, 2 * hour, 3 * hour, 3 * hour, 3 * hour + 10, 3 * hour + 20, 3 * hour + 50])
    walls = iter([100, 200, 300, 400, 500])
    monkeypatch.setattr(host_clock, "host_nanoseconds", lambda: next(times))
    anchor = take_anchor(lambda: next(walls))
    assert (anchor.wall_ns, anchor.monotonic_ns) == (400, 3 * hour + 5)


def test_the_boot_is_named_and_a_time_namespace_of_ones_own_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot, namespace = tmp_path / "boot_id", tmp_path / "time"
    monkeypatch.setattr(host_clock, "BOOT_ID_FILE", boot)
    monkeypatch.setattr(host_clock, "_TIME_NAMESPACE", namespace)
    monkeypatch.setattr(sys, "platform", "linux")
    boot.write_text("b-1\n")
    assert read_clock_id() == "b-1", "a kernel without time namespaces"
    os.symlink("time:[4026531834]", namespace)
    assert read_clock_id() == "b-1"
    namespace.unlink()
    os.symlink("time:[4026532567]", namespace)
    assert read_clock_id() == "b-1/time:[4026532567]", "its clocks are moved by an offset"
    boot.unlink()
    assert read_clock_id() == ""


@pytest.mark.skipif(not BOOT_ID_FILE.exists(), reason="no boot id on this system")
def test_this_machine_has_a_clock_id() -> None:
    assert read_clock_id() and read_clock_id() == read_clock_id()
