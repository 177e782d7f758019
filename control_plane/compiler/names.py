"""The syntax of names in configurations: hosts, header fields, paths."""

import ipaddress
import re

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LOCAL_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_LOCAL_NAME = re.compile(rf"{_LOCAL_LABEL}(\.{_LOCAL_LABEL})*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile("[\t\x20-\x7e\x80-\xff]*")
_PATH_CHARACTERS = re.compile(r"""[A-Za-z0-9_.*$/~"'@:+&?-]*""")
_URI_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")

MAXIMUM_HOST_LENGTH = 253


def is_host_name(name: str) -> bool:
    """A name that a viewer may ask for: letters, digits and hyphens; not an address."""
    return len(name) <= MAXIMUM_HOST_LENGTH and bool(_HOST_NAME.fullmatch(name.lower())) and not is_address(name)


def is_origin_host(name: str) -> bool:
    """A public name, an address, or a local name such as a container's, which may have underscores."""
    return is_address(name) or (len(name) <= MAXIMUM_HOST_LENGTH and bool(_LOCAL_NAME.fullmatch(name)))


def is_address(name: str) -> bool:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return "%" not in name


def is_token(name: str) -> bool:
    """A field name (RFC 9110 section 5.6.2)."""
    return bool(_TOKEN.fullmatch(name))


def is_field_value(value: str) -> bool:
    """What may stand in a header field: nothing that could end the line."""
    return bool(_FIELD_VALUE.fullmatch(value))


def is_path_pattern(pattern: str) -> bool:
    """The characters of reference 1.6, and its two wildcards."""
    return bool(_PATH_CHARACTERS.fullmatch(pattern))


def is_uri_path(path: str) -> bool:
    """A path as it stands in a request (RFC 3986 section 3.3)."""
    return bool(_URI_PATH.fullmatch(path))
