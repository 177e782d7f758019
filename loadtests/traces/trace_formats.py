"""The formats of traces by name, and which one a file has. Pure."""

import csv

from loadtests.traces.trace_reading import TraceError

FORMATS = ("csv", "csv-numeric", "cloudfront", "oracleGeneral", "har")
BEGINNING_BYTES = 4_096
"""Of the decompressed content, enough to tell formats apart."""
_BY_EXTENSION = {
    ".oraclegeneral": "oracleGeneral",
    ".oraclegeneral.bin": "oracleGeneral",
    ".har": "har",
    ".csv": "csv",
}


def checked_format(name: str) -> str:
    """As it is. TraceError for a name that there is not."""
    if name not in FORMATS:
        raise TraceError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    return name


def recognised_format(file_name: str, beginning: bytes) -> str:
    """By the file's name without what says how it is compressed, else by how it begins. TraceError where neither says it.

    `oracleGeneral` has no mark in its content and numbers in columns do not say which is which: the one goes by its name only, the other must be named.
    """
    for extension, name in _BY_EXTENSION.items():
        if file_name.lower().endswith(extension):
            return name
    start = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"#Version:", b"#Fields:")):
        return "cloudfront"
    if start.startswith(b"{"):
        return "har"
    first_line = start.partition(b"\n")[0].decode("utf-8", "replace")
    columns = {name.strip() for row in csv.reader([first_line.strip()]) for name in row}
    if "time" in columns and columns & {"path", "target"}:
        return "csv"
    raise TraceError(
        f"its format cannot be recognised by its name or its beginning; say which it is: {', '.join(FORMATS)}"
    )
