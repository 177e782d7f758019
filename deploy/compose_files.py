"""Makes deploy/compose.yaml, and the files that it mounts, from the default topology: `make compose`. With `--check` says only whether they are stale."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from lab.cluster.compose_file import Surroundings, compose_file
from lab.cluster.compose_mounts import prometheus_file, routing_table_file, wan_file
from lab.cluster.compose_up import TEMPLATE
from lab.cluster.container_layout import ContainerLayout
from lab.topology.reader import read_topology, shipped_topology

DEPLOY = Path(__file__).resolve().parent


def generated() -> Mapping[Path, str]:
    """Each file with what it should say."""
    layout = ContainerLayout(read_topology(shipped_topology("default")))
    return {
        DEPLOY / "compose.yaml": compose_file(layout, Surroundings(), TEMPLATE.read_text(encoding="utf-8")),
        DEPLOY / "wan.yaml": wan_file(layout),
        DEPLOY / "routing-table.json": routing_table_file(layout),
        DEPLOY / "prometheus" / "prometheus.yml": prometheus_file(layout),
    }


def stale_files() -> list[Path]:
    return [path for path, text in generated().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit status 1 when a file is stale; nothing is written")
    if parser.parse_args().check:
        if stale := stale_files():
            sys.exit(f"stale: {', '.join(str(path) for path in stale)}; run `make compose`")
        return
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
