"""Faults of links, seen by clients on real sockets while they last and seen to be over; what the relays were before is what they are afterwards."""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from lab.agent.client import AgentClient, connect
from lab.clients.http_client import ask
from lab.errors import LabError, UsageError
from tests.integration.lab.agent.sleeping_lab import until
from tests.integration.lab.faults.relay_lab import (
    EDGE,
    FAR_EDGE,
    FAR_REGIONAL,
    LINK,
    ORIGIN,
    PATIENCE_SECONDS,
    ROUND_TRIP_SECONDS,
    EchoOrigin,
    RelayLab,
    echo,
    is_silent,
    relay_lab,
)

FAR, NEAR = FAR_EDGE, EDGE
"""Clients over the link, and at the origin's own place."""
TARGET = f"link:{LINK}"
LATE_SECONDS = 0.1
"""What a busy machine may add to the quickest of several."""
TRIES = 5
QUERIES = 40

Lab = tuple[RelayLab, EchoOrigin]


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with relay_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def lab(module_lab: Lab) -> Iterator[RelayLab]:
    """As its file says, before and after."""
    it, before = module_lab[0], module_lab[0].modelled()
    yield it
    connect(it.state.path).clear_all()
    assert it.modelled() == before


@pytest.fixture
def origin(module_lab: Lab) -> EchoOrigin:
    return module_lab[1]


@pytest.fixture
def agent(lab: RelayLab) -> AgentClient:
    return connect(lab.state.path)


def quickest(lab: RelayLab, who: str = FAR, size: int = 1, tries: int = TRIES) -> float:
    """Of some round trips of one connection, without its handshake."""
    with lab.connect(who) as connection:
        echo(connection, b"?")
        times = []
        for _ in range(tries):
            found, seconds = echo(connection, bytes(size))
            assert len(found) == size
            times.append(seconds)
    return min(times)


def answered(lab: RelayLab) -> int:
    return sum(lab.is_answered(FAR) for _ in range(QUERIES))


def is_later(lab: RelayLab) -> bool:
    expected = ROUND_TRIP_SECONDS + 2 * 0.15
    seconds = quickest(lab)
    return expected * 0.99 <= seconds <= expected * 1.1 + LATE_SECONDS and quickest(lab, NEAR) < 0.15


def is_narrow(lab: RelayLab) -> bool:
    """Both directions at the same time, 50 kB at 2 Mbit/s."""
    return 0.18 <= quickest(lab, size=50_000, tries=2) <= 0.2 * 1.1 + ROUND_TRIP_SECONDS + 2 * LATE_SECONDS


def is_throttled(lab: RelayLab) -> bool:
    return 0.45 <= quickest(lab, size=50_000, tries=1) <= 0.55 + 4 * LATE_SECONDS


def is_lossy(lab: RelayLab) -> bool:
    """Of 40 queries a half is lost on the way: more than 35 or fewer than 5 are answered once in a million times."""
    return 5 <= answered(lab) <= 35


def is_a_black_hole(lab: RelayLab) -> bool:
    with lab.connect(FAR) as connection:
        connection.sendall(b"?")
        return is_silent(connection) and not lab.is_answered(FAR) and quickest(lab, NEAR) < 0.15


def resets(lab: RelayLab) -> bool:
    try:
        with lab.connect(FAR) as connection:
            echo(connection, b"?")
    except ConnectionResetError:
        return True
    return False


def swallows_and_closes(lab: RelayLab) -> bool:
    with lab.connect(FAR) as connection:
        found, seconds = echo(connection, b"?")
    return found == b"" and seconds >= 0.09


def end_is_late(lab: RelayLab) -> bool:
    """It crosses twice: the server ends when it has heard of it."""
    with lab.connect(FAR) as connection:
        echo(connection, b"?")
        began_at = time.monotonic()
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1) == b"" and time.monotonic() - began_at >= 0.4


def is_sliced(lab: RelayLab) -> bool:
    """20 pieces, 10 ms from one to the next; the other direction goes on meanwhile."""
    return quickest(lab, size=200, tries=2) >= 0.19


