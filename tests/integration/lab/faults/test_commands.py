"""The commands for links and for cutting a node off: what they say, and what they leave."""

import json
from collections.abc import Iterator

import pytest

from lab.agent.client import connect
from tests.integration.lab.faults.relay_lab import FAR_EDGE, LINK, RelayLab, is_silent, relay_lab
from tests.integration.lab_harness import CommandLine


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayLab]:
    with relay_lab(tmp_path_factory.mktemp("lab")) as (running, _):
        yield running


@pytest.fixture
def cdnlab(lab: RelayLab) -> Iterator[CommandLine]:
    yield CommandLine(lab.state.path.parent)
    connect(lab.state.path).clear_all()


def test_a_node_is_cut_off_and_heard_again(lab: RelayLab, cdnlab: CommandLine) -> None:
    done = cdnlab.run(
        "cut", FAR_EDGE, "--from", "us-east-1,control-plane", "--direction", "in", "--for", "10m", "--json"
    )
    lease = json.loads(done.out)
    assert (lease["nodes"], lease["links"], lease["lease_seconds"]) == ([FAR_EDGE], [], 600)
    assert lease["parameters"] == {"from": "us-east-1,control-plane", "direction": "in"}
    with lab.connect(FAR_EDGE) as connection:
        connection.sendall(b"?")
        assert is_silent(connection)
        assert cdnlab.run("faults", "clear", lease["id"]).out == f"healed: {lease['id']}, cut at {FAR_EDGE}\n"
        assert connection.recv(1) == b"?"


def test_a_link_is_named_where_it_is_broken_and_shown(lab: RelayLab, cdnlab: CommandLine) -> None:
    done = cdnlab.run("faults", "inject", "link-delay", "link:eu-central-1--us-east-1", "by=200ms", "direction=forward")
    (lease,) = connect(lab.state.path).faults()
    where = f"{LINK} backward"
    assert done.out == f"link-delay: {where}; heals in 30s, or now with `cdnlab faults clear {lease['id']}`\n"
    heading, line = cdnlab.run("faults", "show").out.splitlines()
    assert heading.split() == ["ID", "FAULT", "WHERE", "HEALS", "PARAMETERS"]
    assert where in line and line.endswith("by=200ms jitter=0s distribution=same direction=forward")
    assert cdnlab.run("faults", "clear", "--all").out == f"healed: {lease['id']}, link-delay at {where}\n"


def test_what_makes_no_sense(cdnlab: CommandLine) -> None:
    for arguments, problem in (
        (("faults", "inject", "link-delay", f"link:{LINK}"), "by has to be given: how much later"),
        (
            ("faults", "inject", "link-cut", "link:us-east-1"),
            "no link 'link:us-east-1': there are us-east-1--us-east-1",
        ),
        (("faults", "inject", "partition", "ring"), "a ring cuts nothing with fewer than 4 regions"),
        (("cut", FAR_EDGE, "--direction", "up"), "direction is one of both, in, out, not 'up'"),
        (("cut", FAR_EDGE, "--from", "mars"), "from 'mars': there are all, us-east-1"),
    ):
        done = cdnlab.run(*arguments)
        assert done.status == 2 and problem in done.err, done.err


def test_the_list_says_what_each_fault_is_done_to(cdnlab: CommandLine) -> None:
    lines = [line.split() for line in cdnlab.run("faults", "list").out.splitlines()]
    at = {words[0]: words[1] for words in lines}
    assert (at["FAULT"], at["kill"], at["http-drop"], at["cut"]) == ("AT", "nodes", "origin", "nodes")
    assert (at["link-slice"], at["partition"]) == ("links", "partitions")
