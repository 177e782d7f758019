"""Locustfile of the profile `mixed`: all kinds of viewers, 6 website, 2 api, 1 video, 1 download of every ten users."""

from locust import events

from loadtests.profiles.api import ApiUser
from loadtests.profiles.download import DownloadUser
from loadtests.profiles.video import VideoUser
from loadtests.profiles.website import WebsiteUser
from loadtests.recording import record_load

__all__ = ["ApiUser", "DownloadUser", "VideoUser", "WebsiteUser"]

record_load(events, profile="mixed")
