"""Locustfile of the profile `website`: people who read pages of a site. See docs/load.md for its options."""

from locust import events

from loadtests.profiles.website import WebsiteUser
from loadtests.recording import record_load

__all__ = ["WebsiteUser"]

record_load(events, profile="website")
