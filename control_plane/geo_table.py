"""Which country the networks of viewers are in (reference 6.5): a file of lines NETWORK,COUNTRY, checked as a whole, or the table for a lab on one machine."""

import ipaddress
import re
from collections.abc import Iterator

from proto.cdn.v1 import configuration_pb2

MAXIMUM_NETWORKS = 10_000
"""Some 400 KB: every node keeps the table in its snapshot, which it writes anew at each change of configuration."""
MAXIMUM_GEO_TABLE_BYTES = 1024 * 1024
"""What MAXIMUM_NETWORKS lines take, with room for comments."""
_MOST_PROBLEMS = 10
"""Said of one file: more help nobody."""
_LONGEST_PROBLEM_CHARACTERS = 120

_HEADING = ("network", "country")
_COUNTRY = re.compile("[A-Z]{2}")
"""Not only those of ISO 3166-1: makers of such tables have codes of their own, as XK. None of these can be restricted."""

_LAB = """\
127.0.11.0/24,US
127.0.12.0/24,DE
127.0.13.0/24,JP
127.0.201.0/24,US
127.0.202.0/24,DE
127.0.203.0/24,JP
10.1.0.0/16,US
10.2.0.0/16,DE
10.3.0.0/16,JP
10.77.1.0/24,US
10.77.2.0/24,DE
10.77.3.0/24,JP
10.77.201.0/24,US
10.77.202.0/24,DE
10.77.203.0/24,JP
192.0.2.0/24,US
198.51.100.0/24,DE
203.0.113.0/24,JP
2001:db8:1::/48,US
2001:db8:2::/48,DE
2001:db8:3::/48,JP
"""
"""The default topology's regions are us-east-1, eu-central-1 and ap-northeast-1. By threes: the loopback addresses of their POPs (decision 3), from where
their viewers connect over relays (docs/wan.md), the subnets of their populations, their networks in containers without and with relays,
and the networks for documentation (RFC 5737, RFC 3849). 127.0.0.1 is nowhere: a plain `curl` is always served."""


class GeoTableError(Exception):
    """Everything that is wrong with a table, by line."""


def default_geo_table() -> configuration_pb2.GeoTable:
    """For a lab on this machine."""
    return parse_geo_table(_LAB.encode())


def parse_geo_table(data: bytes) -> configuration_pb2.GeoTable:
    """The table of a CSV file: lines `network,country`, with or without that heading; empty lines and those that begin with # are left out."""
    if len(data) > MAXIMUM_GEO_TABLE_BYTES:
        raise GeoTableError(f"it has more than {MAXIMUM_GEO_TABLE_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")  # spreadsheets begin their files with a mark
    except UnicodeDecodeError as error:
        raise GeoTableError(f"it is not UTF-8: {error.reason}") from error
    problems: list[str] = []
    networks: dict[str, str] = {}
    for number, row in _rows(text):
        problem = _add(networks, row)
        if problem:
            problems.append(f"line {number}: {problem}")
    if len(networks) > MAXIMUM_NETWORKS:
        problems.insert(0, f"it has {len(networks)} networks, and {MAXIMUM_NETWORKS} are the most that nodes take")
    if problems:
        rest = len(problems) - _MOST_PROBLEMS
        more = [f"and {rest} more"] if rest > 0 else []
        raise GeoTableError("; ".join([*problems[:_MOST_PROBLEMS], *more]))
    rows = [configuration_pb2.GeoNetwork(cidr=cidr, country=country) for cidr, country in networks.items()]
    return configuration_pb2.GeoTable(networks=rows)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that say something, with their numbers. Neither part can hold a comma or a line break, so quotation marks around them mean nothing."""
    is_first = True
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        row = [part.strip(' \t"') for part in line.split(",")]
        if not (is_first and tuple(part.lower() for part in row) == _HEADING):
            yield number, row
        is_first = False


def _add(networks: dict[str, str], row: list[str]) -> str:
    """Take one row; what is wrong with it, or nothing."""
    if len(row) != len(_HEADING):
        return "must be NETWORK,COUNTRY"
    network, country = row
    try:
        cidr = str(ipaddress.ip_network(network))
    except ValueError as error:
        return str(error)[:_LONGEST_PROBLEM_CHARACTERS]
    if "%" in network:
        return f"{network[:64]!r} has a zone, which is no part of a network"
    if not _COUNTRY.fullmatch(country):
        return f"{country[:16]!r} is not two upper-case letters"
    if cidr in networks:
        return f"{cidr} is there twice"
    networks[cidr] = country
    return ""
