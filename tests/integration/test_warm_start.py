"""A program that was started by a fork (tests/warm_start.py) is to the tests what the same program is that was started as people start it."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests import warm_start
from tests.integration.origin_process import wait_until
from tests.integration.sync_harness import HOST, free_port


@pytest.mark.parametrize("program", ["control_plane", "dns_router", "edge_node"])
def test_bad_flags_end_it_with_the_same_status_and_the_same_words(program: str, tmp_path: Path) -> None:
    flags = ("--nonsense", str(tmp_path))
    with (tmp_path / "warm").open("wb") as log:
        warm = warm_start.start(program, flags, stderr=log).wait(20)
    with (tmp_path / "cold").open("wb") as log, warm_start.start_cold(program, flags, stderr=log) as process:
        cold = process.wait(20)
    assert warm == cold == 2
    assert (tmp_path / "warm").read_text() == (tmp_path / "cold").read_text() != ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)])
def test_signals_reach_it_and_its_end_is_told(number: signal.Signals, status: int, tmp_path: Path) -> None:
    address = f"{HOST}:{free_port()}"
    flags = ("--node-id", "r1", "--region", "us-east-1", "--listen", address, "--admin", f"{HOST}:0")
    log_path = tmp_path / "log"
    with log_path.open("wb") as log:
        process = warm_start.start(
            "dns_router", [*flags, "--control-plane", f"{HOST}:9", "--state-dir", str(tmp_path)], stderr=log
        )
    try:
        wait_until(lambda: "listening" in log_path.read_text(), "the router to listen")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0)
        process.send_signal(number)
        assert process.wait(20) == process.poll() == status
    finally:
        process.kill()
