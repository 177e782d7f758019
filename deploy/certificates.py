"""Before anything else starts in containers: a certificate and a key for each program that speaks gRPC, in a folder named like it.

Runs once per `docker compose up` (service certificates) and writes to a volume. What is there is kept, so that a second `up` disturbs nobody,
unless a program is new, another zone is asked for, or less than 30 days are left: then all are made anew, by a new authority.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from lab.cluster.certificate_authority import CertificateAuthority, Holder

RENEWED_BEFORE = timedelta(days=30)
SERVER_ROLE = "control_plane"


def parse_holder(text: str) -> Holder:
    """`edge/edge-fra56-p1-1`."""
    role, slash, node_id = text.partition("/")
    if not slash or not role or not node_id or "/" in node_id:
        raise argparse.ArgumentTypeError(f"{text!r} is not ROLE/NODE-ID")
    return Holder(node_id, role, is_server=role == SERVER_ROLE)


def are_good(folder: Path, zone: str, holders: Sequence[Holder], now: datetime) -> bool:
    """Whether all are there, of one authority, for these names, and for long enough."""
    try:
        authorities = {(folder / holder.node_id / "ca.pem").read_bytes() for holder in holders}
        expected = all(_is_good(folder / holder.node_id, holder.uri(zone), now) for holder in holders)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return len(authorities) == 1 and expected


def _is_good(folder: Path, uri: str, now: datetime) -> bool:
    certificate = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    named = names.get_values_for_type(x509.UniformResourceIdentifier)
    is_long_enough = certificate.not_valid_after_utc - now > RENEWED_BEFORE
    return named == [uri] and is_long_enough and (folder / "key.pem").is_file()


def make_anew(folder: Path, zone: str, holders: Sequence[Holder]) -> None:
    """What was there is removed first: half of it, after a crash, would be of another authority."""
    for old in folder.iterdir():
        shutil.rmtree(old)
    authority = CertificateAuthority(zone)
    for holder in holders:
        authority.issue(folder / holder.node_id, holder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="a folder that is there")
    parser.add_argument("--zone", required=True, help="of the lab")
    parser.add_argument("holders", nargs="+", type=parse_holder, metavar="ROLE/NODE-ID", help="edge/edge-1")
    options = parser.parse_args()
    if are_good(options.output, options.zone, options.holders, datetime.now(UTC)):
        print(f"kept {len(options.holders)} certificates in {options.output}")
        return
    try:
        make_anew(options.output, options.zone, options.holders)
    except OSError as error:
        sys.exit(f"the certificates cannot be written: {error}")
    print(f"made {len(options.holders)} certificates in {options.output}")


if __name__ == "__main__":
    main()
