"""An agent that stops for good at one moment of its work: `python -m tests.integration.lab.agent.stopping_agent MOMENT FILE --state DIR`.

The file is there when it has stopped. Its watchdog starts an ordinary one after it.
"""

import sys
import threading
from pathlib import Path

from lab.agent.__main__ import main
from lab.agent.keeper import Moment


def run(moment: str, marker: str, *arguments: str) -> None:
    def stop(reached: Moment) -> None:
        if reached == moment:
            Path(marker).touch()
            threading.Event().wait()

    main(arguments, stop)


if __name__ == "__main__":
    run(*sys.argv[1:])
