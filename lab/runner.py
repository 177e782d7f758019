"""The ways to run a topology, by the names that the command line has for them. Here and not beside what they do, so that help is instant."""

from enum import StrEnum


class Runner(StrEnum):
    """processes: on loopback, without root; docker: containers."""

    PROCESSES = "processes"
    DOCKER = "docker"
