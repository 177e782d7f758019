"""`python -m lab.agent`: the agent of a lab of processes (program.py). Started by `cdnlab up`, by its watchdog, or by a command that finds it gone.

It stays for as long as the lab, so it imports nothing that only other labs need; `containers.py` is the one for those.
"""

from collections.abc import Sequence
from typing import NoReturn

from lab.agent.command_line import run_agent
from lab.agent.keeper import Reached, go_on
from lab.cluster.running_processes import RunningProcesses


def main(arguments: Sequence[str] | None = None, reached: Reached = go_on) -> NoReturn:
    """Until its lab is gone, or it is told to end."""
    run_agent("lab.agent", RunningProcesses, arguments, reached)


if __name__ == "__main__":
    main()
