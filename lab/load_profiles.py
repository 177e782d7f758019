"""The profiles of viewers, by the names that the command line has for them. Here and not beside what they do, so that help and completion are instant."""

PROFILES = ("website", "api", "video", "download", "mixed")
