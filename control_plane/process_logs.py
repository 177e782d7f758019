"""Where the processes of the control plane write their log, and how."""

import logging
import time


def to_standard_error() -> None:
    """One line each, with the time in UTC."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("uvicorn", "uvicorn.error", "sqlalchemy", "grpc", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