def is_limited(lab: RelayLab) -> bool:
    with lab.connect(FAR) as connection:
        found, _ = echo(connection, bytes(1000))
    return len(found) <= 100


SEEN: list[tuple[str, Mapping[str, object], Callable[[RelayLab], bool]]] = [
    ("link-delay", {"by": 0.15}, is_later),
    ("link-loss", {"percent": 50, "direction": "forward"}, is_lossy),
    ("link-bandwidth", {"mbit": 2}, is_narrow),
    ("link-cut", {}, is_a_black_hole),
    ("link-throttle", {"rate": 100}, is_throttled),
    ("link-reset", {}, resets),
    ("link-timeout", {"after": 0.1}, swallows_and_closes),
    ("link-slow-close", {"by": 0.2}, end_is_late),
    ("link-slice", {"size": 10, "gap": 0.01}, is_sliced),
    ("link-limit-data", {"after": 100}, is_limited),
]


@pytest.mark.parametrize(("fault", "parameters", "is_seen"), SEEN, ids=[name for name, _, _ in SEEN])
def test_a_fault_of_a_link_is_seen_while_it_lasts_and_no_more(
    lab: RelayLab, agent: AgentClient, fault: str, parameters: Mapping[str, object], is_seen: Callable[[RelayLab], bool]
) -> None:
    before = lab.modelled()
    lease = agent.inject(fault, TARGET, None, parameters)
    assert (lease["links"], lease["nodes"]) == (
        [LINK if len(parameters) < 2 or "direction" not in parameters else f"{LINK} forward"],
        [],
    )
    assert is_seen(lab)
    assert agent.clear(lease["id"])["state"] == "healed"
    assert lab.modelled() == before
    assert not is_seen(lab)
    assert quickest(lab, size=1000) < ROUND_TRIP_SECONDS + LATE_SECONDS and answered(lab) == QUERIES


def test_a_half_open_connection(lab: RelayLab, agent: AgentClient, origin: EchoOrigin) -> None:
    """The client is gone and the server is not told; when it is over, the connection is reset, for something of it is missing."""
    lease = agent.inject("link-half-open", TARGET, None, {})
    ended = len(origin.ends)
    with lab.connect(FAR) as connection:
        echo(connection, b"?")
    assert quickest(lab) and is_still(lambda: len(origin.ends) == ended)
    agent.clear(lease["id"])
    until(lambda: len(origin.ends) >= ended + 1, "it is told after all")
    assert "reset" in origin.ends[ended:]


