"""Locustfile of the profile `video`: an HLS player, live and on demand. See docs/load.md for its options."""

from locust import events

from loadtests.profiles.video import VideoUser
from loadtests.recording import record_load

__all__ = ["VideoUser"]

record_load(events, profile="video")
