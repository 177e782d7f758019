"""What commands say of a lab that was taken down. Apart from them, since `down` is to be over soon and loads little."""

from lab.cluster.interface import Stopped


def describe_stop(stopped: Stopped) -> str:
    """What was done, in one line."""
    if not stopped.stopped:
        return "nothing was running"
    killed = f", {stopped.killed} of them killed after the grace period" if stopped.killed else ""
    return f"{stopped.stopped} {stopped.what} ended in {stopped.seconds:.1f} s{killed}; nothing is left behind"
