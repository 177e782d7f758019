"""What to open: prints where everything of a lab in containers is, and stays so that `docker compose logs lab` has it (service `lab`).

The addresses are those that this machine publishes, which Compose knows and no container does: they are given as flags.
"""

import argparse
import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ASK_SECONDS = 5.0
# The engine chooses the port of what is published as 0; only it knows which.
_CHOSEN = ":0"
_ROLES = {"edge": "edge", "regional": "regional cache", "dns_router": "router"}


def read_status(admin: str) -> Mapping[str, Any]:
    """What the control plane knows of its nodes and distributions."""
    with urllib.request.urlopen(f"{admin}/status", timeout=ASK_SECONDS) as response:  # noqa: S310  # the scheme is ours
        status: Mapping[str, Any] = json.load(response)
    return status


def lines(status: Mapping[str, Any], name: str, addresses: Mapping[str, str]) -> Iterator[str]:
    """`addresses`: host:port of viewers, api, operators, dns, prometheus; who is not published is not there."""
    roles = [node.get("role") for node in status.get("nodes", ())]
    counts = ", ".join(_count(roles.count(role), word) for role, word in _ROLES.items() if role in roles)
    yield f"the lab {name} is up: {counts}"
    distributions: Sequence[Mapping[str, Any]] = status.get("distributions", ())
    port = addresses["viewers"].rpartition(":")[2]
    for each in distributions:
        yield f"  site            http://{each['domain_name']}:{port}/   ({each['id']})"
    if not distributions:
        yield "  site            none yet: create a distribution through the management API"
    yield f"  management API  http://{addresses['api']}   (region us-east-1, keys cdnlab and cdnlab-secret)"
    yield f"  operators       http://{addresses['operators']}/status"
    if "dns" in addresses:
        host, _, dns_port = addresses["dns"].rpartition(":")
        yield f"  DNS             dig @{host} -p {dns_port} {distributions[0]['domain_name'] if distributions else 'NAME'}"
    yield f"  Prometheus      http://{addresses['prometheus']}/"
    if any(address.endswith(_CHOSEN) for address in addresses.values()):
        yield "  port 0 is one that the engine has chosen: `docker compose ps` shows which"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="of the topology")
    parser.add_argument(
        "--admin", required=True, help="the control plane's operators' port, for example http://control-plane:4568"
    )
    for flag in ("viewers", "api", "operators", "prometheus"):
        parser.add_argument(f"--{flag}", required=True, metavar="HOST:PORT", help="where this machine publishes it")
    parser.add_argument("--dns", metavar="HOST:PORT", help="the same of the router, if there is one")
    options = vars(parser.parse_args())
    name, admin = options.pop("name"), options.pop("admin")
    try:
        status = read_status(admin)
    except OSError as error:
        sys.exit(f"the control plane does not say what there is: {error}")
    print("\n".join(lines(status, name, {flag: address for flag, address in options.items() if address})), flush=True)
    os.execvp("sleep", ["sleep", "infinity"])  # in place of this process: what is left needs no memory  # noqa: S606


if __name__ == "__main__":
    main()
