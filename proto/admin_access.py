"""Who may ask an admin port: the part of the contract that is the same for every program (docs/contracts.md, docs/security.md). Pure.

Admin ports ask for no credential, so what has to be kept out is a web page in the browser of somebody who may reach them: it can send requests to any address, and with
a name of its own that leads to ours (DNS rebinding) it can read the answers as well. A browser says where a request comes from: `Origin` with everything but plain
reads (Fetch, section 3.1), `Sec-Fetch-Site` with everything to an address that it trusts, and always the name by which it came, in `Host` (RFC 9110 section 7.2).
Programs that are no browsers send only the last.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FORBIDDEN = 403
UNSUPPORTED_MEDIA_TYPE = 415

_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]\s,]+))(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class AccessRefusal:
    """Why a request is not answered."""

    status: int
    reason: str


class AdminAccess:
    """The rule of one program, which knows by which names it is called besides its addresses and `localhost`."""

    def __init__(self, own_names: Iterable[str]) -> None:
        self._own_names = {"localhost"} | {_normal(name) for name in own_names if name}

    def refusal(self, fields: Mapping[str, str], *, takes_json: bool = False) -> AccessRefusal | None:
        """The refusal of a request with these header fields, or None. Names of fields are in lower case, repeated fields are joined by commas (RFC 9110 section 5.3).
        `takes_json` says that the request's content is meant to be JSON."""
        host = fields.get("host")
        # Empty: of a client that came by no name (RFC 9112 section 3.2), as no browser does.
        if host and not self._is_own(host):
            return AccessRefusal(FORBIDDEN, "the Host is no address and no name of this node")
        origin = fields.get("origin")
        if origin is not None and origin.lower() != f"http://{host}".lower():
            return AccessRefusal(FORBIDDEN, "the request comes from a web page of another origin")
        if fields.get("sec-fetch-site") == "cross-site":
            return AccessRefusal(FORBIDDEN, "the request comes from a web page of another site")
        if takes_json and not _is_json(fields.get("content-type", "")):
            return AccessRefusal(UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
        return None

    def _is_own(self, host: str) -> bool:
        """An address cannot be rebound: a browser that shows one as a page's origin got the page from there."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["ipv6"] or match["name"]
        return _is_address(name) or (match["ipv6"] is None and _normal(name) in self._own_names)


def read_fields(lines: Iterable[str]) -> dict[str, str]:
    """The header fields of a head's lines behind the first. A line that is no field is left out: there is nothing that it could allow."""
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            key = name.strip().lower()
            fields[key] = f"{fields[key]}, {value.strip()}" if key in fields else value.strip()
    return fields


def _normal(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"
