"""What a lab remembers of itself, which process is meant by it, and what it says of its nodes."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.cluster.claim import claim
from lab.cluster.folder_lock import folder_lock
from lab.cluster.log_tail import follow, last_lines
from lab.cluster.node_secrets import write_secrets
from lab.cluster.other_labs import OtherLab
from lab.cluster.process_identity import ProcessIdentity, end_all, identify
from lab.cluster.processes import ProcessCluster
from lab.cluster.sockets import check_addresses_are_free, describe_taken, why_not_free
from lab.cluster.state_file import (
    ContainersRecord,
    LabRecord,
    Record,
    StateDir,
    from_json,
    make_record,
    to_json,
)
from lab.cluster.status import DistributionStatus, LabStatus, NodeStatus, RunningNode
from lab.errors import LabError, UsageError
from lab.topology.layout import Layout, Listener, Role
from lab.topology.reader import read_topology, shipped_topology

HOST = "127.15.250.1"
LONG = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", LONG]) as process:
        yield process
        process.kill()


@pytest.fixture
def record(tmp_path: Path) -> LabRecord:
    layout = Layout(read_topology(shipped_topology("default"), "127.15.0.0/16"), tmp_path)
    return make_record(layout, layout.nodes(), "/usr/bin/python3")


def put(state: StateDir, record: Record) -> None:
    """What a command that started a lab has left."""
    state.make()
    state.write(record)


def test_a_record_of_containers_is_the_same_after_reading() -> None:
    record = ContainersRecord("small", "cdnlab-small", ProcessIdentity(12, "boot/345"))
    assert from_json(to_json(record)) == record


def test_a_record_is_the_same_after_reading(record: LabRecord) -> None:
    running = record.with_process("origin-1", ProcessIdentity(12, "boot/345"))
    assert from_json(to_json(running)) == running
    assert isinstance(running, LabRecord) and running.node("origin-1") != record.node("origin-1")


def test_a_record_of_another_version_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text('{"version": 0}')
    with pytest.raises(
        LabError, match=r"written by another version\); `cdnlab down --state .*` ends what runs of that lab"
    ):
        StateDir(tmp_path).read()


def test_a_folder_that_cannot_be_used_is_refused_with_a_way_out(tmp_path: Path, record: LabRecord) -> None:
    (tmp_path / "file").write_text("")
    state = StateDir(tmp_path / "file" / "lab")
    refusal = r"file/lab cannot be used: Not a directory; give another folder with --state$"
    for use in (state.read, lambda: claim(state, record, lambda: None), lambda: state.open_log("origin-1")):
        with pytest.raises(LabError, match=refusal):
            use()


@pytest.mark.parametrize("name", ["secret-access-key", "tls"])
def test_secrets_that_cannot_be_written_are_refused_with_a_way_out(tmp_path: Path, name: str) -> None:
    layout = Layout(read_topology(shipped_topology("default")), tmp_path)
    if name == "tls":
        (tmp_path / name).write_text("")
    else:
        (tmp_path / name).mkdir()
    with pytest.raises(
        LabError, match=rf"^{tmp_path}/{name}.* cannot be written: .*; give another folder with --state$"
    ):
        write_secrets(layout, layout.nodes())


def test_a_lab_file_is_for_its_owner_only_and_two_commands_write_it_apart(tmp_path: Path, record: LabRecord) -> None:
    """Another command is in the middle of writing, under its own name."""
    state = StateDir(tmp_path)
    (tmp_path / "lab.json.1").write_text('{"half')
    state.write(record)
    assert state.read() == record and stat.S_IMODE(state.file.stat().st_mode) == 0o600
    assert (tmp_path / "lab.json.1").read_text() == '{"half'


def test_a_folder_of_which_nothing_may_be_known_is_refused(
    tmp_path: Path, record: LabRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root, who runs tests in containers, may look into every folder, the system's answer is put into its mouth."""

    def refuse(*_arguments: object, **_named: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(LabError, match=r"cannot be used: Permission denied; give another folder with --state$"):
        claim(StateDir(tmp_path), record, lambda: None)


def test_a_record_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: LabRecord
) -> None:
    """A reader that comes while a lab is being claimed found an empty file."""
    seen: list[str] = []

    def look_and_replace(fresh: Path, file: Path) -> None:
        seen.append(fresh.read_text())
        assert not file.exists()
        fresh.rename(file)

    monkeypatch.setattr(os, "replace", look_and_replace)
    state = StateDir(tmp_path)
    claim(state, record, lambda: None)
    assert state.read() == record and seen == [state.file.read_text()]
    assert [path.name for path in tmp_path.iterdir()] == ["lab.json"]


def test_nothing_of_others_is_removed_with_the_state(tmp_path: Path, record: LabRecord) -> None:
    state = StateDir(tmp_path / "lab")
    put(state, record)
    state.log_of("origin-1").parent.mkdir(parents=True)
    state.log_of("origin-1").write_text("hello\n")
    (state.path / "tls" / "edge-1").mkdir(parents=True)
    (state.path / "tls" / "edge-1" / "key.pem").write_text("secret")
    (state.path / "secret-access-key").write_text("secret")
    (state.path / "notes.txt").write_text("mine")
    state.remove()
    assert [path.name for path in state.path.iterdir()] == ["notes.txt"]
    state.remove()


