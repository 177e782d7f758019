"""Links as JSON, for the part of the control API that Toxiproxy does not have. Units are in the names, which are those of the configuration file. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from lab.wan.links import Distribution, Link, Path
from lab.wan.toxics import Toxic
from lab.wan.toxiproxy_documents import BAD_REQUEST, ApiError

PATH_FIELDS: Final = ("delay_ms", "jitter_ms", "distribution", "bandwidth_mbit", "loss_percent", "queue_kib", "cut")
DIRECTIONS: Final = ("forward", "backward")


def link_to_json(link: Link, toxics: Sequence[Toxic]) -> dict[str, object]:
    """Everything that can be said of it."""
    return {
        "name": link.name,
        "between": list(link.ends),
        "forward": path_to_json(link.forward),
        "backward": path_to_json(link.backward),
        "toxics": [toxic.to_json() for toxic in toxics],
    }


def path_to_json(path: Path) -> dict[str, object]:
    """One direction."""
    return {
        "delay_ms": round(path.delay_seconds * 1000, 6),
        "jitter_ms": round(path.jitter_seconds * 1000, 6),
        "distribution": path.distribution.value,
        "bandwidth_mbit": round(path.bytes_per_second * 8 / 1e6, 6),
        "loss_percent": round(path.loss * 100, 6),
        "queue_kib": path.queue_bytes >> 10,
        "cut": path.is_cut,
    }


def changed_link(link: Link, document: object) -> Link:
    """Fields of both directions, and `forward` and `backward` with their own; what is not given stays. ApiError with all problems."""
    if not isinstance(document, dict):
        raise ApiError(BAD_REQUEST, "bad request body: a link is an object")
    both = {name: value for name, value in document.items() if name not in DIRECTIONS}
    forward = _changed_path(link.forward, {**both, **_own(document, "forward")})
    backward = _changed_path(link.backward, {**both, **_own(document, "backward")})
    problems = [f"forward: {each}" for each in forward.problems()] + [
        f"backward: {each}" for each in backward.problems()
    ]
    if problems:
        raise ApiError(BAD_REQUEST, f"bad request body: {'; '.join(problems)}")
    return Link(link.ends, forward, backward)


def _own(document: Mapping[str, object], direction: str) -> Mapping[str, object]:
    own = document.get(direction, {})
    if isinstance(own, dict):
        return own
    raise ApiError(BAD_REQUEST, f"bad request body: {direction} is an object")


def _changed_path(path: Path, fields: Mapping[str, object]) -> Path:
    unknown = [str(name) for name in fields if name not in PATH_FIELDS]
    if unknown:
        raise ApiError(
            BAD_REQUEST, f"bad request body: unknown {', '.join(unknown)}; there are {', '.join(PATH_FIELDS)}"
        )
    before = path_to_json(path)
    word, is_cut = fields.get("distribution", path.distribution.value), fields.get("cut", path.is_cut)
    if word not in [each.value for each in Distribution]:
        raise ApiError(BAD_REQUEST, f"bad request body: distribution is one of {', '.join(Distribution)}")
    if not isinstance(is_cut, bool):
        raise ApiError(BAD_REQUEST, "bad request body: cut is true or false")
    values = {
        name: _number(name, fields.get(name, before[name]))
        for name in PATH_FIELDS
        if name not in ("distribution", "cut")
    }
    return Path(
        values["delay_ms"] / 1000,
        values["jitter_ms"] / 1000,
        Distribution(str(word)),
        values["bandwidth_mbit"] * 1e6 / 8,
        values["loss_percent"] / 100,
        int(values["queue_kib"]) << 10,
        is_cut,
    )


def _number(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e9:
        return float(value)
    raise ApiError(BAD_REQUEST, f"bad request body: {name} is a number, not negative")
