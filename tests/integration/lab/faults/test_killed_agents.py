"""An agent that is killed anywhere in the injection or the undoing of a fault of links leaves the relays as they were."""

import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.agent.client import connect
from lab.agent.keeper import Moment
from lab.errors import LabError
from tests.integration.lab.agent.sleeping_lab import until
from tests.integration.lab.agent.test_killed_agents import start_stopping
from tests.integration.lab.faults.relay_lab import FAR_EDGE, LINK, RelayLab, is_silent, relay_lab

LONG = 600.0
FAULTS: list[tuple[str, str, Mapping[str, object]]] = [
    ("link-delay", f"link:{LINK}", {"by": 0.2, "jitter": 0.01}),
    ("link-slice", "link:*", {}),
    ("cut", f"{FAR_EDGE},role:regional", {}),
    ("partition", "halves", {}),  # at links as a delay is
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayLab]:
    with relay_lab(tmp_path_factory.mktemp("lab")) as (running, _):
        yield running


@pytest.mark.parametrize(("fault", "target", "parameters"), FAULTS[:3], ids=[name for name, _, _ in FAULTS[:3]])
@pytest.mark.parametrize("moment", list(Moment))
def test_an_agent_that_is_killed_at_any_moment_leaves_the_relays_as_they_were(
    lab: RelayLab, tmp_path: Path, moment: Moment, fault: str, target: str, parameters: Mapping[str, object]
) -> None:
    before, marker = lab.modelled(), tmp_path / "stopped"
    process = start_stopping(lab, moment, marker)
    client = connect(lab.state.path)
    with ThreadPoolExecutor(1) as background:
        if moment is Moment.UNDONE:
            lease = client.inject(fault, target, LONG, parameters)
            assert lab.modelled() != before
            asked = background.submit(lambda: client.clear(lease["id"]))
        else:
            asked = background.submit(lambda: client.inject(fault, target, LONG, parameters))
        until(marker.exists, lab.log())
        assert (lab.modelled() != before) == (moment is Moment.INJECTED)
        lab.kill_agent()
        assert process.wait(20) == -signal.SIGKILL
        with pytest.raises(LabError, match="the agent has ended in the middle of it"):
            asked.result()
    until(lambda: connect(lab.state.path).faults() == [] and lab.modelled() == before, lab.log())
    assert lab.leases_on_disk == []


def test_a_lease_that_is_in_force_goes_on_under_the_next_agent_until_it_is_over(lab: RelayLab) -> None:
    before = lab.modelled()
    lab.start_agent()
    client = connect(lab.state.path)
    leases = [client.inject(fault, target, 3.0, parameters) for fault, target, parameters in FAULTS]
    with lab.connect(FAR_EDGE) as connection:
        connection.sendall(b"?")
        lab.kill_agent()
        assert [each["id"] for each in connect(lab.state.path).faults()] == [each["id"] for each in leases]
        assert is_silent(connection) and lab.modelled() != before
        until(lambda: connect(lab.state.path).faults() == [] and lab.modelled() == before, lab.log())
        assert connection.recv(1) == b"?"
