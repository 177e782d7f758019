"""What the nodes of a lab of processes must not tell: the key of the management API, and the certificates by which they know each other."""

from collections.abc import Iterable

from lab.cluster.certificate_authority import CertificateAuthority, Holder
from lab.cluster.secret_files import write_secret
from lab.errors import LabError
from lab.topology.layout import SECRET_ACCESS_KEY, Layout, NodeSpec, Role


def write_secrets(layout: Layout, nodes: Iterable[NodeSpec]) -> None:
    """The secret access key, and a certificate for each program that speaks gRPC. They are in files, because every user of the machine reads command lines."""
    authority = CertificateAuthority(layout.topology.zone)
    try:
        write_secret(layout.secret_access_key_path, f"{SECRET_ACCESS_KEY}\n".encode())
        for node in nodes:
            if "--tls-dir" in node.flags:
                authority.issue(layout.tls_dir(node.id), _holder(node))
    except OSError as error:
        reason = f"{error.filename or layout.state_dir} cannot be written: {error.strerror}"
        raise LabError(f"{reason}; give another folder with --state") from error


def _holder(node: NodeSpec) -> Holder:
    is_server = node.role is Role.CONTROL_PLANE
    hosts = sorted({listener.address.rpartition(":")[0] for listener in node.listeners}) if is_server else ()
    return Holder(node.id, node.role.value, tuple(hosts), is_server)
