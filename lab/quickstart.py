"""`make lab`: the whole laboratory in one minute, with a verdict at the end.

Brings the lab up, creates a distribution, sends viewers from every region, changes an object and invalidates it, kills an
edge and starts it again, and judges what viewers saw. This module is the script: the order of things and their clean-up.
What the probes do is in quickstart_probes.py, what is promised in quickstart_checks.py.
"""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from lab.live import LiveTable, LoadNow, Picture, hit_ratios
from lab.load import LOAD_FILE, LoadError, LoadFollower, LoadRun
from lab.quickstart_checks import (
    Check,
    Outage,
    Outcome,
    Promise,
    Return,
    check_departure,
    check_failures,
    check_freshness,
    check_return,
    check_tiers,
    verdict,
)
from lab.quickstart_distribution import ApiError, Distribution, ManagementApi
from lab.quickstart_probes import DnsProbe, ObjectProbe, status_of, version_body, wait_for_return
from lab.recorder import Recorder, WatchedNode
from lab.recorder_http import ExchangeFailedError, exchange
from lab.report import write_report
from lab.report_run import read_run, tier_totals
from loadtests.plan import LoadPlan, parse_address
from loadtests.workload import Population
