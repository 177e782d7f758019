"""`cdnlab backup FILE`: a copy of the control plane's database, of one moment, while it runs."""

import json
from dataclasses import asdict
from pathlib import Path

from lab.cluster.database import take_backup
from lab.cluster.finding import find_lab_of_processes


def run(*, file: Path, is_json: bool, state_dir: Path) -> int:
    contents = take_backup(find_lab_of_processes(state_dir), file)
    if is_json:
        print(json.dumps({"file": str(file), **asdict(contents)}, indent=2))
    else:
        print(f"{file}: {contents}")
    return 0
