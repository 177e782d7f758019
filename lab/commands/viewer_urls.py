"""Where a viewer finds a distribution: a URL that opens as it stands, or the command that asks the right lab.

Programs take every name under .localhost to 127.0.0.1 (RFC 6761 section 6.3). A lab with another `loopback` range is elsewhere, and what
answers at 127.0.0.1 is somebody else's.
"""

from ipaddress import ip_address

from lab.clients.http_client import site_host
from lab.cluster.interface import LabFacts

HOST_OF_LOCALHOST = "127.0.0.1"
_LOCALHOST = "localhost"


def url_of(domain_name: str, facts: LabFacts) -> str:
    """As viewers write it."""
    return f"http://{site_host(domain_name, facts.viewer_port)}/"


def opens_as_it_stands(facts: LabFacts) -> bool:
    """Whether the names of the lab lead browsers and other programs to it."""
    is_under_localhost = facts.zone == _LOCALHOST or facts.zone.endswith(f".{_LOCALHOST}")
    return is_under_localhost and _host_of(facts) in ("", HOST_OF_LOCALHOST)


def curl_command(domain_name: str, facts: LabFacts) -> str:
    """Asks this lab whatever the name means elsewhere: the first POP, where it is shared, has one address for all its edges."""
    host = _host_of(facts)
    return f"curl --resolve {domain_name}:{facts.viewer_port}:{host} {url_of(domain_name, facts)}"


def site_json(distribution_id: str, domain_name: str, facts: LabFacts) -> dict[str, object]:
    """A distribution for scripts: `http` is where the lab takes requests for it, with its name in Host."""
    return {
        "id": distribution_id,
        "domain_name": domain_name,
        "url": url_of(domain_name, facts),
        "opens_as_it_stands": opens_as_it_stands(facts),
        "http": facts.shared_http or None,
    }


def why_not(facts: LabFacts) -> str:
    """One line about a URL that does not open as it stands."""
    if facts.zone == _LOCALHOST or facts.zone.endswith(f".{_LOCALHOST}"):
        return f"names under .localhost lead to {HOST_OF_LOCALHOST}, and this lab is at {_host_of(facts)}: a browser would ask somebody else"
    return f"only the lab's own DNS router knows names under {facts.zone}: a browser would not find them"


def _host_of(facts: LabFacts) -> str:
    """Empty when nobody listens for all edges. A container that is published on every address is at 127.0.0.1 too."""
    host = facts.shared_http.rpartition(":")[0].strip("[]")
    try:
        return HOST_OF_LOCALHOST if ip_address(host).is_unspecified else host
    except ValueError:
        return host
