"""How lines of a Compose file look: folded command lines, published ports, networks, labels. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from lab.cluster.container_layout import ContainerLayout
from lab.topology.layout import NodeSpec

WIDTH = 119


def lines(*given: str) -> str:
    """Each with its end."""
    return "\n".join(given) + "\n"


def heading(title: str) -> str:
    """A line across the file."""
    return f"  # {title} ".ljust(WIDTH - 1, "-") + "\n"


def folded(words: Sequence[str], indent: int) -> str:
    """A folded scalar of YAML: lines of words, each flag beside its value."""
    found = [" " * indent]
    for part in re.split(r" (?=--)", " ".join(words)) if any(word.startswith("--") for word in words) else words:
        if len(found[-1]) > indent and len(found[-1]) + 1 + len(part) > WIDTH:
            found.append(" " * indent)
        found[-1] += part if len(found[-1]) == indent else f" {part}"
    return "\n".join(found)


def listed(key: str, names: Sequence[str]) -> str:
    """A list of YAML on one line, or on as many as it takes."""
    line = f"    {key}: [{', '.join(names)}]"
    if len(line) <= WIDTH:
        return line
    found = ["      "]
    for name in names:
        if len(found[-1]) + len(name) + 1 > WIDTH:
            found.append("      ")
        found[-1] += f"{name}," if found[-1].isspace() else f" {name},"
    return "\n".join([f"    {key}: [", *found, "    ]"])


def published(layout: ContainerLayout, name: str, port: int, protocol: str = "") -> str:
    """A port of this machine, moved by its variable."""
    return f'"{layout.host}:${{CDNLAB_{name}_PORT:-{layout.published[name]}}}:{port}{protocol}"'


def ports(all_published: Sequence[str]) -> Iterator[str]:
    """Of one service."""
    if len(all_published) == 1:
        yield f"    ports: [{all_published[0]}]"
    elif all_published:
        yield "    ports:"
        yield from (f"      - {each}" for each in all_published)


def networks(attachments: Mapping[str, str]) -> Iterator[str]:
    """Each with its fixed address, if it has one."""
    yield "    networks:"
    for network, address in attachments.items():
        yield f"      {network}: {{ipv4_address: {address}}}" if address else f"      {network}: {{}}"


def labels(layout: ContainerLayout, node: NodeSpec) -> Iterator[str]:
    """By which commands know a node. Where others find it stands there if that is at a relay."""
    place = f"cdnlab.region: {node.region}, cdnlab.pop: {node.pop or json.dumps('')}"
    reached_at = layout.networks.reached_at(node).content if layout.topology.has_relays else ""
    advertised = f", cdnlab.advertised: {json.dumps(reached_at)}" if reached_at else ""
    yield f"    labels: {{<<: *lab, cdnlab.node: {node.id}, cdnlab.role: {node.role}, {place}{advertised}}}"
