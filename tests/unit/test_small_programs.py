"""Of these programs a lab runs many, or runs them for as long as it is there: what they import, each of them keeps in memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.agent.containers import open_containers
from lab.agent.starting import agent_command
from lab.cluster.state_file import ContainersRecord, StateDir
from lab.errors import LabError

ROOT = Path(__file__).parents[2]
LARGE = {
    "boto3",
    "botocore",
    "cryptography",
    "docker",
    "http.server",
    "prometheus_client",
    "requests",
    "rich",
    "sqlalchemy",
}


@pytest.mark.parametrize("program", ["edge_node", "dns_router", "origin", "lab.agent", "lab.wan"])
def test_what_only_others_need_is_not_imported(program: str) -> None:
    code = f"import sys, {program}.__main__; print(*sorted({LARGE!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "\n"


def test_a_lab_of_containers_has_an_agent_that_knows_the_engine(tmp_path: Path) -> None:
    record = ContainersRecord("default", "project", None)
    command = agent_command(tmp_path, record)
    assert command[1:3] == ("-m", "lab.agent.containers")
    with pytest.raises(LabError, match="no lab of containers is in"):
        open_containers(StateDir(tmp_path))
