"""Toxics as Toxiproxy's clients ask for them."""

import pytest

from lab.wan.toxics import Stream, ToxicError, changed_toxic, read_toxic


def test_defaults_are_toxiproxys() -> None:
    toxic = read_toxic({"type": "latency"})
    assert toxic.to_json() == {
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1.0,
        "attributes": {"latency": 0, "jitter": 0},
    }


def test_what_is_given_is_kept() -> None:
    toxic = read_toxic(
        {"name": "a", "type": "slicer", "stream": "upstream", "toxicity": 0.25, "attributes": {"delay": 5}}
    )
    assert (toxic.name, toxic.stream, toxic.toxicity) == ("a", Stream.UPSTREAM, 0.25)
    assert dict(toxic.attributes) == {"average_size": 0, "size_variation": 0, "delay": 5}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "object"),
        ([], "object"),
        ({}, "invalid toxic type"),
        ({"type": "nonsense"}, "invalid toxic type"),
        ({"type": "latency", "stream": "sideways"}, "stream was invalid"),
        ({"type": "latency", "stream": []}, "stream was invalid"),
        ({"type": "latency", "toxicity": 2}, "toxicity"),
        ({"type": "latency", "toxicity": "1"}, "toxicity"),
        ({"type": "latency", "name": "a/b"}, "name"),
        ({"type": "latency", "attributes": 5}, "attributes"),
        ({"type": "latency", "attributes": {"rate": 5}}, "no attribute rate"),
        ({"type": "latency", "attributes": {"latency": -5}}, "not negative"),
        ({"type": "latency", "attributes": {"latency": True}}, "whole number"),
        ({"type": "latency", "attributes": {"latency": 1.5}}, "whole number"),
    ],
)
def test_what_is_no_toxic_is_refused(document: object, reason: str) -> None:
    with pytest.raises(ToxicError, match=reason):
        read_toxic(document)


def test_a_change_keeps_what_it_does_not_say() -> None:
    toxic = read_toxic({"type": "latency", "attributes": {"latency": 5, "jitter": 1}})
    changed = changed_toxic(toxic, {"toxicity": 0.5, "attributes": {"jitter": 2}})
    assert (changed.name, changed.toxicity, dict(changed.attributes)) == (toxic.name, 0.5, {"latency": 5, "jitter": 2})
