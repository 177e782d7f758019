"""The limit of file descriptors is raised as far as may be, and what cannot be raised is said."""

import logging
import resource

import pytest

from proto.descriptor_limit import DescriptorLimits, limits_to_set, raise_descriptor_limit

WANTED = 20_000
ENDLESS = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (DescriptorLimits(1_024, 1_048_576), DescriptorLimits(WANTED, 1_048_576)),
        (DescriptorLimits(1_024, 4_096), DescriptorLimits(4_096, 4_096)),
        (DescriptorLimits(256, ENDLESS), DescriptorLimits(WANTED, ENDLESS)),
        (DescriptorLimits(500_000, 1_048_576), DescriptorLimits(500_000, 1_048_576)),
        (DescriptorLimits(ENDLESS, ENDLESS), DescriptorLimits(ENDLESS, ENDLESS)),
    ],
)
def test_the_soft_limit_is_raised_to_what_is_wanted_and_may_be(
    before: DescriptorLimits, after: DescriptorLimits
) -> None:
    assert limits_to_set(before, WANTED) == after


@pytest.mark.parametrize(
    ("limits", "descriptors"), [((256, ENDLESS), WANTED), ((256, 4_096), 4_096), ((ENDLESS, ENDLESS), WANTED)]
)
def test_the_process_gets_what_there_is(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], descriptors: int
) -> None:
    was_set: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: was_set.append(new))
    assert raise_descriptor_limit(WANTED) == descriptors
    assert was_set == [(ENDLESS if limits[0] == ENDLESS else descriptors, limits[1])]


def test_a_limit_that_cannot_be_raised_stays_and_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_which: int, _new: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, ENDLESS))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with caplog.at_level(logging.WARNING):
        assert raise_descriptor_limit(WANTED) == 256
    assert "256 file descriptors cannot be raised: not allowed" in caplog.text
