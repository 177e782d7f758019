"""Structured field values (RFC 9651), as much as targeted fields need: reading dictionaries, strictly.

A field that deviates anywhere is no dictionary at all (section 4.2), so that every cache reads the same. Parameters are checked and dropped, because RFC 9213
section 2.1 gives them no meaning.
"""

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Token:
    """A bare word; text in quotes is a str."""

    text: str


@dataclass(frozen=True, slots=True)
class Date:
    """Seconds since the epoch."""

    seconds: int


@dataclass(frozen=True, slots=True)
class DisplayString:
    """Text for people, in any script."""

    text: str


BareItem = bool | int | float | str | bytes | Token | Date | DisplayString
Member = BareItem | tuple[BareItem, ...]
"""Of a dictionary: an item or an inner list; parameters are gone."""

_KEY: Final = re.compile(rb"[a-z*][a-z0-9_.*-]*")
_NUMBER: Final = re.compile(rb"-?(?:\d{1,12}\.\d{1,3}|\d{1,15})(?![\d.])")
_STRING: Final = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_TOKEN: Final = re.compile(rb"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_BYTES: Final = re.compile(rb":([A-Za-z0-9+/=]*):")
_DISPLAY: Final = re.compile(rb'%"((?:[ !#$&-~]|%[0-9a-f]{2})*)"')
_BOOLEAN: Final = re.compile(rb"\?([01])")
_WHITE_SPACE: Final = re.compile(rb"[ \t]*")
_SPACES: Final = re.compile(rb" *")


class _NotStructuredError(ValueError):
    """The field is none; never leaves this module."""


def parse_dictionary(value: bytes) -> dict[str, Member] | None:
    """The dictionary (section 4.2.2), empty if the field is; None when it is none. The last of two members with one key counts."""
    reader = _Reader(value.strip(b" "))
    members: dict[str, Member] = {}
    try:
        while not reader.is_at_end:
            key, member = reader.dictionary_member()
            members.pop(key, None)
            members[key] = member
            reader.list_separator()
    except _NotStructuredError:
        return None
    return members


class _Reader:
    """A position in the field; each method reads one rule of section 4.2 and moves on."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Nothing is left."""
        return self._at == len(self._value)

    def dictionary_member(self) -> tuple[str, Member]:
        """Section 4.2.2: a key without value is true."""
        key = self._key()
        if not self._take(b"="):
            self._parameters()
            return key, True
        member: Member = self._inner_list() if self._take(b"(") else self._bare_item()
        self._parameters()
        return key, member

    def list_separator(self) -> None:
        """A comma and what follows it; a trailing comma is an error."""
        self._match(_WHITE_SPACE)
        if self.is_at_end:
            return
        if not self._take(b","):
            raise _NotStructuredError
        self._match(_WHITE_SPACE)
        if self.is_at_end:
            raise _NotStructuredError

    def _inner_list(self) -> tuple[BareItem, ...]:
        """Section 4.2.1.2, after the opening parenthesis."""
        items: list[BareItem] = []
        while True:
            self._match(_SPACES)
            if self._take(b")"):
                return tuple(items)
            items.append(self._bare_item())
            self._parameters()
            if self._peek() not in (b" ", b")"):
                raise _NotStructuredError

    def _parameters(self) -> None:
        """Section 4.2.3.2."""
        while self._take(b";"):
            self._match(_SPACES)
            self._key()
            if self._take(b"="):
                self._bare_item()

    def _bare_item(self) -> BareItem:
        """Section 4.2.3.1: the first octet tells the type."""
        match self._peek():
            case b'"':
                return re.sub(rb"\\(.)", rb"\1", self._match(_STRING)[1]).decode("ascii")
            case b":":
                return self._byte_sequence()
            case b"?":
                return bool(self._match(_BOOLEAN)[1] == b"1")
            case b"@":
                self._at += 1
                return Date(self._integer())
            case b"%":
                return self._display_string()
            case first if first.isdigit() or first == b"-":
                text = self._match(_NUMBER)[0]
                return float(text) if b"." in text else int(text)
        return Token(self._match(_TOKEN)[0].decode("ascii"))

    def _integer(self) -> int:
        text = self._match(_NUMBER)[0]
        if b"." in text:
            raise _NotStructuredError
        return int(text)

    def _byte_sequence(self) -> bytes:
        try:
            return b64decode(self._match(_BYTES)[1])
        except binascii.Error as error:
            raise _NotStructuredError from error

    def _display_string(self) -> DisplayString:
        encoded = self._match(_DISPLAY)[1]
        octets = re.sub(rb"%(..)", lambda match: bytes.fromhex(match[1].decode("ascii")), encoded)
        try:
            return DisplayString(octets.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise _NotStructuredError from error

    def _key(self) -> str:
        return self._match(_KEY)[0].decode("ascii")

    def _peek(self) -> bytes:
        return self._value[self._at : self._at + 1]

    def _take(self, octet: bytes) -> bool:
        """Move past this octet, if it is next."""
        is_next = self._peek() == octet
        self._at += is_next
        return is_next

    def _match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        match = pattern.match(self._value, self._at)
        if match is None:
            raise _NotStructuredError
        self._at = match.end()
        return match
