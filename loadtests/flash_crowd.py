"""Locustfile of the profile `flash-crowd`: many viewers who want the same few objects at once. See docs/load.md for its options."""

from locust import events

from loadtests.profiles.objects import FlashCrowdUser
from loadtests.recording import record_load

__all__ = ["FlashCrowdUser"]

record_load(events, profile="flash-crowd")
