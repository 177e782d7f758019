"""What all tests share: how Hypothesis chooses its examples.

The same examples in every run, so that a change that breaks something is told apart from an example nobody had tried before.
To look for new ones, as one should now and then: `CDNLAB_NEW_EXAMPLES=1 make test`; what it finds becomes an `@example`.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("new", derandomize=False)
settings.load_profile("new" if os.environ.get("CDNLAB_NEW_EXAMPLES") else "same")
