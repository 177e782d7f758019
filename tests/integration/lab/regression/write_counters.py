"""Writes down what the workloads of this checkout cost, for `make counters`: `python -m tests.integration.lab.regression.write_counters FILE`.

Only counts that are the same on every machine: system calls depend on the kernel.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

OF_THIS_MACHINE = "system calls"


def main() -> int:
    """Exit status of the comparison of this checkout with itself; nothing is written unless it is 0."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "lab.cli",
            "regress",
            ".",
            ".",
            "--counters",
            "--run",
            folder,
            "--loopback",
            "127.68.0.0/16",
        ]
        status = subprocess.run(command, check=False).returncode
        document = json.loads(Path(folder, "counters-1.json").read_text(encoding="utf-8"))
    if status == 0:
        document["workloads"].pop(OF_THIS_MACHINE, None)
        Path(sys.argv[1]).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