def test_a_folder_of_somebody_else_is_not_taken(tmp_path: Path, record: LabRecord) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(LabError, match=r"holds 'thesis\.txt', which is not a lab's"):
        claim(StateDir(tmp_path), record, lambda: None)


def test_a_dead_lab_s_state_is_replaced(tmp_path: Path, record: LabRecord) -> None:
    state = StateDir(tmp_path)
    put(state, record.with_process("origin-1", ProcessIdentity(os.getpid(), "another-boot/1")))
    claim(state, record, lambda: None)
    assert state.read() == record


def test_a_running_lab_keeps_its_state(tmp_path: Path, record: LabRecord) -> None:
    state = StateDir(tmp_path)
    put(state, record.with_process("origin-1", identify(os.getpid())))
    with pytest.raises(LabError, match=r"a lab is running already: three-regions \(1 of 13 processes\)"):
        claim(state, record, lambda: None)


def test_a_lab_that_another_command_is_starting_keeps_its_state(tmp_path: Path, record: LabRecord) -> None:
    """Although nothing of it runs yet."""
    state = StateDir(tmp_path)
    put(state, replace(record, starter=identify(os.getpid())))
    message = rf"another command \(process {os.getpid()}\) is starting a lab in {tmp_path} right now: three-regions"
    with pytest.raises(LabError, match=message):
        claim(state, record, lambda: None)
    assert state.read() == replace(record, starter=identify(os.getpid()))


def test_two_commands_that_claim_one_folder_at_once_are_one_after_the_other(tmp_path: Path, record: LabRecord) -> None:
    """The second one comes while the first looks whether addresses are free, and must find the first one's record."""
    state, refused = StateDir(tmp_path / "lab"), threading.Event()
    mine = replace(record, starter=identify(os.getpid()))

    def claim_too() -> None:
        with pytest.raises(LabError, match="is starting a lab"):
            claim(StateDir(tmp_path / "lab"), record, lambda: None)
        refused.set()

    other = threading.Thread(target=claim_too)
    claim(state, mine, other.start)
    other.join(10)
    assert refused.is_set() and state.read() == mine


def test_who_waits_for_a_folder_that_goes_away_has_nothing_to_lock(tmp_path: Path) -> None:
    """`down` holds the lock of the folder that it removes."""
    folder, seen = tmp_path / "lab", []
    folder.mkdir()

    def wait_for_it() -> None:
        with folder_lock(folder) as is_there:
            seen.append(is_there)

    other = threading.Thread(target=wait_for_it)
    with folder_lock(folder) as is_there:
        assert is_there
        other.start()
        folder.rmdir()
    other.join(10)
    assert seen == [False]


def test_a_folder_that_is_held_for_too_long_is_refused(tmp_path: Path) -> None:
    with (
        folder_lock(tmp_path),
        pytest.raises(LabError, match="another command is busy with the lab"),
        folder_lock(tmp_path, wait_seconds=0.05),
    ):
        pass