def is_still(condition: Callable[[], bool]) -> bool:
    """For longer than anything takes here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        return is_silent(nobody) and condition()


def test_a_cut_in_one_direction_and_what_is_sent_again_when_it_is_over(
    lab: RelayLab, agent: AgentClient, origin: EchoOrigin
) -> None:
    with lab.connect(FAR) as connection:
        echo(connection, b"?")
        heard = origin.heard
        lease = agent.inject("link-cut", "link:us-east-1--eu-central-1", None, {"direction": "forward"})
        connection.sendall(b"hello")
        until(lambda: origin.heard == heard + 5, "what the client says is heard")
        assert is_silent(connection), "and what the origin says is not"
        other = agent.inject("link-cut", "link:eu-central-1--us-east-1", None, {"direction": "forward"})
        assert other["links"] == [f"{LINK} backward"], "the other direction is free for another fault"
        with pytest.raises(LabError, match=rf"{LINK} forward has link-cut already \({lease['id']}\)"):
            agent.inject("partition", "halves", None, {})
        agent.clear(lease["id"])
        assert connection.recv(5) == b"hello"
        agent.clear(other["id"])
        assert echo(connection, b"again")[0] == b"again"


def test_a_lease_runs_out_by_itself(lab: RelayLab, agent: AgentClient) -> None:
    before = lab.modelled()
    agent.inject("link-delay", TARGET, 1.0, {"by": 0.5})
    agent.inject("link-slice", TARGET, 1.0, {})
    agent.inject("cut", FAR_EDGE, 1.0, {})
    with lab.connect(FAR) as connection:
        connection.sendall(b"?")
        assert is_silent(connection)
        until(lambda: agent.faults() == [], "they are over")
        assert connection.recv(1) == b"?"
    assert lab.modelled() == before and quickest(lab) < ROUND_TRIP_SECONDS + LATE_SECONDS


def test_faults_of_connections_stand_beside_each_other(lab: RelayLab, agent: AgentClient) -> None:
    first = agent.inject("link-slow-close", TARGET, None, {"by": 0.2})
    second = agent.inject("link-slow-close", "link:*", None, {"by": 5})
    third = agent.inject("link-slice", f"{TARGET},link:us-east-1--us-east-1", None, {"size": 10, "gap": 0.01})
    agent.clear(second["id"])
    assert end_is_late(lab) and is_sliced(lab)
    agent.clear(first["id"])
    assert not end_is_late(lab) and is_sliced(lab)
    agent.clear(third["id"])
    assert not is_sliced(lab)


def test_relays_that_were_started_again_have_nothing_to_be_undone(lab: RelayLab, agent: AgentClient) -> None:
    before = lab.modelled()
    change(lab, {"delay_ms": 33})  # by hand: it is gone with the process
    leases = [
        agent.inject("link-delay", TARGET, None, {"by": 0.5}),
        agent.inject("link-slice", TARGET, None, {}),
        agent.inject("cut", FAR_EDGE, None, {}),
    ]
    lab.cluster.kill("wan")
    lab.cluster.start("wan")
    lab.wait_for_relays()
    for lease in leases:
        assert agent.clear(lease["id"])["state"] == "healed"
    assert lab.modelled() == before


def test_relays_that_are_gone_have_nothing_to_be_undone_and_take_no_fault(lab: RelayLab, agent: AgentClient) -> None:
    leases = [agent.inject("link-delay", TARGET, None, {"by": 0.5}), agent.inject("link-slice", TARGET, None, {})]
    lab.cluster.kill("wan")
    for lease in leases:
        assert agent.clear(lease["id"])["state"] == "healed"
    with pytest.raises(LabError, match="wan, the relays, is not running: `cdnlab start wan` starts it"):
        agent.inject("link-cut", TARGET, None, {})
    lab.cluster.start("wan")
    lab.wait_for_relays()


def test_relays_that_hang_are_told_when_they_go_on(lab: RelayLab, agent: AgentClient) -> None:
    lease = agent.inject("link-cut", TARGET, None, {})
    lab.cluster.signal("wan", signal.SIGSTOP)
    try:
        told = agent.clear(lease["id"])
        assert told["state"] == "healing" and "the relays do not answer" in told["trouble"]
    finally:
        lab.cluster.signal("wan", signal.SIGCONT)
    until(lambda: agent.faults() == [], "it is undone")
    assert quickest(lab) < ROUND_TRIP_SECONDS + LATE_SECONDS


def test_what_somebody_has_set_meanwhile_is_left_alone(lab: RelayLab, agent: AgentClient) -> None:
    change(lab, {"delay_ms": 15, "jitter_ms": 1})
    lease = agent.inject("link-delay", TARGET, None, {"by": 0.1, "jitter": 0.01, "distribution": "uniform"})
    path = lab.modelled()["links"][LINK]["forward"]
    assert (path["delay_ms"], path["jitter_ms"], path["distribution"]) == (115, 11, "uniform")
    change(lab, {"forward": {"delay_ms": 70}, "loss_percent": 1})
    agent.clear(lease["id"])
    link = lab.modelled()["links"][LINK]
    assert (link["forward"]["delay_ms"], link["backward"]["delay_ms"]) == (70, 15)
    assert (link["forward"]["jitter_ms"], link["forward"]["distribution"], link["forward"]["loss_percent"]) == (
        1,
        "normal",
        1,
    )
    change(lab, {"delay_ms": 10, "jitter_ms": 0, "loss_percent": 0})


def change(lab: RelayLab, values: Mapping[str, object]) -> None:

    reply = ask(lab.api, f"/links/{LINK}", method="PATCH", body=json.dumps(values).encode())
    assert reply.status == 200, reply.body


def test_a_partition_divides_the_viewers_of_its_halves_too(lab: RelayLab, agent: AgentClient) -> None:
    lease = agent.inject("partition", "halves:eu-central-1", None, {})
    assert lease["links"] == [LINK, "viewers-us-east-1--eu-central-1", "viewers-eu-central-1--us-east-1"]
    for who, is_reached in ((FAR_EDGE, False), ("eu-central-1", False), (EDGE, True), ("us-east-1", True)):
        assert lab.is_answered(who) == is_reached, who
    agent.clear(lease["id"])
    assert lab.is_answered(FAR_EDGE) and lab.is_answered("eu-central-1")


def test_one_node_is_cut_off_and_nobody_else(lab: RelayLab, agent: AgentClient) -> None:
    with contextlib.ExitStack() as opened:
        cut_off, others = FAR_EDGE, (FAR_REGIONAL, EDGE, "eu-central-1")
        connections = {who: opened.enter_context(lab.connect(who)) for who in (cut_off, *others)}
        for connection in connections.values():
            echo(connection, b"?")
        lease = agent.inject("cut", cut_off, None, {})
        connections[cut_off].sendall(b"hello")
        for who in others:
            assert echo(connections[who], b"hello")[0] == b"hello", who
        assert is_silent(connections[cut_off])
        agent.clear(lease["id"])
        assert connections[cut_off].recv(5) == b"hello"


def test_a_server_is_cut_off_from_some_of_its_clients_in_one_direction(
    lab: RelayLab, agent: AgentClient, origin: EchoOrigin
) -> None:
    lease = agent.inject("cut", ORIGIN, None, {"from": f"eu-central-1,{EDGE}", "direction": "out"})
    with lab.connect(FAR_EDGE) as connection:  # a handshake needs both directions
        connection.sendall(b"?")
        assert is_silent(connection)
    assert quickest(lab, "eu-central-1") and quickest(lab, "us-east-1"), "viewers are at places of their own"
    agent.clear(lease["id"])
    with lab.connect(FAR_EDGE) as connection:
        assert echo(connection, b"?")[0] == b"?"
        heard = origin.heard
        agent.inject("cut", ORIGIN, None, {"from": FAR_EDGE, "direction": "out"})
        connection.settimeout(PATIENCE_SECONDS)
        connection.sendall(b"hello")
        until(lambda: origin.heard == heard + 5, "it hears")
        assert is_silent(connection)


@pytest.mark.parametrize(
    ("fault", "target", "parameters", "problem"),
    [
        ("link-cut", "edge-iad89-p1-1", {}, "no target for a fault of links"),
        ("link-cut", "link:us-east-1--mars", {}, "no link 'link:us-east-1--mars': there are us-east-1--us-east-1, "),
        ("link-cut", TARGET, {"direction": "up"}, "direction is one of both, forward, backward, not 'up'"),
        ("link-loss", TARGET, {"percent": 100}, "percent must be from 0.0001 to 99"),
        ("kill", TARGET, {}, "no target"),
        ("partition", TARGET, {}, "no partition"),
        ("cut", EDGE, {"from": "mars"}, "from 'mars': there are all, us-east-1"),
        ("cut", "wan", {}, "cut is for control_plane, edge"),
    ],
)
def test_what_makes_no_sense_is_refused(
    lab: RelayLab, agent: AgentClient, fault: str, target: str, parameters: Mapping[str, object], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        agent.inject(fault, target, None, parameters)
    assert agent.faults() == []


def test_what_the_relays_refuse_is_told_and_nothing_of_it_is_left(lab: RelayLab, agent: AgentClient) -> None:
    change(lab, {"delay_ms": 10, "jitter_ms": 10})
    try:
        with pytest.raises(LabError, match=r"the relays refuse: status 400: .*a jitter must be from 0 to the delay"):
            agent.inject("link-delay", f"link:us-east-1--us-east-1,{TARGET}", None, {"by": 0.01, "jitter": 0.02})
        assert agent.faults() == []
    finally:
        change(lab, {"delay_ms": 10, "jitter_ms": 0})
