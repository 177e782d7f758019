"""The files of one program: what is refused at the start, and what is found wrong with a certificate later."""

import shutil
import subprocess
from pathlib import Path

import pytest

from proto.mutual_tls import TlsFilesError, TlsIdentity, node_uri
from tests.certificates import OVER, Certificates


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return Certificates(tmp_path / "lab").node("edge-1")


def test_good_files_are_read_and_nothing_is_held_against_them(keys: Path) -> None:
    identity = TlsIdentity.read(keys)
    assert identity.certificate == (keys / "certificate.pem").read_bytes()
    assert identity.why_refused() is None
    assert "PRIVATE KEY" not in repr(identity), "what is logged by mistake is no secret"


@pytest.mark.parametrize("name", ["ca.pem", "certificate.pem", "key.pem"])
def test_a_missing_file_is_named(keys: Path, name: str) -> None:
    (keys / name).unlink()
    with pytest.raises(TlsFilesError, match=f"^cannot read {keys / name}: no such file or directory$"):
        TlsIdentity.read(keys)


@pytest.mark.parametrize("name", ["ca.pem", "certificate.pem", "key.pem"])
@pytest.mark.parametrize("content", ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_something_else_is_named(keys: Path, name: str, content: str) -> None:
    (keys / name).write_text(content)
    with pytest.raises(TlsFilesError, match=str(keys / name)):
        TlsIdentity.read(keys)


def test_the_key_of_another_certificate_is_refused(keys: Path, tmp_path: Path) -> None:
    shutil.copy(Certificates(tmp_path / "other").node("edge-1") / "key.pem", keys)
    with pytest.raises(TlsFilesError, match="are not a certificate and its key: key values mismatch"):
        TlsIdentity.read(keys)


def test_a_key_with_a_password_is_an_error_and_no_question(keys: Path) -> None:
    encrypt = ("openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", "key.pem", "-out", "key.pem")
    subprocess.run(encrypt, cwd=keys, check=True, capture_output=True)
    with pytest.raises(TlsFilesError, match="are not a certificate and its key"):
        TlsIdentity.read(keys)


def test_an_expired_certificate_is_read_and_then_found_expired(tmp_path: Path) -> None:
    """It may have been good when the program was started."""
    identity = TlsIdentity.read(Certificates(tmp_path).node("edge-1", lifetime=OVER))
    assert identity.why_refused() == "certificate has expired"


def test_a_certificate_of_another_authority_is_found_out(keys: Path, tmp_path: Path) -> None:
    shutil.copy(Certificates(tmp_path / "other", "z").node("edge-1") / "ca.pem", keys)
    assert TlsIdentity.read(keys).why_refused() == "unable to get local issuer certificate"


def test_a_control_plane_can_be_a_client_of_another_one(tmp_path: Path) -> None:
    assert TlsIdentity.read(Certificates(tmp_path).control_plane()).why_refused() is None


def test_parts_of_a_name_stay_apart() -> None:
    assert node_uri("z", "edge", "edge-1") == "cdnlab://z/edge/edge-1"
    assert node_uri("z", "edge", "a/b c\u00e4") == "cdnlab://z/edge/a%2Fb%20c%C3%A4"
