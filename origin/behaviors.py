"""Misbehaviour by path, set from outside and gone by itself: what one may ask for, which one applies, what it does to an answer.

Pure but for the table, which is changed by its owner only; `now` and the dice are arguments. The request's own ways to ask for trouble
(/misbehave/..., ?gate=) are in `misbehave` and `echo`.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NamedTuple

from origin.conditions import is_asking_for_changes, is_entity_tag, unchanged
from origin.errors import InvalidInputError
from origin.messages import Delivery, Framing, Request, Response
from proto.moments import NANOSECONDS_PER_SECOND
from proto.origin_stamp import STAMP_FIELD

DEFAULT_LEASE_SECONDS = 60.0
MAX_LEASE_SECONDS = 3_600.0
MAX_BEHAVIORS = 1_000
_MAX_DELAY_SECONDS = 3_600.0
_PIECES_PER_SECOND = 10
_MAX_PIECE_BYTES = 65_536
_BYTE_FIELDS = ("truncate_after_bytes", "reset_after_bytes", "corrupt_at_byte")
_MAX_PATH_CHARACTERS = 2_000
_STAMP_NAME = STAMP_FIELD.lower()


@dataclass(frozen=True, slots=True)
class Behavior:
    """One way to misbehave, for the requests it matches."""

    path_prefix: str
    status: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    """Headers to set, or with null to take away."""
    entity_tag: str | None = None
    """Of every version of the content; conditions and ranges are judged by it, too."""
    not_modified: bool = False
    """304 to whoever asks whether what it has is still good, and nothing to others."""
    delay_seconds: float = 0.0
    first_byte_delay_seconds: float = 0.0
    body_bytes_per_second: float | None = None
    truncate_after_bytes: int | None = None
    reset_after_bytes: int | None = None
    corrupt_at_byte: int | None = None
    drop_connection: bool = False
    probability: float = 1.0
    methods: tuple[str, ...] = ()
    remaining: int | None = None
    lease_seconds: float = DEFAULT_LEASE_SECONDS

    def is_stamp_wanted(self, response: Response) -> bool:
        """Whether the answer says what its content is: not when a header says something else, nor in a 304 that may be a lie.

        What a cache has then keeps its own stamp, which is true of the bytes that it has.
        """
        is_lying = response.status == 304 and (self.not_modified or self.entity_tag is not None)
        return not is_lying and all(name.lower() != _STAMP_NAME for name in self.headers)

    def matches(self, request: Request) -> bool:
        """Whether it is about this request."""
        if self.not_modified and not is_asking_for_changes(request):
            return False
        return request.path.startswith(self.path_prefix) and (not self.methods or request.method in self.methods)


_FIELD_NAMES = frozenset(item.name for item in fields(Behavior))


def parse_behavior(document: object) -> Behavior:
    """A behavior from its JSON form; InvalidInputError names everything that is wrong with it."""
    if not isinstance(document, dict):
        raise InvalidInputError("a behavior is a JSON object")
    problems = [*_unknown_fields(document), *_wrong_numbers(document), *_wrong_others(document)]
    if problems:
        raise InvalidInputError(*problems)
    given = {name: value for name, value in document.items() if value is not None}
    behavior = Behavior(**{**given, "methods": tuple(method.upper() for method in given.get("methods", ()))})
    if behavior == Behavior(behavior.path_prefix, **{name: getattr(behavior, name) for name in _SELECTORS}):
        raise InvalidInputError("a behavior needs something to do, such as status or delay_seconds")
    return behavior


_SELECTORS = ("probability", "methods", "remaining", "lease_seconds")


def _unknown_fields(document: dict[str, Any]) -> Iterable[str]:
    return [f"unknown field {name!r}" for name in sorted(map(str, document)) if name not in _FIELD_NAMES]


def _wrong_numbers(document: dict[str, Any]) -> Iterable[str]:
    """Problems of the fields that hold numbers: (name, lowest, highest, whether whole)."""
    numbers = [
        ("status", 200, 599, True),
        ("delay_seconds", 0, _MAX_DELAY_SECONDS, False),
        ("first_byte_delay_seconds", 0, _MAX_DELAY_SECONDS, False),
        ("body_bytes_per_second", 1, 1e12, False),
        *((name, 0, 1 << 50, True) for name in _BYTE_FIELDS),
        ("probability", 0, 1, False),
        ("remaining", 1, 1 << 31, True),
        ("lease_seconds", 0.001, MAX_LEASE_SECONDS, False),
    ]
    for name, lowest, highest, is_whole in numbers:
        value = document.get(name)
        if value is None:
            continue
        kinds = (int,) if is_whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not lowest <= value <= highest:
            yield f"{name} must be {'a whole number' if is_whole else 'a number'} from {lowest:g} to {highest:g}"


def _wrong_others(document: dict[str, Any]) -> Iterable[str]:
    prefix = document.get("path_prefix")
    if not isinstance(prefix, str) or not prefix.startswith("/") or len(prefix) > _MAX_PATH_CHARACTERS:
        yield "path_prefix must be a string that begins with /"
    for name in ("drop_connection", "not_modified"):
        if not isinstance(document.get(name, False), bool):
            yield f"{name} must be true or false"
    if not is_entity_tag(document.get("entity_tag", '""')):
        yield 'entity_tag must be an entity tag such as "a" with its quotes, or W/"a"'
    methods = document.get("methods", [])
    if not isinstance(methods, list) or not all(isinstance(method, str) and method for method in methods):
        yield "methods must be a list of strings"
    headers = document.get("headers", {})
    if not isinstance(headers, dict) or not all(is_header_valid(name, value or "") for name, value in headers.items()):
        yield "headers must be an object of header names and values (or null to take a header away)"


def is_header_valid(name: object, value: object) -> bool:
    """Whether a header can be sent as it is (RFC 9110, 5.5 and 5.6.2), and does not contradict how the body is framed."""
    if not isinstance(name, str) or not isinstance(value, str) or not name.isascii():
        return False
    is_token = bool(name) and all(mark.isalnum() or mark in "!#$%&'*+-.^_`|~" for mark in name)
    is_text = all(mark == "\t" or (" " <= mark <= "\xff" and mark != "\x7f") for mark in value)
    return is_token and is_text and name.lower() not in ("content-length", "transfer-encoding")


@dataclass(slots=True)
class _Active:
    id: str
    behavior: Behavior
    expires_at: float
    remaining: int | None
    applied: int = 0


class Selected(NamedTuple):
    """The behavior that applies to one request."""

    id: str
    behavior: Behavior


class BehaviorTable:
    """The behaviors in force, newest first: the newest that matches and whose dice fall is the one that applies."""

    def __init__(self) -> None:
        self._active: list[_Active] = []
        self._next_number = 1

    def __len__(self) -> int:
        return len(self._active)

    def add(self, behavior: Behavior, now: float) -> str:
        """Put one in force until its lease ends; its id."""
        self._expire(now)
        if len(self._active) >= MAX_BEHAVIORS:
            raise InvalidInputError(f"more than {MAX_BEHAVIORS} behaviors at once")
        number = f"b-{self._next_number}"
        self._next_number += 1
        self._active.insert(0, _Active(number, behavior, now + behavior.lease_seconds, behavior.remaining))
        return number

    def remove(self, behavior_id: str) -> bool:
        """End one; whether it was in force."""
        kept = [active for active in self._active if active.id != behavior_id]
        was_there = len(kept) < len(self._active)
        self._active = kept
        return was_there

    def clear(self) -> int:
        """End all; how many there were."""
        count, self._active = len(self._active), []
        return count

    def select(self, request: Request, now: float, roll: Callable[[], float]) -> Selected | None:
        """The behavior for this request, which counts as one of its times."""
        self._expire(now)
        for active in self._active:
            if active.behavior.matches(request) and roll() < active.behavior.probability:
                active.applied += 1
                if active.remaining is not None:
                    active.remaining -= 1
                return Selected(active.id, active.behavior)
        return None

    def describe(self, now: float) -> list[dict[str, object]]:
        """All in force, as JSON."""
        self._expire(now)
        return [
            {
                **{key: value for key, value in asdict(active.behavior).items() if value is not None},
                "id": active.id,
                "remaining": active.remaining,
                "applied": active.applied,
                "lease_remaining_seconds": round(active.expires_at - now, 3),
                "expires_monotonic_ns": round(active.expires_at * NANOSECONDS_PER_SECOND),
            }
            for active in self._active
        ]

    def _expire(self, now: float) -> None:
        if any(now >= active.expires_at or active.remaining == 0 for active in self._active):
            self._active = [item for item in self._active if now < item.expires_at and item.remaining != 0]


def falsify_content(behavior: Behavior, response: Response) -> Response:
    """The whole content before conditions and ranges are applied to it: what those are judged by."""
    if behavior.entity_tag is None or response.status != 200:
        return response
    return response.without_headers("etag").with_headers(("ETag", behavior.entity_tag))


def apply_behavior(behavior: Behavior, request: Request, response: Response) -> Response:
    """The response, misbehaving."""
    if behavior.not_modified:
        response = unchanged(request, response)
    changed = _with_status(behavior.status, response) if behavior.status is not None else response
    if behavior.headers:
        changed = _with_headers(behavior.headers, changed)
    plan = changed.delivery
    rate = behavior.body_bytes_per_second
    piece_bytes, interval_seconds = paced(rate) if rate else (plan.piece_bytes, plan.interval_seconds)
    return replace(
        changed,
        delivery=Delivery(
            delay_seconds=behavior.delay_seconds + plan.delay_seconds,
            gate=plan.gate,
            first_byte_delay_seconds=behavior.first_byte_delay_seconds + plan.first_byte_delay_seconds,
            gate_body=plan.gate_body,
            piece_bytes=piece_bytes,
            interval_seconds=interval_seconds,
            truncate_after_bytes=_either(behavior.truncate_after_bytes, plan.truncate_after_bytes),
            reset_after_bytes=_either(behavior.reset_after_bytes, plan.reset_after_bytes),
            is_dropped=behavior.drop_connection or plan.is_dropped,
            is_reset=plan.is_reset,
            raw=plan.raw,
            corrupt_at_byte=_either(behavior.corrupt_at_byte, plan.corrupt_at_byte),
        ),
    )


def paced(bytes_per_second: float) -> tuple[int, float]:
    """Piece size and interval for a rate: ten pieces a second, smaller ones more often when they would be large."""
    piece_bytes = max(1, min(_MAX_PIECE_BYTES, int(bytes_per_second / _PIECES_PER_SECOND)))
    return piece_bytes, piece_bytes / bytes_per_second


def _either(first: int | None, second: int | None) -> int | None:
    return first if first is not None else second


def _with_status(status: int, response: Response) -> Response:
    """An error has its own short body and nothing of the content; a success or redirect keeps the rest as it was."""
    if status < 400:
        return replace(response, status=status, body=b"" if status in (204, 304) else response.body)
    body = f"misbehaving with status {status}\n".encode()
    return Response(status, (("Content-Type", "text/plain"),), body, Framing.LENGTH, response.delivery)


def _with_headers(headers: dict[str, str | None], response: Response) -> Response:
    cleared = response.without_headers(*(name.lower() for name in headers))
    added = [(name, value) for name, value in headers.items() if value is not None]
    return replace(
        cleared.with_headers(*added), has_own_date=response.has_own_date or "date" in map(str.lower, headers)
    )
