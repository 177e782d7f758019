"""Two real processes with the identity of one edge: a copy of its state folder and of its certificate is started beside it, and viewers find both."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.clients.http_client import UnreachableError, ask, get_json
from lab.topology.layout import ALLOW_FAULTS
from tests import warm_start
from tests.integration.system_lab import Site, SystemLab, wait_until

LEASE_SECONDS = 2.0
OBJECT = "twin/page"


def flags_beside(lab: SystemLab, edge: str) -> dict[str, str]:
    """Those of the edge, with ports that nothing else in the lab has, at the edge's own address."""
    command = [word for word in lab.command(edge) if word != ALLOW_FAULTS]  # the one without a value
    flags = dict(zip(command[3::2], command[4::2], strict=True))
    host = flags["--listen"].rpartition(":")[0]
    without = {"--listen-shared", "--disk-dir"}
    kept = {name: value for name, value in flags.items() if name not in without}
    return kept | {"--listen": f"{host}:18471", "--admin": f"{host}:18472"}


def started(flags: dict[str, str], log: Path) -> warm_start.WarmProcess:
    with log.open("wb") as file:
        return warm_start.start("edge_node", [word for pair in flags.items() for word in pair], stderr=file)


class Twin:
    """The second process; on the addresses that the first one has, but for its ports."""

    def __init__(self, lab: SystemLab, edge: str, folder: Path) -> None:
        flags = flags_beside(lab, edge)
        shutil.copytree(flags["--state-dir"], folder / "state")
        self.http, self.admin = flags["--listen"], flags["--admin"]
        flags |= {"--state-dir": str(folder / "state"), "--access-log": str(folder / "access.log")}
        self.log = folder / "log"
        self.process = started(flags, self.log)
        wait_until(self._answers, "the second process answers")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return ask(self.admin, "/healthz").status == 200
        except UnreachableError:
            return False

    def lease(self) -> str:
        return str(get_json(self.admin, "/status")["lease"])

    def version(self, site: Site) -> int:
        reply = ask(self.http, f"/bucket/{OBJECT}", headers=[("host", site.host)])
        assert reply.status == 200
        return int(reply.headers["x-amz-version-id"])


@contextmanager
def twin_of(lab: SystemLab, edge: str, folder: Path) -> Iterator[Twin]:
    twin = Twin(lab, edge, folder)
    try:
        yield twin
    finally:
        twin.process.kill()
        twin.process.wait(10)


def version_at(lab: SystemLab, edge: str, site: Site) -> int:
    return int(lab.get(edge, site.host, f"/bucket/{OBJECT}").headers["x-amz-version-id"])


def replaced(lab: SystemLab, edge: str) -> list[str]:
    """What the control plane calls processes of the edge that another one has taken the place of."""
    nodes = lab.control_status()["nodes"]
    return [node["id"] for node in nodes if node["state"] == "replaced" and node["id"].startswith(edge)]


def lines(lab: SystemLab, invalidation_id: str, edge: str) -> dict[str, str]:
    return {n["id"]: n["state"] for n in lab.receipt(invalidation_id)["nodes"] if n["id"].startswith(edge)}


def test_a_second_process_is_refused_while_the_first_one_speaks_and_serves_nothing_old(
    lab: SystemLab, tmp_path: Path
) -> None:
    site, edge = lab.make_site(), lab.edges()[0]
    old = lab.put_object(OBJECT, b"old")
    assert version_at(lab, edge, site) == old
    with twin_of(lab, edge, tmp_path) as twin:
        wait_until(lambda: "another process speaks for node" in twin.log.read_text(), "the second one is refused")
        new = lab.put_object(OBJECT, b"new")
        invalidation_id = lab.invalidate(site, f"/bucket/{OBJECT}")
        lab.wait_completed(site, invalidation_id)
        assert (version_at(lab, edge, site), twin.version(site)) == (new, new)
        assert twin.lease() != "held" and lab.status(edge)["lease"] == "held"
        (name,) = replaced(lab, edge)
        assert lines(lab, invalidation_id, edge) == {edge: "acknowledged", name: "left_out"}
        assert lab.is_ready(edge), "the first one stays in the DNS answers"


def test_a_second_process_that_takes_the_place_of_one_which_stands_still_is_not_taken_for_it(
    lab: SystemLab, tmp_path: Path
) -> None:
    """The receipt waits until the first one must have noticed, whatever the second one says; and the first one, when it goes on, serves nothing old."""
    site, edge = lab.make_site(), lab.edges()[0]
    old = lab.put_object(OBJECT, b"old")
    assert version_at(lab, edge, site) == old
    lab.kill(edge, signal.SIGSTOP)
    try:
        with twin_of(lab, edge, tmp_path) as twin:
            wait_until(lambda: twin.lease() == "held", "the second one has the name and a lease")
            new = lab.put_object(OBJECT, b"new")
            invalidation_id = lab.invalidate(site, f"/bucket/{OBJECT}")
            lab.wait_completed(site, invalidation_id)
            said = lines(lab, invalidation_id, edge)
            assert said.pop(edge) == "acknowledged" and "left_out" in said.values()
            lab.kill(edge, signal.SIGCONT)
            assert (version_at(lab, edge, site), twin.version(site)) == (new, new)
    finally:
        lab.kill(edge, signal.SIGCONT)


def test_two_processes_never_share_a_state_folder(lab: SystemLab, tmp_path: Path) -> None:
    edge = lab.edges()[0]
    flags = flags_beside(lab, edge)
    second = started(flags, tmp_path / "log")
    assert second.wait(10) == 1
    said = (tmp_path / "log").read_text()
    assert f"the state folder {flags['--state-dir']} is in use by process " in said
    assert lab.status(edge)["lease"] == "held"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_that_is_started_again_is_not_waited_for_twice(lab: SystemLab, number: signal.Signals) -> None:
    """It proves that the process before it has ended."""
    edge = lab.edges()[0]
    before = replaced(lab, edge)
    lab.kill(edge, number)
    lab.start(edge)
    lab.wait_serving(edge)
    assert replaced(lab, edge) == before
