"""`cdnlab explain URL`: asks an edge, then whom the edge would ask, and prints what each decided and why.

The decisions are the nodes' own (`POST /explain`, docs/contracts.md); here is only who is asked and how it is shown.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from rich.console import Console

from lab.clients.http_client import UnreachableError, post_json
from lab.cluster.finding import find_lab
from lab.cluster.interface import LabFacts
from lab.cluster.status import LabStatus, NodeStatus
from lab.commands.viewer_urls import url_of
from lab.errors import EXIT_FAILED, LabError, UsageError
from lab.terminal import make_console
from lab.topology.layout import Role

# Edge, regional cache, and one more for tiers to come; a loop in the answers must end.
MAXIMUM_TIERS = 3
_COLOURS = {"hit": "green", "refresh": "cyan", "miss": "yellow", "pass": "yellow", "error": "red"}

UNKNOWN_HOST = "unknown_host"

Explanation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A request to explain; the Host is in its headers when it is not that of the URL."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        return {"method": self.method, "url": self.url, "headers": [list(header) for header in self.headers]}


@dataclass(frozen=True, slots=True)
class Notes:
    """What is said before the first answer, and the URLs that would work when nobody knows the host."""

    before: str
    urls: list[str]


def run(*, url: str, edge_id: str | None, headers: list[str], method: str, is_json: bool, state_dir: Path) -> int:
    lab = find_lab(state_dir)
    try:
        facts, status = lab.facts, lab.status()
    finally:
        lab.close()
    question = Question(method.upper(), whole_url(url, status), tuple(parse_header(text) for text in headers))
    edge = choose_edge(status, edge_id, question.url)
    answers = ask_tiers(edge.node.admin, question)
    if is_json:
        tiers = list(answers)
        print(json.dumps({"request": question.to_json(), "tiers": tiers}, indent=2))
    else:
        tiers = print_answers(make_console(), question, answers, notes(question, status, facts))
    return EXIT_FAILED if tiers[0].get("decision") == "error" else 0


def whole_url(url: str, status: LabStatus) -> str:
    """As a viewer would send it. A path alone belongs to the only distribution there is; a name of the lab needs no scheme."""
    text = "".join(each if "!" <= each <= "~" else _percent_encoded(each) for each in url.partition("#")[0])
    if text.startswith("/"):
        return f"http://{_only_domain_name(text, status)}{text}"
    if "://" not in text and _is_of_the_lab(text, status):
        return f"http://{text}"
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets that are no address
        is_url = False
    if not is_url:
        known = [f"http://{each.domain_name}/" for each in status.distributions]
        raise UsageError(
            f"{url!r} is not a URL such as {known[0] if known else 'http://DOMAIN_NAME/path'}, nor a path such as /index.html"
        )
    return text


def _percent_encoded(character: str) -> str:
    """As browsers send what a URL cannot hold; an argument that is no UTF-8 byte for byte."""
    return quote(character.encode("utf-8", "surrogateescape"))


def _only_domain_name(path: str, status: LabStatus) -> str:
    """LabError when nobody knows, UsageError when there is not exactly one."""
    if len(status.distributions) == 1:
        return status.distributions[0].domain_name
    if status.is_silent_about_distributions:
        raise LabError(
            f"{path}: which distributions there are is not known, as the control plane does not answer; give the whole URL, "
            "http://DOMAIN_NAME/path, and an edge can be asked"
        )
    names = ", ".join(f"http://{each.domain_name}{path}" for each in status.distributions)
    raise UsageError(f"{path}: which distribution? {names or 'there is none'}")


def _is_of_the_lab(text: str, status: LabStatus) -> bool:
    """Whether it begins with a host of the lab: a name in its zone, or the address of an edge."""
    authority = text.partition("/")[0].partition("?")[0].lower()
    host = authority.partition(":")[0]
    return host.endswith(f".{status.zone}") or any(each.node.http == authority for each in status.of_role(Role.EDGE))


def notes(question: Question, status: LabStatus, facts: LabFacts) -> Notes:
    """What the lab knows of a question and its nodes do not."""
    is_https = question.url.startswith("https:")
    over_https = "edges of this lab listen for plain HTTP only; this is what would happen to a request over HTTPS"
    return Notes(over_https if is_https else "", [url_of(each.domain_name, facts) for each in status.distributions])


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


def print_answers(
    console: Console, question: Question, answers: Iterable[Explanation], notes: Notes
) -> list[Explanation]:
    """Each as soon as it has come."""
    console.print(f"{question.method} {question.url}", markup=False, style="bold")
    if notes.before:
        console.print(f"note: {notes.before}", markup=False)
    tiers = []
    for answer in answers:
        tiers.append(answer)
        print_tier(console, answer)
        if answer.get("reason") == UNKNOWN_HOST and notes.urls:
            console.print(f"  {'these work':13}{', '.join(notes.urls)}", markup=False)
    return tiers


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
