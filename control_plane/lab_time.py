"""The lab's clock (docs/time-travel.md): a resource of the log that moves all wall clocks forward, asked for at `/clock` of the admin port, where faults are allowed.

    GET /clock    {"ahead_seconds", "index" (of the entry that said so; 0: it was never moved)}
    POST /clock   {"ahead_seconds"}: 200 with the same as GET, once the log has it; 400, and 409 for a clock that would go back

The control plane's own wall times follow it as well: those of the management API, and those that people read in receipts and in `/status`. Its moments do not.
"""

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from control_plane.resource_kinds import put_lab_clock
from control_plane.resource_rows import SqlResources
from control_plane.store import SqlStore
from proto.lab_clock import ahead_in, problem_with
from proto.resources import LAB_CLOCK

PATH = "/clock"
MOST_BODY_BYTES = 1_024


class UnusableClockError(ValueError):
    """What was asked for is no clock."""


class ClockGoesBackError(Exception):
    """The lab's clock only goes forward."""


class LabTime:
    """How far the log has it ahead, and a store whose wall times follow."""

    def __init__(self, store: SqlStore) -> None:
        """StoreError when it cannot be read."""
        self._store = store
        self._true_anchor = store.anchor
        self.look()

    def look(self) -> float:
        """By how many seconds it is ahead now, whoever has moved it. StoreError when that cannot be read."""
        ahead_seconds = ahead_in(self._store.published(LAB_CLOCK))
        self._store.anchor = self._true_anchor.ahead_by(ahead_seconds)
        return ahead_seconds

    def to_json(self) -> dict[str, object]:
        """As GET has it."""
        with self._store.reading() as connection:
            index = SqlResources(connection).revision(LAB_CLOCK)
        return {"ahead_seconds": self.look(), "index": index}

    def move(self, document: object) -> None:
        """As POST has it: the log has it when this returns. UnusableClockError, ClockGoesBackError, StoreError."""
        ahead_seconds = _read(document)
        with self._store.transaction() as transaction:
            before = ahead_in(transaction.published(LAB_CLOCK))
            if ahead_seconds < before:
                raise ClockGoesBackError(f"the lab's clock is {before:g} s ahead already, and only goes forward")
            if ahead_seconds > before:
                transaction.append(put_lab_clock(ahead_seconds))
        self.look()

    def route(self) -> Route:
        """Of the admin port."""

        async def answer(request: Request) -> Response:
            try:
                if request.method == "POST":
                    self.move(await _document(request))
                return JSONResponse(self.to_json())
            except UnusableClockError as error:
                return PlainTextResponse(f"{error}\n", 400)
            except ClockGoesBackError as error:
                return PlainTextResponse(f"{error}\n", 409)

        return Route(PATH, answer, methods=["GET", "POST"])


def _read(document: object) -> float:
    if not isinstance(document, dict) or document.keys() != {"ahead_seconds"}:
        raise UnusableClockError("a clock is a JSON object with ahead_seconds, and nothing else")
    ahead_seconds = document["ahead_seconds"]
    problem = problem_with(ahead_seconds)
    if problem is not None:
        raise UnusableClockError(problem)
    return float(ahead_seconds)


async def _document(request: Request) -> object:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY_BYTES:
            raise UnusableClockError(f"it has more than {MOST_BODY_BYTES} bytes")
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnusableClockError(f"this is no JSON: {error}") from error
    return document
