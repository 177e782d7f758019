"""The control API over HTTP: Toxiproxy's, and beside it the links, the self-test and counters (docs/wan.md). It asks for no credential, as the admin ports."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lab.wan.check import check_links
from lab.wan.cuts import MOST_CUTS, Cut, read_cut
from lab.wan.link_documents import changed_link, link_to_json
from lab.wan.relays import RelayError, Relays, RunningProxy
from lab.wan.running_link import RunningLink
from lab.wan.toxics import OF_CONNECTIONS, Stream, Toxic, ToxicError, changed_toxic, read_toxic
from lab.wan.toxiproxy_documents import (
    BAD_REQUEST,
    CONFLICT,
    NOT_FOUND,
    ApiError,
    changed_proxy,
    is_same,
    proxy_to_json,
    read_new_proxy,
    read_population,
)
from proto.admin_access import AdminAccess

VERSION: Final = "2.12.0"
"""Toxiproxy's, whose API this is: clients look at it."""
LARGEST_BODY_BYTES: Final = 1 << 20
MOST_PROXIES: Final = 4_096
MOST_TOXICS: Final = 64
"""Of one proxy."""
CREATED: Final = 201
NO_CONTENT: Final = 204
TOO_LARGE: Final = 413

Answer = Callable[[Request, object], Awaitable[Response]]


