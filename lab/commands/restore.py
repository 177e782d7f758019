"""`cdnlab restore FILE`: puts a backup in place of the control plane's database, and says what that does to the caches."""

import json
from dataclasses import asdict
from pathlib import Path

from lab.cluster.database import put_in_place
from lab.cluster.finding import find_lab_of_processes
from lab.interrupts import uninterrupted
from lab.terminal import make_console
from lab.topology.layout import Role


def run(*, file: Path, is_json: bool, state_dir: Path) -> int:
    console = make_console(is_for_people=not is_json)
    lab = find_lab_of_processes(state_dir)
    with uninterrupted():  # else the lab could be left without a control plane
        contents = put_in_place(lab, file, lambda text: console.print(text, style="dim"))
    status = lab.status()
    caches = len(status.of_role(Role.EDGE)) + len(status.of_role(Role.REGIONAL))
    if is_json:
        print(json.dumps({"file": str(file), **asdict(contents), "caches_started_over": caches}, indent=2))
        return 0
    console.print(f"restored {file}: {contents}", markup=False)
    console.print(
        f"it goes on as another log: {caches} caches have started over, with nothing of what was stored before; "
        "what was changed or invalidated after the backup is lost"
    )
    return 0
