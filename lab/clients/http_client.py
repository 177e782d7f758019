"""One blocking HTTP exchange with a node of the lab, bounded in time and size; for the command line and for readiness.

Watching many nodes at once while a run goes on is async_http.py's.
"""

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_TIMEOUT_SECONDS = 2.0
MAXIMUM_BYTES = 16 << 20


class UnreachableError(Exception):
    """No whole answer from an address; the message says from which and why."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Field names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 host in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def site_host(domain_name: str, viewer_port: int) -> str:
    """What a browser sends as Host: the port only when it is not the scheme's own (RFC 9110 section 7.2)."""
    return domain_name if viewer_port == 80 else f"{domain_name}:{viewer_port}"


def ask(
    address: str,
    path: str,
    *,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Reply:
    """Asks `address` (host:port). A Host header among `headers` replaces the address."""
    fields = {name.lower(): value for name, value in headers}
    try:
        connection = http.client.HTTPConnection(*split_address(address), timeout=timeout_seconds)
    except ValueError as error:  # as of a container that has no address yet
        raise UnreachableError(f"http://{address}{path}: {address!r} is no address") from error
    try:
        connection.request(method, path, body, {"host": address, **fields})
        response = connection.getresponse()
        content = response.read(MAXIMUM_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(f"http://{address}{path}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def get_json(address: str, path: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> dict[str, Any]:
    """The JSON object at a path; UnreachableError when there is none."""
    return _object(ask(address, path, timeout_seconds=timeout_seconds), f"http://{address}{path}")


def post_json(address: str, path: str, document: Any) -> dict[str, Any]:
    """The JSON object that answers a posted one."""
    body = json.dumps(document).encode()
    reply = ask(address, path, method="POST", headers=[("content-type", "application/json")], body=body)
    return _object(reply, f"http://{address}{path}")


def is_healthy(address: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> bool:
    """Whether an admin port answers GET /healthz with 200."""
    try:
        return ask(address, "/healthz", timeout_seconds=timeout_seconds).status == 200
    except UnreachableError:
        return False


def _object(reply: Reply, url: str) -> dict[str, Any]:
    if reply.status != 200:
        raise UnreachableError(f"{url}: status {reply.status}: {reply.body[:200].decode('utf-8', 'replace').strip()}")
    try:
        document = json.loads(reply.body)
    except ValueError as error:
        raise UnreachableError(f"{url}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UnreachableError(f"{url}: not a JSON object")
    return document
