"""Locustfile of the profile `download`: large files in ranges, with resume. See docs/load.md for its options."""

from locust import events

from loadtests.profiles.download import DownloadUser
from loadtests.recording import record_load

__all__ = ["DownloadUser"]

record_load(events, profile="download")