class ToxiproxyApi:
    """One request at a time changes something."""

    def __init__(self, relays: Relays, own_host: str) -> None:
        self._relays = relays
        self._access = AdminAccess([own_host])
        self._changes = asyncio.Lock()
        self._checks = asyncio.Lock()

    def application(self) -> Starlette:
        """What is served."""
        change = ["POST", "PATCH"]
        table: list[tuple[str, list[str], Answer]] = [
            ("/version", ["GET"], self._version),
            ("/reset", ["POST"], self._reset),
            ("/populate", ["POST"], self._populate),
            ("/proxies", ["GET"], self._list),
            ("/proxies", ["POST"], self._create),
            ("/proxies/{proxy}", ["GET"], self._show),
            ("/proxies/{proxy}", change, self._change),
            ("/proxies/{proxy}", ["DELETE"], self._delete),
            ("/links", ["GET"], self._list_links),
            ("/links/{link}", ["GET"], self._show_link),
            ("/links/{link}", change, self._change_link),
            ("/cuts", ["GET"], self._list_cuts),
            ("/cuts", ["POST"], self._create_cut),
            ("/cuts/{cut}", ["GET"], self._show_cut),
            ("/cuts/{cut}", ["DELETE"], self._delete_cut),
            ("/check", ["POST"], self._check),
            ("/status", ["GET"], self._status),
            ("/healthz", ["GET"], self._health),
        ]
        for owner in ("/proxies/{proxy}", "/links/{link}"):
            table += [
                (f"{owner}/toxics", ["GET"], self._list_toxics),
                (f"{owner}/toxics", ["POST"], self._create_toxic),
                (f"{owner}/toxics/{{toxic}}", ["GET"], self._show_toxic),
                (f"{owner}/toxics/{{toxic}}", change, self._change_toxic),
                (f"{owner}/toxics/{{toxic}}", ["DELETE"], self._delete_toxic),
            ]
        routes = [Route(path, self._guarded(answer, methods), methods=methods) for path, methods, answer in table]
        return Starlette(routes=routes)

    def _guarded(self, answer: Answer, methods: list[str]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            refusal = self._access.refusal(dict(request.headers))
            if refusal is not None:
                return _error(refusal.status, refusal.reason)
            try:
                if methods == ["GET"]:
                    return await answer(request, None)
                document = await _read(request)
                async with self._checks if answer == self._check else self._changes:
                    return await answer(request, document)
            except ApiError as error:
                return JSONResponse(error.to_json(), error.status)
            except ToxicError as error:
                return _error(BAD_REQUEST, str(error))
            except RelayError as error:
                return _error(500, str(error))
            except ClientDisconnect:  # in the middle of its request: nobody reads this
                return _error(BAD_REQUEST, "bad request body: it has no end")

        return guarded

    # -- proxies

    async def _list(self, request: Request, document: object) -> Response:
        del request, document
        return JSONResponse({name: _shown(running) for name, running in self._relays.proxies.items()})

    async def _create(self, request: Request, document: object) -> Response:
        del request
        proxy = read_new_proxy(document)
        if proxy.name in self._relays.proxies:
            raise ApiError(CONFLICT, "proxy already exists")
        self._check_room(1)
        return JSONResponse(_shown(await self._relays.create(proxy)), CREATED)

    async def _populate(self, request: Request, document: object) -> Response:
        del request
        wanted = read_population(document)
        relays = self._relays
        self._check_room(len({proxy.name for proxy in wanted} - set(relays.proxies)))
        for proxy in wanted:
            running = relays.proxies.get(proxy.name)
            if running is not None and not is_same(running.proxy, proxy):
                kept = dataclasses.replace(running.proxy, listen=proxy.listen, upstream=proxy.upstream)
                relays.remove(proxy.name)
                await relays.create(dataclasses.replace(kept, is_enabled=proxy.is_enabled))
            elif running is None:
                await relays.create(proxy)
        shown = [_shown(relays.proxies[proxy.name]) for proxy in wanted]
        return JSONResponse({"proxies": shown}, CREATED)

    def _check_room(self, more: int) -> None:
        if len(self._relays.proxies) + more > MOST_PROXIES:
            raise ApiError(BAD_REQUEST, f"there may be {MOST_PROXIES} proxies")

    async def _show(self, request: Request, document: object) -> Response:
        del document
        return JSONResponse(_shown(self._proxy(request)))

    async def _change(self, request: Request, document: object) -> Response:
        running = self._proxy(request)
        await self._relays.change(running, changed_proxy(running.proxy, document))
        return JSONResponse(_shown(running))

    async def _delete(self, request: Request, document: object) -> Response:
        del document
        self._relays.remove(self._proxy(request).proxy.name)
        return Response(status_code=NO_CONTENT)

    def _proxy(self, request: Request) -> RunningProxy:
        running = self._relays.proxies.get(request.path_params["proxy"])
        if running is None:
            raise ApiError(NOT_FOUND, "proxy not found")
        return running

    # -- toxics, of a proxy or of a link

    def _owner(self, request: Request) -> RunningProxy | RunningLink:
        return self._proxy(request) if "proxy" in request.path_params else self._link(request)

    async def _list_toxics(self, request: Request, document: object) -> Response:
        del document
        return JSONResponse([toxic.to_json() for toxic in self._owner(request).toxics])

    async def _create_toxic(self, request: Request, document: object) -> Response:
        owner = self._owner(request)
        toxic = read_toxic(document, tuple(Stream) if isinstance(owner, RunningLink) else OF_CONNECTIONS)
        if any(each.name == toxic.name for each in owner.toxics):
            raise ApiError(CONFLICT, "toxic already exists")
        if len(owner.toxics) >= MOST_TOXICS:
            raise ApiError(BAD_REQUEST, f"there may be {MOST_TOXICS} toxics of one proxy or link")
        owner.change_toxics((*owner.toxics, toxic))
        return JSONResponse(toxic.to_json())

    async def _show_toxic(self, request: Request, document: object) -> Response:
        del document
        return JSONResponse(self._toxic(request).to_json())

    async def _change_toxic(self, request: Request, document: object) -> Response:
        owner, toxic = self._owner(request), self._toxic(request)
        changed = changed_toxic(toxic, document)
        owner.change_toxics([changed if each is toxic else each for each in owner.toxics])
        return JSONResponse(changed.to_json())

    async def _delete_toxic(self, request: Request, document: object) -> Response:
        del document
        owner, toxic = self._owner(request), self._toxic(request)
        owner.change_toxics([each for each in owner.toxics if each is not toxic])
        return Response(status_code=NO_CONTENT)

    def _toxic(self, request: Request) -> Toxic:
        for toxic in self._owner(request).toxics:
            if toxic.name == request.path_params["toxic"]:
                return toxic
        raise ApiError(NOT_FOUND, "toxic not found")

    # -- cuts

    async def _list_cuts(self, request: Request, document: object) -> Response:
        del request, document
        return JSONResponse([cut.to_json() for cut in self._relays.network.cuts.values()])

    async def _create_cut(self, request: Request, document: object) -> Response:
        del request
        relays, cuts = self._relays, self._relays.network.cuts
        cut = read_cut(document, [place.name for place in relays.network.places], relays.proxies)
        if cut.name in cuts:
            raise ApiError(CONFLICT, "cut already exists")
        if len(cuts) >= MOST_CUTS:
            raise ApiError(BAD_REQUEST, f"there may be {MOST_CUTS} cuts")
        relays.change_cuts([*cuts.values(), cut])
        return JSONResponse(cut.to_json(), CREATED)

    async def _show_cut(self, request: Request, document: object) -> Response:
        del document
        return JSONResponse(self._cut(request).to_json())

    async def _delete_cut(self, request: Request, document: object) -> Response:
        del document
        gone = self._cut(request)
        self._relays.change_cuts([cut for cut in self._relays.network.cuts.values() if cut is not gone])
        return Response(status_code=NO_CONTENT)

    def _cut(self, request: Request) -> Cut:
        cut = self._relays.network.cuts.get(request.path_params["cut"])
        if cut is None:
            raise ApiError(NOT_FOUND, "cut not found")
        return cut

    # -- links, and the whole

    async def _list_links(self, request: Request, document: object) -> Response:
        del request, document
        return JSONResponse({name: _shown_link(each) for name, each in self._relays.network.links.items()})

    async def _show_link(self, request: Request, document: object) -> Response:
        del document
        return JSONResponse(_shown_link(self._link(request)))

    async def _change_link(self, request: Request, document: object) -> Response:
        running = self._link(request)
        link = changed_link(running.link, document)
        self._relays.change_link(link.name, link)
        return JSONResponse(_shown_link(running))

    def _link(self, request: Request) -> RunningLink:
        running = self._relays.network.links.get(request.path_params["link"])
        if running is None:
            raise ApiError(NOT_FOUND, "link not found")
        return running

    async def _check(self, request: Request, document: object) -> Response:
        del request, document
        measurements = await check_links(self._relays)
        is_off = any(each.is_off for each in measurements)
        return JSONResponse({"is_off": is_off, "measurements": [each.to_json() for each in measurements]})

    async def _reset(self, request: Request, document: object) -> Response:
        del request, document
        await self._relays.reset()
        return Response(status_code=NO_CONTENT)

    async def _version(self, request: Request, document: object) -> Response:
        del request, document
        return JSONResponse({"version": VERSION})

    async def _status(self, request: Request, document: object) -> Response:
        del request, document
        relays = self._relays
        network = relays.network
        sizes = {"proxies": len(relays.proxies), "links": len(network.links), "cuts": len(network.cuts)}
        waiting = {"waiting_bytes": relays.context.shared.memory.used_bytes}
        return JSONResponse({**sizes, **waiting, **dataclasses.asdict(relays.counters)})

    async def _health(self, request: Request, document: object) -> Response:
        del request, document
        return Response("ok")


def _shown(running: RunningProxy) -> dict[str, object]:
    return proxy_to_json(running.proxy, running.toxics, is_enabled=running.is_enabled)


def _error(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"error": reason, "status": status}, status)


def _shown_link(running: RunningLink) -> dict[str, object]:
    return link_to_json(running.link, running.toxics)


async def _read(request: Request) -> object:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY_BYTES:
            raise ApiError(TOO_LARGE, f"bad request body: more than {LARGEST_BODY_BYTES} bytes")
    try:
        document: object = json.loads(bytes(body)) if body else None
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair could be told to nobody again
    except (ValueError, RecursionError) as error:
        raise ApiError(BAD_REQUEST, f"bad request body: {error}") from error
    return document
