"""Writes the files that programs of a lab of processes are started with. Only who brings a lab up needs this, so it is not where the others look."""

import json
from pathlib import Path

from lab.errors import LabError
from lab.topology.layout import Layout, routing_table
from lab.topology.relay_file import relay_file


def write_configuration(layout: Layout) -> None:
    """The files that the control plane and the relays are started with."""
    _write(layout.routing_table_path, json.dumps(routing_table(layout.topology), indent=1) + "\n")
    if layout.topology.has_relays:
        _write(layout.wan_path, relay_file(layout))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}; give another folder with --state") from error
