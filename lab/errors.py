"""What the command line tells its user instead of a traceback: one message, one exit status."""

EXIT_FAILED = 1
EXIT_USAGE = 2


class LabError(Exception):
    """The lab cannot do what was asked; the message is whole and written for the user."""

    exit_status = EXIT_FAILED


class UsageError(LabError):
    """What was asked makes no sense: an unknown node, a URL that is none, a topology with mistakes."""

    exit_status = EXIT_USAGE
