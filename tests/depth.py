"""How far tests search: `make test` as far as its time allows, `make test-nightly` twenty times as far, with examples that nobody has seen before.

What has no smaller form, and guards nothing that another test does not guard as well, is marked `nightly` as a whole.
"""

import os

TIMES = int(os.environ.get("CDNLAB_DEPTH", "1"))
"""So many times as far as `make test`."""


def examples(count: int) -> int:
    """Of a property or a table of seeds: `count` of them in `make test`."""
    return count * TIMES
