"""When the certificates of a lab in containers are kept, and when they are made anew."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from lab.cluster.certificate_authority import CertificateAuthority, Holder

ROOT = Path(__file__).parents[3]
HOLDERS = ("control_plane/control-plane", "edge/edge-1", "dns_router/dns-1")


def run(folder: Path, *holders: str, zone: str = "z") -> str:
    command = (sys.executable, "deploy/certificates.py", "--output", str(folder), "--zone", zone, *(holders or HOLDERS))
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()[0]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.pem")}


def verifies(folder: Path) -> bool:
    command = ("openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", "certificate.pem")
    return all(
        subprocess.run(command, cwd=each, check=False, capture_output=True).returncode == 0 for each in folder.iterdir()
    )


def test_a_second_run_keeps_what_the_first_has_made(tmp_path: Path) -> None:
    assert run(tmp_path) == "made"
    before = content(tmp_path)
    assert len(before) == 3 * len(HOLDERS) and verifies(tmp_path)
    assert run(tmp_path) == "kept" and content(tmp_path) == before
    assert run(tmp_path, *HOLDERS[:2]) == "kept", "one that is not needed any more does no harm"


@pytest.mark.parametrize("name", ["ca.pem", "certificate.pem", "key.pem"])
def test_after_a_crash_in_the_middle_all_are_of_one_authority(tmp_path: Path, name: str) -> None:
    run(tmp_path)
    (tmp_path / "edge-1" / name).unlink()
    before = content(tmp_path)
    assert run(tmp_path) == "made"
    after = content(tmp_path)
    assert len(after) == 3 * len(HOLDERS) and verifies(tmp_path)
    assert not [path for path in before if before[path] == after[path]]


def test_what_is_there_of_two_authorities_is_made_anew(tmp_path: Path) -> None:
    run(tmp_path)
    CertificateAuthority("z").issue(tmp_path / "edge-1", Holder("edge-1", "edge"))
    assert run(tmp_path) == "made"
    assert len({(each / "ca.pem").read_bytes() for each in tmp_path.iterdir()}) == 1


def test_a_new_program_another_role_or_another_zone_needs_new_ones(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, *HOLDERS, "edge/edge-2") == "made"
    assert run(tmp_path, *HOLDERS[:2], "edge/dns-1") == "made"
    assert run(tmp_path, *HOLDERS[:2], "edge/dns-1", zone="y") == "made"


@pytest.mark.parametrize(("days", "outcome"), [(29, "made"), (31, "kept")])
def test_they_are_made_anew_before_they_expire(tmp_path: Path, days: int, outcome: str) -> None:
    authority = CertificateAuthority("z")
    authority.issue(tmp_path / "edge-1", Holder("edge-1", "edge"), timedelta(days=days))
    assert run(tmp_path, "edge/edge-1") == outcome


def test_a_folder_that_takes_nothing_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = (sys.executable, "deploy/certificates.py", "--output", str(tmp_path / "file"), "--zone", "z", *HOLDERS)
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("the certificates cannot be written: ")
    assert "Traceback" not in done.stderr


def test_a_name_without_a_role_is_refused(tmp_path: Path) -> None:
    command = (sys.executable, "deploy/certificates.py", "--output", str(tmp_path), "--zone", "z", "edge-1")
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 2 and "'edge-1' is not ROLE/NODE-ID" in done.stderr
