"""Reads the file of the relays, YAML or JSON (which YAML includes), once and as a whole: every problem with its line."""

from pathlib import Path as FilePath
from typing import Final

import yaml

from lab.errors import UsageError
from lab.topology.problems import Problem
from lab.topology.sections import Section, line_of
from lab.wan.configuration import (
    DEFAULT_API,
    Bounds,
    ClientAddress,
    Configuration,
    ConfigurationError,
    Place,
    PlacedLink,
    Proxy,
    Transport,
)
from lab.wan.links import Distribution, Link, Path
from proto.seeds import MOST_SEED

MOST_MILLISECONDS: Final = 60_000
MOST_MBIT: Final = 1_000_000
MOST_KIB: Final = 4 << 20
_NO_PATH: Final = Path()


class WanFileError(UsageError):
    """The file cannot be used; all reasons."""


def read_configuration(file: FilePath) -> Configuration:
    """WanFileError when it is not there, no YAML, or wrong."""
    try:
        return parse_configuration(file.read_text(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise WanFileError(f"{file} cannot be read: {error}") from error


def parse_configuration(text: str, source: str) -> Configuration:
    """See `read_configuration`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise WanFileError(f"{source}: {error}") from error
    if node is None:
        raise WanFileError(f"{source}: the file is empty")
    problems: list[Problem] = []
    try:
        configuration = _read(Section(node, "the file", problems))
    except ConfigurationError as error:
        problems.extend(error.problems)
    if problems:
        lines = (f"{source}:{problem.line}: {problem.message}" for problem in sorted(set(problems)))
        raise WanFileError("\n".join(lines))
    return configuration


def _read(section: Section) -> Configuration:
    parts = {
        "places": section.sections("places", _place),
        "proxies": section.sections("proxies", _proxy),
        "links": section.sections("links", _link),
        "api": section.text("api", DEFAULT_API),
        "outgoing_address": section.text("outgoing_address", ""),
        "bounds": _bounds(section),
    }
    seed = section.integer("seed", -1, 0, MOST_SEED)
    section.finish()
    return Configuration(**parts, seed=None if seed < 0 else seed)  # type: ignore[arg-type]  # each under its name


def _place(section: Section) -> Place:
    name = section.text("name")
    networks = []
    for node in section.items("networks"):
        if isinstance(node, yaml.ScalarNode):
            networks.append(str(node.value))
        else:
            section.problems.append(Problem(line_of(node), "each of networks must be text"))
    return Place(name, tuple(networks), section.text("outgoing_address", ""), section.line)


def _proxy(section: Section) -> Proxy:
    return Proxy(
        name=section.text("name"),
        listen=section.text("listen"),
        upstream=section.text("upstream"),
        place=section.text("place", ""),
        transport=Transport(section.choice("transport", Transport.TCP, list(Transport))),
        client_address=ClientAddress(section.choice("client_address", ClientAddress.HIDDEN, list(ClientAddress))),
        is_enabled=section.flag("enabled", True),
        client_place=section.text("from", ""),
        line=section.line,
    )


def _link(section: Section) -> PlacedLink:
    ends = [str(node.value) for node in section.items("between")]
    if len(ends) != 2:
        section.report("between must be a list of two places")
        ends = ["", ""]
    both = _path(section, _NO_PATH)
    forward, backward = (_path_of(section, word, both) for word in ("forward", "backward"))
    return PlacedLink(Link((ends[0], ends[1]), forward, backward), section.line)


def _path_of(section: Section, word: str, both: Path) -> Path:
    """What one direction says replaces what is said of both."""
    own = section.section(word)
    if own is None:
        return both
    path = _path(own, both)
    own.finish()
    return path


def _path(section: Section, default: Path) -> Path:
    word = section.choice("distribution", default.distribution.value, [each.value for each in Distribution])
    mbit = section.number("bandwidth_mbit", default.bytes_per_second * 8 / 1e6, MOST_MBIT)
    return Path(
        delay_seconds=section.number("delay_ms", default.delay_seconds * 1000, MOST_MILLISECONDS) / 1000,
        jitter_seconds=section.number("jitter_ms", default.jitter_seconds * 1000, MOST_MILLISECONDS) / 1000,
        distribution=Distribution(word),
        bytes_per_second=mbit * 1e6 / 8,
        loss=section.number("loss_percent", default.loss * 100, 100) / 100,
        queue_bytes=section.integer("queue_kib", default.queue_bytes >> 10, 0, MOST_KIB) << 10,
        is_cut=section.flag("cut", default.is_cut),
    )


def _bounds(section: Section) -> Bounds:
    own, default = section.section("bounds"), Bounds()
    if own is None:
        return default
    bounds = Bounds(
        connections=own.integer("connections", default.connections, 1, 100_000),
        flows=own.integer("flows", default.flows, 1, 100_000),
        window_bytes=own.integer("window_kib", default.window_bytes >> 10, 64, MOST_KIB) << 10,
        memory_bytes=own.integer("memory_mib", default.memory_bytes >> 20, 1, 1 << 20) << 20,
    )
    own.finish()
    return bounds
