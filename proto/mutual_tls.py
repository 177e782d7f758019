"""Mutual TLS between nodes and the control plane (DESIGN section 3): the files of one program, and what a certificate must say.

A client's certificate names the node that it speaks for, in a URI (RFC 5280 section 4.2.1.6). The server's has the DNS name `control-plane`, which a
lab's authority gives to nobody else; the name and not the address is checked, because a node may reach the control plane through a relay or a published port.

Shared by control_plane, edge_node and dns_router. Who makes the certificates is not known here.
"""

import contextlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import grpc

AUTHORITY_FILE: Final = "ca.pem"
CERTIFICATE_FILE: Final = "certificate.pem"
KEY_FILE: Final = "key.pem"
CONTROL_PLANE_NAME: Final = "control-plane"
"""The DNS name in the control plane's certificate."""

SERVER_NAME_OPTION: Final = ("grpc.ssl_target_name_override", CONTROL_PLANE_NAME)
"""Of a channel: what the server's certificate is checked for, in place of the address that was dialled."""

_HANDSHAKE_FLIGHTS: Final = 3
"""TLS 1.3 needs two of a client and one of a server (RFC 8446 section 2)."""


class TlsFilesError(Exception):
    """A file is missing or is not what it should be; the message says which and why."""


def node_uri(zone: str, role: str, node_id: str) -> str:
    """The name of a node in its certificate: `cdnlab://cdn.localhost/edge/edge-fra56-p1-1`."""
    return f"cdnlab://{zone}/{quote(role, safe='')}/{quote(node_id, safe='')}"


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """One program's certificate and key, and the authority that it trusts. Read once, at the start."""

    authority: bytes
    certificate: bytes
    key: bytes = field(repr=False)
    _calling: ssl.SSLContext = field(repr=False)
    _presenting: ssl.SSLContext = field(repr=False)
    _verifying: ssl.SSLContext = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """From `ca.pem`, `certificate.pem` and `key.pem`; TlsFilesError when one cannot be used, or the key is another certificate's."""
        authority, certificate, key = (_content(folder / name) for name in (AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE))
        calling, presenting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        verifying = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        presenting.check_hostname = False
        presenting.verify_mode = ssl.CERT_NONE  # who is asked in `why_refused` is this program itself
        verifying.verify_mode = ssl.CERT_REQUIRED
        for context in (calling, presenting, verifying):
            _load_pair(context, folder)
        for context in (calling, verifying):
            _load_authority(context, folder)
        return cls(authority, certificate, key, calling, presenting, verifying)

    def for_channel(self) -> grpc.ChannelCredentials:
        """Of a node."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)

    def for_connection(self) -> ssl.SSLContext:
        """Of a control plane that connects to another one: whose certificate is of the authority, and has the name that is asked for with the connection."""
        self._calling.set_alpn_protocols(["h2"])
        return self._calling

    def for_listener(self) -> ssl.SSLContext:
        """Of the control plane: who has no certificate of the authority gets no further than the handshake. HTTP/2 is agreed on (RFC 9113 section 3.2)."""
        self._verifying.set_alpn_protocols(["h2"])
        self._verifying.num_tickets = 0
        return self._verifying

    def why_refused(self) -> str | None:
        """What whoever trusts the same authority has against this certificate now: expired, of another authority; None when nothing.

        A server that refuses a client's certificate closes the connection, and gRPC does not say why. So the handshake is done here once more, in memory.
        """
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self._presenting.wrap_bio(to_client, to_server)
        server = self._verifying.wrap_bio(to_server, to_client, server_side=True)
        try:
            for _ in range(_HANDSHAKE_FLIGHTS):
                for end in (client, server):
                    with contextlib.suppress(ssl.SSLWantReadError):
                        end.do_handshake()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        return None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsFilesError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def _load_pair(context: ssl.SSLContext, folder: Path) -> None:
    certificate, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
    try:
        context.load_cert_chain(
            certificate, key, password=""
        )  # a key with a password is an error, and never a question
    except (ssl.SSLError, ValueError) as error:
        raise TlsFilesError(f"{certificate} and {key} are not a certificate and its key: {_words(error)}") from error


def _load_authority(context: ssl.SSLContext, folder: Path) -> None:
    path = folder / AUTHORITY_FILE
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise TlsFilesError(f"{path} is not a certificate: {_words(error)}") from error


def _words(error: ssl.SSLError | ValueError) -> str:
    """OpenSSL's name of a reason as words; it does not have one for everything."""
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if reason else "damaged"
