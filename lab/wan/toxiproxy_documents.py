"""Toxiproxy's JSON, read and written: proxies as its README (version 2) has them. Pure. Toxics are toxics.py's, links link_documents.py's."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from lab.wan.configuration import Proxy
from lab.wan.toxics import Toxic

BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
CONFLICT: Final = 409


class ApiError(Exception):
    """What was asked for cannot be; the status and the reason that the client gets."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status

    def to_json(self) -> dict[str, object]:
        """As Toxiproxy writes it."""
        return {"error": str(self), "status": self.status}


def proxy_to_json(proxy: Proxy, toxics: Sequence[Toxic], *, is_enabled: bool) -> dict[str, object]:
    """With its toxics."""
    return {
        "name": proxy.name,
        "listen": proxy.listen,
        "upstream": proxy.upstream,
        "enabled": is_enabled,
        "toxics": [toxic.to_json() for toxic in toxics],
    }


def read_new_proxy(document: object) -> Proxy:
    """Of a POST to /proxies: at no place, so that nothing but its toxics is modelled."""
    fields = _object(document)
    for name in ("name", "upstream"):
        if not fields.get(name):
            raise ApiError(BAD_REQUEST, f"missing required field: {name}")
    proxy = Proxy(
        name=_text(fields, "name", ""),
        listen=_text(fields, "listen", "") or "127.0.0.1:0",
        upstream=_text(fields, "upstream", ""),
        is_enabled=_flag(fields, "enabled", True),
    )
    return _checked(proxy)


def changed_proxy(proxy: Proxy, document: object) -> Proxy:
    """What is given replaces what was; the name stays."""
    fields = _object(document)
    changed = dataclasses.replace(
        proxy,
        listen=_text(fields, "listen", "") or proxy.listen,
        upstream=_text(fields, "upstream", "") or proxy.upstream,
        is_enabled=_flag(fields, "enabled", proxy.is_enabled),
    )
    return _checked(changed)


def read_population(document: object) -> tuple[Proxy, ...]:
    """Of a POST to /populate: all of them are right, or none is taken."""
    documents = document if isinstance(document, list) else _object(document).get("proxies")
    if not isinstance(documents, list):
        raise ApiError(BAD_REQUEST, "bad request body: proxies are a list")
    proxies = tuple(read_new_proxy(each) for each in documents)
    if len({proxy.name for proxy in proxies}) < len(proxies):
        raise ApiError(BAD_REQUEST, "bad request body: a name is there twice")
    return proxies


def is_same(proxy: Proxy, other: Proxy) -> bool:
    """Whether a proxy of a population is the one that is there."""
    same_port = proxy.listen == other.listen or other.listen == "127.0.0.1:0"
    return same_port and proxy.upstream == other.upstream


def _checked(proxy: Proxy) -> Proxy:
    problems = [problem.message for problem in proxy.problems()]
    if problems:
        raise ApiError(BAD_REQUEST, f"bad request body: {'; '.join(problems)}")
    return proxy


def _object(document: object) -> Mapping[str, object]:
    if isinstance(document, dict):
        return document
    raise ApiError(BAD_REQUEST, "bad request body: not an object")


def _text(fields: Mapping[str, object], name: str, default: str) -> str:
    value = fields.get(name, default)
    if isinstance(value, str):
        return value
    raise ApiError(BAD_REQUEST, f"bad request body: {name} is text")


def _flag(fields: Mapping[str, object], name: str, default: bool) -> bool:
    value = fields.get(name, default)
    if isinstance(value, bool):
        return value
    raise ApiError(BAD_REQUEST, f"bad request body: {name} is true or false")
