"""A JSON API with what makes APIs hard to cache: query strings, private answers, an answer that changes each second, and POST."""

import json
from hashlib import sha256
from random import Random
from typing import Any

from origin.conditions import http_date
from origin.errors import InvalidInputError
from origin.messages import Request, Response

PRODUCTS = 500
PAGE_SIZE = 20
_SORT_KEYS = ("id", "name", "price")
_CATEGORIES = ("books", "garden", "kitchen", "music", "tools")
_NO_STORE = "private, no-store"


def respond(request: Request, now: float) -> Response:
    """The answer to a request under /api/."""
    segments = request.path.split("/")[2:]
    match segments:
        case ["products"]:
            return _product_list(request)
        case ["products", number]:
            return _product(number)
        case ["me"]:
            return _me(request)
        case ["cart"]:
            return _cart(request)
        case ["time"]:
            return _time(now)
        case _:
            return error(404, "there is no such resource")


def allowed_methods(path: str) -> tuple[str, ...]:
    """What may be done there."""
    return ("POST",) if path == "/api/cart" else ("GET", "HEAD")


def error(status: int, *problems: str) -> Response:
    """An error as JSON."""
    return _json(status, {"error": "; ".join(problems)}, ("Cache-Control", "no-store"))


def product(number: int) -> dict[str, Any]:
    """The same product on every origin."""
    rng = Random(f"product-{number}")
    return {
        "id": number,
        "name": f"{rng.choice(('Amber', 'Copper', 'Silver', 'Green', 'Plain'))} {_CATEGORIES[number % 5]} {number}",
        "category": _CATEGORIES[number % 5],
        "price": rng.randrange(199, 99_900) / 100,
        "stock": rng.randrange(200),
    }


def _json(status: int, document: object, *headers: tuple[str, str]) -> Response:
    body = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    return Response(status, (("Content-Type", "application/json"), *headers), body)


def _tagged(document: object, cache_control: str) -> Response:
    response = _json(200, document, ("Cache-Control", cache_control))
    assert isinstance(response.body, bytes)
    return response.with_headers(("ETag", f'"{sha256(response.body).hexdigest()[:16]}"'))


def _product_list(request: Request) -> Response:
    page_text, sort = request.parameter("page", "1"), request.parameter("sort", "id")
    if not (page_text.isascii() and page_text.isdigit() and len(page_text) < 6 and int(page_text) > 0):
        raise InvalidInputError("page must be a whole number from 1")
    if sort.removeprefix("-") not in _SORT_KEYS:
        raise InvalidInputError(f"sort must be one of {', '.join(_SORT_KEYS)}, with - before it to descend")
    page = int(page_text)
    numbers = range(1, PRODUCTS + 1)
    products = sorted(
        map(product, numbers), key=lambda item: item[sort.removeprefix("-")], reverse=sort.startswith("-")
    )
    shown = products[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    pages = -(-PRODUCTS // PAGE_SIZE)
    return _tagged({"page": page, "pages": pages, "sort": sort, "products": shown}, "public, max-age=10")


def _product(number: str) -> Response:
    if not (number.isascii() and number.isdigit() and len(number) < 6 and 1 <= int(number) <= PRODUCTS):
        return error(404, "there is no such product")
    return _tagged(product(int(number)), "public, max-age=10")


def user_of(request: Request) -> str | None:
    """Who asks: the credentials after the scheme in Authorization, or else the session cookie."""
    authorization = (request.field_value("authorization") or "").partition(" ")[2].strip()
    if authorization:
        return authorization
    cookies = (part.strip().partition("=") for part in (request.field_value("cookie") or "").split(";"))
    return next((value for name, _, value in cookies if name == "session" and value), None)


def _me(request: Request) -> Response:
    user = user_of(request)
    if user is None:
        return error(401, "log in: Authorization or a session cookie").with_headers(
            ("WWW-Authenticate", 'Bearer realm="cdnlab"')
        )
    name = sha256(user.encode()).hexdigest()[:8]
    document = {"user": f"user-{name}", "credentials": user, "orders": Random(name).randrange(30)}
    return _json(200, document, ("Cache-Control", _NO_STORE))


def _cart(request: Request) -> Response:
    try:
        sent = json.loads(request.body.content)
    except ValueError as failure:
        raise InvalidInputError(f"the body is not JSON: {failure}") from failure
    return _json(201, {"received": sent, "user": user_of(request)}, ("Cache-Control", "no-store"))


def _time(now: float) -> Response:
    second = int(now)
    document = {"unix_seconds": second, "http_date": http_date(second)}
    return _json(
        200, document, ("Cache-Control", "no-cache"), ("ETag", f'"{second}"'), ("Last-Modified", http_date(second))
    )
