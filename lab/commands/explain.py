"""`cdnlab explain URL`: asks an edge, then whom the edge would ask, and prints what each decided and why.

The decisions are the nodes' own (`POST /explain`, docs/contracts.md); here is only who is asked and how it is shown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from lab.clients.http_client import UnreachableError, post_json
from lab.cluster.finding import find_lab
from lab.cluster.status import LabStatus, NodeStatus
from lab.errors import LabError, UsageError
from lab.topology.layout import Role

# Edge, regional cache, and one more for tiers to come; a loop in the answers must end.
MAXIMUM_TIERS = 3
_COLOURS = {"hit": "green", "refresh": "cyan", "miss": "yellow", "pass": "yellow", "error": "red"}

Explanation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A request to explain; the Host is in its headers when it is not that of the URL."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        return {"method": self.method, "url": self.url, "headers": [list(header) for header in self.headers]}


def run(*, url: str, edge_id: str | None, headers: list[str], method: str, state_dir: Path) -> int:
    lab = find_lab(state_dir)
    try:
        status = lab.status()
    finally:
        lab.close()
    question = Question(method.upper(), whole_url(url, status), tuple(parse_header(text) for text in headers))
    edge = choose_edge(status, edge_id, question.url)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{question.method} {question.url}", markup=False, style="bold")
    decision = ""
    for answer in ask_tiers(edge.node.admin, question):
        decision = decision or str(answer.get("decision", ""))
        print_tier(console, answer)
    return 1 if decision == "error" else 0


def whole_url(url: str, status: LabStatus) -> str:
    """A path alone belongs to the only distribution there is."""
    if url.startswith("/"):
        if len(status.distributions) != 1:
            names = ", ".join(f"http://{each.domain_name}{url}" for each in status.distributions)
            raise UsageError(f"{url}: which distribution? {names or 'there is none'}")
        return f"http://{status.distributions[0].domain_name}{url}"
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(f"{url!r} is not a URL such as http://DOMAIN_NAME/path")
    return url


def parse_header(text: str) -> tuple[str, str]:
    """`Name: value`."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"--header {text!r}: give 'NAME: VALUE'")
    return name.strip(), value.strip()


def choose_edge(status: LabStatus, edge_id: str | None, url: str) -> NodeStatus:
    """The one that was named; else the one whose address is in the URL; else the first that is live."""
    edges = status.of_role(Role.EDGE)
    caches = [*edges, *status.of_role(Role.REGIONAL)]
    if edge_id is not None:
        for each in caches:
            if each.node.id == edge_id:
                return each
        raise UsageError(f"no cache node {edge_id!r}: there are {', '.join(each.node.id for each in caches)}")
    by_address = [each for each in edges if each.node.http == urlsplit(url).netloc]
    live = [each for each in edges if each.state == "live"] or [each for each in edges if each.state != "down"]
    if not (by_address or live):
        raise LabError("no edge is running")
    return (by_address or live)[0]


def ask_tiers(admin: str, question: Question) -> Iterator[Explanation]:
    """The answers of one tier after the other, as far as the request would go."""
    document = question.to_json()
    for _ in range(MAXIMUM_TIERS):
        try:
            answer = post_json(admin, "/explain", document)
        except UnreachableError as error:
            raise LabError(f"no explanation: {error}") from error
        yield answer
        upstream = answer.get("next") or {}
        if upstream.get("kind") != "regional":
            return
        admin, document = upstream["admin"], upstream["request"]


def print_tier(console: Console, answer: Explanation) -> None:
    """One tier: its decision first, then how it came to it."""
    decision, reason = str(answer.get("decision", "?")), str(answer.get("reason", "?"))
    place = " ".join(str(answer[key]) for key in ("node", "role", "pop") if answer.get(key))
    colour = _COLOURS.get(decision, "white")
    console.print(
        f"\n[bold]{place}[/]  [{colour}]{decision}[/] ({reason.replace('_', ' ')}), index {answer.get('applied_index')}"
    )
    for name, text in tier_lines(answer):
        console.print(f"  {name:13}{text}", markup=False)


def tier_lines(answer: Explanation) -> Iterator[tuple[str, str]]:
    """Name and text of each thing that is known; what a node does not say is left out."""
    distribution, behavior = answer.get("distribution") or {}, answer.get("behavior") or {}
    if distribution:
        yield "distribution", f"{distribution.get('id')}  {distribution.get('domain_name', '')}"
    if behavior:
        policy = f"cache policy {behavior.get('cache_policy_id')}"
        yield "behavior", f"{behavior.get('path_pattern')}  origin {behavior.get('origin_id')}  {policy}"
    if answer.get("key"):
        yield "key", describe_key(answer["key"])
    if answer.get("freshness"):
        yield "freshness", describe_freshness(answer["freshness"])
    for number, step in enumerate(answer.get("steps") or (), start=1):
        yield f"step {number}", str(step)
    if answer.get("hint"):
        yield "to be a hit" if answer.get("decision") != "hit" else "result", str(answer["hint"])
    if answer.get("next"):
        yield "next", describe_next(answer["next"])


def describe_key(key: Mapping[str, Any]) -> str:
    """What selects the entry, as a request line and the fields that belong to it."""
    query = f"?{key['query']}" if key.get("query") else ""
    parts = [f"{key.get('method')} {key.get('path')}{query}"]
    if key.get("accept_encoding"):
        parts.append(f"accept-encoding: {key['accept_encoding']}")
    parts += [f"{name}: {'(absent)' if value is None else value}" for name, value in key.get("headers") or ()]
    parts += [f"cookie {name}={value}" for name, value in key.get("cookies") or ()]
    return "; ".join(parts)


def describe_freshness(freshness: Mapping[str, Any]) -> str:
    """The arithmetic, the rule behind the lifetime, and the stamp."""
    arithmetic = freshness.get("arithmetic") or (
        f"lifetime {freshness.get('ttl_seconds')} s - age {freshness.get('age_seconds')} s = {freshness.get('remaining_seconds')} s"
    )
    because = freshness.get("because") or str(freshness.get("rule", "")).replace("_", " ")
    return f"{arithmetic}; {because}; stamp {freshness.get('stamp')}"


def describe_next(upstream: Mapping[str, Any]) -> str:
    """Who would be asked."""
    if upstream.get("kind") == "regional":
        return f"regional cache {upstream.get('node')} at {upstream.get('http')}"
    return f"origin {upstream.get('origin_id')} at http://{upstream.get('host')}:{upstream.get('port')}{upstream.get('path', '')}"