def test_a_refused_start_leaves_no_folder(tmp_path: Path, record: LabRecord) -> None:
    def refuse() -> None:
        raise LabError("taken")

    with pytest.raises(LabError, match="taken"):
        claim(StateDir(tmp_path / "lab"), record, refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_process_is_known_by_more_than_its_pid(child: subprocess.Popen[bytes]) -> None:
    real = identify(child.pid)
    recycled = ProcessIdentity(child.pid, "boot/0")
    assert real.is_alive and not recycled.is_alive
    assert not recycled.send(signal.SIGKILL), "a signal must never reach whoever has the pid now"
    assert child.poll() is None


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        identity = identify(process.pid)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not identity.is_alive


def test_who_ignores_the_polite_signal_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert end_all([identify(process.pid)], 0.1, lambda: None) == 1
        assert process.wait(5) == -signal.SIGKILL


def test_free_and_taken_addresses() -> None:
    with socket.create_server((HOST, 0)) as server:
        address = f"{HOST}:{server.getsockname()[1]}"
        assert why_not_free(Listener(address)) == "the port is taken"
        assert why_not_free(Listener(address, is_datagram=True)) == ""
    assert why_not_free(Listener(address)) == ""


def taken_addresses(count: int) -> list[tuple[str, str, str]]:
    return [(f"n-{number}", f"127.20.1.{number}:80", "the port is taken") for number in range(count)]


def test_a_taken_address_is_named_with_its_node(tmp_path: Path) -> None:
    # A network of its own: the labs of the integration tests take the addresses of 127.15.0.0/16 meanwhile.
    nodes = Layout(read_topology(shipped_topology("default"), "127.20.0.0/16"), tmp_path).nodes()
    by_id = {node.id: node for node in nodes}
    taken = [by_id["origin-1"].http, by_id["edge-fra56-p1-2"].admin]
    servers = [socket.create_server((address.split(":")[0], int(address.split(":")[1]))) for address in taken]
    try:
        with pytest.raises(LabError) as caught:
            check_addresses_are_free(nodes, list)
    finally:
        for server in servers:
            server.close()
    assert str(caught.value).splitlines()[:-1] == [
        "edge-fra56-p1-2 cannot listen on 127.20.12.2:9100: the port is taken",
        "origin-1 cannot listen on 127.20.200.1:8080: the port is taken",
    ]


def test_many_taken_addresses_are_said_in_a_few_lines() -> None:
    lines = describe_taken(taken_addresses(30), []).splitlines()
    assert len(lines) == 6 and lines[4] == "and 26 more addresses of this lab"


@pytest.mark.parametrize("address", ["127.20.1.3:80", "0.0.0.0:80"])
def test_the_lab_that_has_the_addresses_is_named_with_what_ends_it(address: str) -> None:
    holder = OtherLab(
        "three-regions", "in /elsewhere (12 processes)", "cdnlab down --state /elsewhere", frozenset({address})
    )
    bystander = OtherLab("small", "in /third (6 processes)", "cdnlab down --state /third", frozenset({"127.30.0.1:80"}))
    assert describe_taken(taken_addresses(30), [bystander, holder]).splitlines() == [
        "the lab three-regions in /elsewhere (12 processes) has the addresses of this one: `cdnlab down --state /elsewhere` ends it",
        "nothing was started; --loopback 127.1.0.0/16 gives this lab addresses of its own",
    ]


def test_an_unknown_node_is_answered_with_those_that_are(tmp_path: Path, record: LabRecord) -> None:
    put(StateDir(tmp_path), record)
    with pytest.raises(UsageError, match="no node 'edge-9': there are control-plane, wan, dns-1, "):
        ProcessCluster(StateDir(tmp_path)).kill("edge-9")


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert last_lines(log, 2) == ["line 98", "line 99"]
    assert last_lines(log, 0) == []
    assert last_lines(tmp_path / "none", 5) == []


def test_following_a_log_gives_whole_lines_until_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    pieces = iter(["first li", "ne\nsecond\n", ""])

    def write_next_and_say_whether_it_was_the_last() -> bool:
        piece = next(pieces)
        with log.open("a") as file:
            file.write(piece)
        return not piece

    assert list(follow(log, write_next_and_say_whether_it_was_the_last)) == ["first line", "second"]


def test_the_json_of_a_status_is_what_scripts_rely_on() -> None:
    edge = RunningNode("edge-1", Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.2:80", "127.0.0.2:90", "", True, pid=7)
    router = RunningNode(
        "dns-1", Role.DNS_ROUTER, "us-east-1", "", "", "127.0.0.3:90", "127.0.0.3:53", True, container="c0ffee"
    )
    status = LabStatus(
        "cdn.localhost",
        "http://127.0.0.1:4566",
        (NodeStatus(edge, "live", 3), NodeStatus(router, "expired", None)),
        (DistributionStatus("E1", "d1.cdn.localhost", "Deployed"),),
    )
    assert status.to_json() == {
        "zone": "cdn.localhost",
        "api": {
            "endpoint": "http://127.0.0.1:4566",
            "region": "us-east-1",
            "access_key_id": "cdnlab",
            "secret_access_key": "cdnlab-secret",
        },
        "nodes": [
            {
                "id": "edge-1",
                "role": "edge",
                "region": "us-east-1",
                "pop": "IAD89-P1",
                "state": "live",
                "applied_index": 3,
                "pid": 7,
                "http": "127.0.0.2:80",
                "admin": "127.0.0.2:90",
                "dns": None,
                "advertised": "127.0.0.2:80",
            },
            {
                "id": "dns-1",
                "role": "dns_router",
                "region": "us-east-1",
                "pop": None,
                "state": "expired",
                "applied_index": None,
                "container": "c0ffee",
                "http": None,
                "admin": "127.0.0.3:90",
                "dns": "127.0.0.3:53",
                "advertised": "127.0.0.3:53",
            },
        ],
        "distributions": [{"id": "E1", "domain_name": "d1.cdn.localhost", "status": "Deployed"}],
    }
    assert not status.is_whole


def test_what_was_killed_before_it_had_a_record_leaves_nothing_and_takes_nothing(
    tmp_path: Path, record: LabRecord
) -> None:
    state = StateDir(tmp_path / "lab")
    state.make()
    (state.path / "lab.json.4711").write_text('{"version"')
    (state.path / "nodes").mkdir()
    state.remove_unbegun()
    assert [path.name for path in state.path.iterdir()] == ["nodes"], "nothing says that it is a lab's"
    (state.path / "nodes").rmdir()
    state.remove_unbegun()
    assert not state.path.exists()
    put(state, record)
    state.remove_unbegun()
    assert state.read() == record
