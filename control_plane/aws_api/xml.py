"""XML in and out, without meaning: bytes to a tree of elements, and text that is safe to put between tags.

Read by expat directly, because what a stranger may send is narrow: UTF-8, no document type (so no entities to expand and nothing to fetch), a bounded depth.
"""

import re
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from control_plane.aws_api.errors import ApiError

MAXIMUM_DEPTH = 64
"""The deepest structure of the model needs 14."""

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0 section 2.2: characters that no document may hold, not even as references."""


@dataclass(slots=True)
class Element:
    """One element; `text` is all its character data."""

    namespace: str
    name: str
    children: list["Element"] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The character data of the element itself."""
        return "".join(self.pieces)


class _TreeBuilder:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []

    def start(self, name: str, _attributes: object) -> None:
        if len(self._open) >= MAXIMUM_DEPTH:
            raise ApiError("MalformedXML", f"The XML is nested deeper than {MAXIMUM_DEPTH} elements.")
        namespace, _, local_name = name.rpartition(" ")
        element = Element(namespace, local_name)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def data(self, text: str) -> None:
        self._open[-1].pieces.append(text)

    def doctype(self, *_declaration: object) -> None:
        raise ApiError("MalformedXML", "A document type declaration is not accepted.")


def parse(body: bytes) -> Element:
    """The root element; ApiError says what is wrong with the document."""
    builder = _TreeBuilder()
    parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ApiError("MalformedXML", f"The body is not well-formed XML: {error}.") from error
    if builder.root is None:
        raise ApiError("MalformedXML", "The body holds no element.")
    return builder.root


def to_text(value: str) -> str:
    """Character data that a parser reads back as `value`; what XML cannot say becomes U+FFFD."""
    # A bare carriage return would be read as a line feed (XML 1.0 section 2.11).
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value), {"\r": "&#13;"})
