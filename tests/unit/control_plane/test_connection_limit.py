"""How many connections so many descriptors are enough for, and who goes when there are too many."""

from dataclasses import dataclass

import pytest

from control_plane.connection_limit import (
    LEAST_CONNECTIONS,
    MOST_GRPC_CONNECTIONS,
    MOST_WEB_CONNECTIONS,
    OWN_DESCRIPTORS,
    ConnectionLimits,
    OpenConnections,
    limits_for,
    wanted_descriptors,
)

WANTED = wanted_descriptors()


@pytest.mark.parametrize("descriptors", [256, 1_024, 4_096, WANTED - 1, WANTED, 1_048_576])
def test_all_ports_together_leave_descriptors_for_the_process_itself(descriptors: int) -> None:
    limits = limits_for(descriptors)
    assert OWN_DESCRIPTORS + 2 * limits.web + limits.grpc <= descriptors
    assert min(limits.web, limits.grpc) >= LEAST_CONNECTIONS


def test_with_enough_descriptors_each_port_has_what_it_wants() -> None:
    assert limits_for(WANTED) == ConnectionLimits(MOST_WEB_CONNECTIONS, MOST_GRPC_CONNECTIONS)


@dataclass(eq=False)
class Client:
    """A connection as the limit sees it."""

    address: str = "192.0.2.1"
    is_waiting: bool = True
    has_been_served: bool = False
    is_open: bool = True

    def shed(self) -> None:
        self.is_open = False


def full(*clients: Client) -> "OpenConnections[Client]":
    connections: OpenConnections[Client] = OpenConnections(len(clients))
    for client in clients:
        connections.add(client)
    assert all(client.is_open for client in clients)
    return connections


def test_the_oldest_stranger_makes_room() -> None:
    first, second, late = Client(), Client(), Client()
    connections = full(first, second)
    connections.add(late)
    assert (first.is_open, second.is_open, late.is_open) == (False, True, True) and len(connections) == 2


def test_who_was_served_before_and_who_is_being_answered_stay_longer_than_strangers() -> None:
    answered, known, stranger, late = Client(is_waiting=False), Client(has_been_served=True), Client(), Client()
    full(answered, known, stranger).add(late)
    assert answered.is_open and known.is_open and not stranger.is_open and late.is_open


def test_who_may_ask_again_makes_room_when_there_are_no_strangers() -> None:
    answered, known, late = Client(is_waiting=False), Client(has_been_served=True), Client()
    full(answered, known).add(late)
    assert answered.is_open and not known.is_open and late.is_open


def test_nobody_is_cut_off_in_the_middle_of_an_answer_for_one_who_comes() -> None:
    answered, late = Client(is_waiting=False), Client()
    connections = full(answered)
    connections.add(late)
    assert answered.is_open and not late.is_open and len(connections) == 1


def test_the_address_with_most_strangers_makes_room_also_when_another_was_there_first() -> None:
    lonely, first, second, late = Client("192.0.2.9"), Client(), Client(), Client("192.0.2.7")
    full(lonely, first, second).add(late)
    assert lonely.is_open and not first.is_open and second.is_open and late.is_open


def test_who_has_left_takes_no_place() -> None:
    gone, here, late = Client(), Client(), Client()
    connections = full(gone, here)
    connections.remove(gone)
    connections.add(late)
    assert here.is_open and late.is_open
