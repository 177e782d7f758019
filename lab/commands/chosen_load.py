"""From what was typed about a load to the entry that a scenario would have for it: one rule for those who send it, and for those who foretell it."""

import json

from lab.errors import UsageError
from lab.load_profiles import LoadChoice
from lab.scenarios.load_entry import LoadEntry, LoadEntryError
from loadtests.intensity import DEFAULT_NAME


def entry_of(load: LoadChoice) -> LoadEntry:
    """UsageError with all that is wrong with it."""
    try:
        given = json.loads(load.options or "{}")
    except ValueError as error:
        raise UsageError(f"--options: not JSON: {error}") from error
    if not isinstance(given, dict):
        raise UsageError(f"--options: not a JSON object: {load.options}")
    try:
        return LoadEntry(
            DEFAULT_NAME,
            load.profile,
            users=load.users,
            rate=load.rate,
            arrivals=load.arrivals,
            options=given,
            lasts_seconds=load.duration_seconds,
        )
    except LoadEntryError as error:
        raise UsageError(error.problems) from error
