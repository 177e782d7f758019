"""What a lab's authority writes, as OpenSSL reads it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from lab.cluster.certificate_authority import CertificateAuthority, Holder
from lab.cluster.secret_files import write_secret
from proto.mutual_tls import node_uri

EDGE = Holder("edge-1", "edge")
CONTROL_PLANE = Holder("control-plane", "control_plane", ("127.15.0.1", "cdn.example"), is_server=True)


def openssl(folder: Path, *arguments: str) -> str:
    return subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True, text=True).stdout


def verify(folder: Path, *arguments: str) -> int:
    command = ("openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", *arguments, "certificate.pem")
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode


@pytest.fixture
def edge(tmp_path: Path) -> Path:
    CertificateAuthority("z").issue(tmp_path / "edge-1", EDGE)
    return tmp_path / "edge-1"


@pytest.fixture
def control_plane(tmp_path: Path) -> Path:
    CertificateAuthority("z").issue(tmp_path / "control-plane", CONTROL_PLANE)
    return tmp_path / "control-plane"


def test_a_node_is_a_client_with_its_name_and_nothing_else(edge: Path) -> None:
    assert verify(edge, "-purpose", "sslclient") == 0
    assert verify(edge, "-purpose", "sslserver") != 0
    names = openssl(edge, "x509", "-in", "certificate.pem", "-noout", "-ext", "subjectAltName").splitlines()[1:]
    assert [name.strip() for name in names] == [f"URI:{node_uri('z', 'edge', 'edge-1')}"]
    assert verify(edge, "-purpose", "sslclient", "-verify_hostname", "control-plane") != 0


def test_the_control_plane_is_a_server_with_its_name_and_its_addresses_and_a_client_of_others(
    control_plane: Path,
) -> None:
    assert verify(control_plane, "-purpose", "sslserver", "-verify_hostname", "control-plane") == 0
    assert verify(control_plane, "-purpose", "sslserver", "-verify_hostname", "cdn.example") == 0
    assert verify(control_plane, "-purpose", "sslserver", "-verify_ip", "127.15.0.1") == 0
    assert verify(control_plane, "-purpose", "sslserver", "-verify_ip", "127.15.0.2") != 0
    assert verify(control_plane, "-purpose", "sslclient") == 0


def test_keys_are_on_p_256_and_each_is_another(tmp_path: Path) -> None:
    authority = CertificateAuthority("z")
    for name in ("one", "other"):
        authority.issue(tmp_path / name, EDGE)
    assert "prime256v1" in openssl(tmp_path / "one", "ec", "-in", "key.pem", "-noout", "-text")
    keys = {(tmp_path / name / "key.pem").read_bytes() for name in ("one", "other")}
    serials = {
        openssl(tmp_path / name, "x509", "-in", "certificate.pem", "-noout", "-serial") for name in ("one", "other")
    }
    assert len(keys) == len(serials) == 2


def test_a_certificate_is_good_for_a_year_and_no_longer(edge: Path) -> None:
    day = 24 * 3600
    for name in ("certificate.pem", "ca.pem"):
        assert "will not" in openssl(edge, "x509", "-in", name, "-noout", "-checkend", str(364 * day))
    later = ("-attime", str(int((edge / "ca.pem").stat().st_mtime) + 366 * day))
    assert verify(edge, *later) != 0


def test_two_labs_do_not_know_each_other(edge: Path, tmp_path: Path) -> None:
    CertificateAuthority("z").issue(tmp_path / "other", EDGE)
    (edge / "ca.pem").write_bytes((tmp_path / "other/ca.pem").read_bytes())
    assert verify(edge) != 0


def test_keys_are_for_their_owner_only_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        CertificateAuthority("z").issue(tmp_path / "edge-1", EDGE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "edge-1").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "edge-1/key.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "edge-1").iterdir()) == ["ca.pem", "certificate.pem", "key.pem"]


def test_a_secret_is_never_written_to_a_file_that_others_have_open(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o666)
    with path.open() as of_another:
        write_secret(path, b"new")
        assert of_another.read() == "old"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)


def test_ids_longer_than_a_common_name_are_whole_in_the_uri(tmp_path: Path) -> None:
    node_id = "e" * 128
    CertificateAuthority("z").issue(tmp_path / "edge", Holder(node_id, "edge"))
    assert node_uri("z", "edge", node_id) in openssl(
        tmp_path / "edge", "x509", "-in", "certificate.pem", "-noout", "-text"
    )
