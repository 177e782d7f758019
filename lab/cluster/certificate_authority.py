"""The certificate authority of one lab: made when the lab is, gone when the certificates are written.

Its key is never on a disk, so nobody can make one more. Certificates are X.509 (RFC 5280) with ECDSA keys on P-256. A node's has one URI with its role and id, and is
good for a client only; the control plane's has its name and its addresses as well, and is good for a server, and for the client that a control plane is of another
one. So no node can pose as the control plane.
What a program reads of this is in docs/contracts.md (`--tls-dir`).
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.cluster.secret_files import write_secret

LIFE = timedelta(days=365)
"""No lab is up for longer."""
CLOCK_SKEW = timedelta(minutes=5)
"""Between the machine that makes a certificate and one that reads it, as in a virtual machine that was asleep."""
CONTROL_PLANE_NAME = "control-plane"
"""What nodes check the control plane's certificate for, whichever address they dial."""

_LONGEST_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a certificate is for; `hosts` are the other names and addresses of a server."""

    node_id: str
    role: str
    hosts: tuple[str, ...] = ()
    is_server: bool = False

    def uri(self, zone: str) -> str:
        """Its name in the lab of that zone, as it stands in the certificate."""
        return f"cdnlab://{zone}/{quote(self.role, safe='')}/{quote(self.node_id, safe='')}"


class CertificateAuthority:
    """Signs for the lab of one zone; its own certificate is good for `LIFE`."""

    def __init__(self, zone: str) -> None:
        self._zone = zone
        self._made_at = datetime.now(UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"cdnlab {zone}")
        unsigned = (
            self._unsigned(self._name, self._key.public_key(), LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
        )
        self._certificate = unsigned.sign(self._key, hashes.SHA256())

    def issue(self, folder: Path, holder: Holder, lifetime: timedelta = LIFE) -> None:
        """Writes `ca.pem`, `certificate.pem` and `key.pem`; OSError when the folder does not take them."""
        key = ec.generate_private_key(ec.SECP256R1())
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(folder / "key.pem", secret)
        (folder / "certificate.pem").write_bytes(self._signed(holder, key, lifetime).public_bytes(Encoding.PEM))
        (folder / "ca.pem").write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def _signed(self, holder: Holder, key: ec.EllipticCurvePrivateKey, lifetime: timedelta) -> x509.Certificate:
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if holder.is_server:
            purposes.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        unsigned = (
            self._unsigned(_name(holder.node_id), key.public_key(), lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName(self._names_of(holder)), critical=False)
        )
        return unsigned.sign(self._key, hashes.SHA256())

    def _unsigned(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(issuer_name=self._name, subject_name=subject, public_key=key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._made_at - CLOCK_SKEW)
            .not_valid_after(self._made_at + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _names_of(self, holder: Holder) -> Iterable[x509.GeneralName]:
        yield x509.UniformResourceIdentifier(holder.uri(self._zone))
        if holder.is_server:
            yield x509.DNSName(CONTROL_PLANE_NAME)
        yield from map(_host_name, holder.hosts)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_LONGEST_COMMON_NAME])])


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
