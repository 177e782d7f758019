"""`cdnlab start NODE`: ends the fault that keeps a node from running, or starts one that is down."""

import json
from pathlib import Path

from lab.agent.client import connect
from lab.commands.faults_clear import describe
from lab.errors import EXIT_FAILED


def run(*, node_id: str, is_json: bool, state_dir: Path) -> int:
    ended = connect(state_dir).start(node_id)
    if is_json:
        print(json.dumps({"faults": ended}, indent=2))
    else:
        print(describe(ended) if ended else f"{node_id} is started")
    return EXIT_FAILED if any(each["state"] != "healed" for each in ended) else 0
