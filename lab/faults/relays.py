"""The API of the relays between the places of a lab (docs/wan.md), as faults use it: what is there, and what is changed and taken back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from lab.clients.http_client import Reply, UnreachableError, ask
from lab.cluster.interface import Cluster
from lab.cluster.status import RunningNode
from lab.errors import LabError
from lab.faults.link_targets import LinkCandidate
from lab.topology.layout import Role

_TIMEOUT_SECONDS: Final = 5.0
_NOT_FOUND: Final = 404
_FIRST_REFUSAL: Final = 400
_JSON: Final = [("content-type", "application/json")]

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RelaysApi:
    """Of relays that run. LabError when they do not answer, or refuse."""

    address: str

    def links(self) -> tuple[LinkCandidate, ...]:
        listed: Mapping[str, Document] = self._json("GET", "/links")
        return tuple(LinkCandidate(name, (link["between"][0], link["between"][1])) for name, link in listed.items())

    def link(self, name: str) -> Document | None:
        """As it is now; None: there is none of this name."""
        reply = self._ask("GET", f"/links/{quote(name)}")
        if reply.status == _NOT_FOUND:
            return None
        link: Document = json.loads(self._taken(reply).body)
        return link

    def change_link(self, name: str, changes: Mapping[str, Mapping[str, object]]) -> None:
        self._json("PATCH", f"/links/{quote(name)}", changes)

    def add_toxic(self, link: str, toxic: Mapping[str, object]) -> None:
        self._json("POST", f"/links/{quote(link)}/toxics", toxic)

    def remove_toxic(self, link: str, name: str) -> None:
        """Nothing happens when it is not there."""
        self._remove(f"/links/{quote(link)}/toxics/{quote(name)}")

    def proxies(self) -> tuple[str, ...]:
        return tuple(self._json("GET", "/proxies"))

    def add_cut(self, cut: Mapping[str, object]) -> None:
        self._json("POST", "/cuts", cut)

    def remove_cut(self, name: str) -> None:
        """Nothing happens when it is not there."""
        self._remove(f"/cuts/{quote(name)}")

    def _remove(self, path: str) -> None:
        reply = self._ask("DELETE", path)
        if reply.status != _NOT_FOUND:
            self._taken(reply)

    def _json(self, method: str, path: str, document: object = None) -> Any:
        return json.loads(self._taken(self._ask(method, path, document)).body)

    def _taken(self, reply: Reply) -> Reply:
        if reply.status >= _FIRST_REFUSAL:
            raise LabError(f"the relays refuse: status {reply.status}: {reply.body[:300].decode('utf-8', 'replace')}")
        return reply

    def _ask(self, method: str, path: str, document: object = None) -> Reply:
        body = None if document is None else json.dumps(document).encode()
        try:
            return ask(self.address, path, method=method, headers=_JSON, body=body, timeout_seconds=_TIMEOUT_SECONDS)
        except UnreachableError as error:
            raise LabError(f"the relays do not answer: {error}") from error


def relays_of(lab: Cluster) -> RelaysApi:
    """LabError when the lab has none, or they do not run."""
    node = _relays(lab)
    if node is None:
        raise LabError(
            "this lab has no relays between its places, so it has no links: bring it up without --no-relays, or `relays: false`"
        )
    if not node.is_running:
        raise LabError(f"{node.id}, the relays, is not running: `cdnlab start {node.id}` starts it")
    return RelaysApi(lab.addresses(node.id).admin)


def running_relays(lab: Cluster) -> RelaysApi | None:
    """None where nothing is to be undone: with their process, what they were told has ended, and the next one begins with the file."""
    node = _relays(lab)
    return RelaysApi(lab.addresses(node.id).admin) if node is not None and node.is_running else None


def _relays(lab: Cluster) -> RunningNode | None:
    return next((node for node in lab.nodes() if node.role is Role.WAN), None)
