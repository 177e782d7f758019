"""`make lab`: the whole laboratory in about a minute, with a verdict at the end.

Brings the lab up, creates a distribution, lets quickstart_run.py send viewers and break things, judges what was seen,
writes `summary.json` and the report, and takes the lab down, whatever happened in between.
"""

import asyncio
import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from lab.live import LiveTable
from lab.load import LoadError
from lab.quickstart_checks import (
    Check,
    Outcome,
    check_departure,
    check_failures,
    check_freshness,
    check_return,
    check_tiers,
    verdict,
    versions_seen,
)
from lab.quickstart_distribution import ApiError, ManagementApi
from lab.quickstart_run import LabFacts, QuickStartRun, RunFailedError
from lab.recorder_http import ExchangeFailedError
from lab.report import write_report
from lab.report_run import RunData, read_run, region_totals, tier_totals

PROFILE = "mixed"
EXIT_STATUS = {Outcome.VALID: 0, Outcome.INVALID: 1, Outcome.UNKNOWN: 2}
_MARKS = {Outcome.VALID: "[green]✓[/]", Outcome.INVALID: "[red]✗[/]", Outcome.UNKNOWN: "[yellow]?[/]"}
