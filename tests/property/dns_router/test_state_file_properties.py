"""A bit of a file that a router trusts is the other way round: it answers as it did, or knows nothing, and never something else."""

import hashlib
import random
from pathlib import Path

import pytest

from dns_router.applier import DIRECTORY_FILE, RouterApplier
from dns_router.counters import Counters
from dns_router.responder import Responder
from dns_router.routing import Directory
from proto.log_position import LogPosition
from proto.resource_files import POSITION_FILE
from proto.state_files import StateFiles
from tests.builders import entry_message
from tests.router_builders import TWO_EDGES_EACH, directory_message, distribution, snapshot


class Router:
    """A process over a state folder."""

    def __init__(self, folder: Path) -> None:
        self.files = StateFiles(folder)
        self.responder = Responder(Counters(), random.Random(1))
        self.applier = RouterApplier(self.files, self.responder, Counters(), {})
        self.applier.recover()


def names(router: Router) -> object:
    """Whose they are, in which zone."""
    zone = router.responder.zone
    return zone and (zone.apex, zone.sites)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    applier = Router(tmp_path).applier
    applier.apply_snapshot(
        snapshot(distribution(), distribution("E2", "d2.cdn.localhost", aliases=["a.cdn.localhost"]))
    )
    applier.apply_entry(entry_message(8, distribution("E3", "a..b"), log_id="log-a"))
    applier.apply_directory(directory_message(*TWO_EDGES_EACH))
    return tmp_path


@pytest.mark.parametrize("name", [POSITION_FILE, DIRECTORY_FILE])
def test_no_flipped_bit_makes_another_answer(folder: Path, name: str) -> None:
    """One bit of each byte in turn."""
    rng = random.Random(1)
    sound, whole = Router(folder), (folder / name).read_bytes()
    assert (
        sound.applier.position() == LogPosition("log-a", 8)
        and sound.applier.rejected()
        and sound.responder.directory.addresses
    )
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        (folder / name).write_bytes(flipped)
        _check(Router(folder), sound, name)


def _check(router: Router, sound: Router, name: str) -> None:
    assert router.files.statistics.refused_total == 1
    if name == POSITION_FILE:
        assert router.applier.position() == LogPosition() and router.responder.zone is None
        assert router.responder.directory == sound.responder.directory
    else:
        assert router.applier.position() == LogPosition("log-a", 8) and names(router) == names(sound)
        assert router.responder.directory == Directory()


@pytest.mark.parametrize("name", [POSITION_FILE, DIRECTORY_FILE])
def test_files_that_are_cut_exchanged_or_of_an_older_form_are_refused(folder: Path, name: str) -> None:
    sound, whole = Router(folder), (folder / name).read_bytes()
    other = (folder / (DIRECTORY_FILE if name == POSITION_FILE else POSITION_FILE)).read_bytes()
    older = snapshot(distribution()).SerializeToString()
    of_before = hashlib.sha256(older).digest() + older
    for content in (b"", whole[:-1], whole[:20], whole + b"\0", other, of_before):
        (folder / name).write_bytes(content)
        _check(Router(folder), sound, name)


def test_a_lost_file_costs_no_last_good_version_of_another_resource(folder: Path) -> None:
    """All of it is asked for anew, and what is refused of it stays as it was."""
    lost = next(path for path in folder.glob("configuration-*/distribution-E2-*"))
    lost.unlink()
    router = Router(folder)
    assert router.applier.position() == LogPosition() and router.applier.checksum() == b""
    router.applier.apply_snapshot(snapshot(distribution("E1", "a..b")))
    assert router.responder.zone is not None and "E1" in {
        site.distribution_id for site in router.responder.zone.sites.values()
    }
    assert router.applier.position() == Router(folder).applier.position() != LogPosition()
