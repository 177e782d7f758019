"""Certificates for tests: of a lab, of another one, expired. The authority is the lab's own; that its work is right is judged by OpenSSL in its tests."""

from datetime import timedelta
from pathlib import Path

import grpc

from lab.cluster.certificate_authority import LIFE, CertificateAuthority, Holder

ZONE = "cdn.localhost"
OVER = timedelta(minutes=-1)
"""A lifetime that has ended."""


class Certificates:
    """One authority, and a folder for each program that it has written to, as `--tls-dir` takes it."""

    def __init__(self, folder: Path, zone: str = ZONE) -> None:
        self._folder = folder
        self._authority = CertificateAuthority(zone)

    def control_plane(self, lifetime: timedelta = LIFE) -> Path:
        return self._issued(Holder("control-plane", "control_plane", is_server=True), lifetime)

    def node(self, node_id: str, role: str = "edge", lifetime: timedelta = LIFE) -> Path:
        return self._issued(Holder(node_id, role), lifetime)

    def _issued(self, holder: Holder, lifetime: timedelta) -> Path:
        keys = self._folder / holder.role / holder.node_id / str(lifetime.days)
        self._authority.issue(keys, holder, lifetime)
        return keys


def channel_credentials(keys: Path, trusting: Path | None = None) -> grpc.ChannelCredentials:
    """Of a client that holds these keys, and trusts their authority or another one's."""
    authority = ((trusting or keys) / "ca.pem").read_bytes()
    return grpc.ssl_channel_credentials(
        authority, (keys / "key.pem").read_bytes(), (keys / "certificate.pem").read_bytes()
    )
