"""A pass type whose pushes hang leaves the worker's places to others."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from passmill.domain.ids import TenantId
from passmill.errors import AppError, Reason
from passmill.push.topic_places import TopicPlaces

ONE, OTHER = TenantId(1), TenantId(2)


class Seconds:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(places: TopicPlaces, tenant_id: TenantId, stack: ExitStack) -> int:
    """Takes as many places as there are; gives how many."""
    count = 0
    while count < 100:
        try:
            stack.enter_context(places.take(tenant_id, "topic"))
        except AppError:
            break
        count += 1
    return count


def test_who_finds_no_place_comes_again() -> None:
    """The refusal is one that passes, and says when."""
    places = TopicPlaces(places=4)
    with ExitStack() as stack:
        taken(places, ONE, stack)
        with pytest.raises(AppError) as refused, places.take(ONE, "topic"):
            pass
    assert refused.value.reason is Reason.RATE_LIMITED
    assert refused.value.retry_after is not None


def test_one_pass_type_never_has_all_places() -> None:
    """Three quarters of the places, and as many again once they are given back."""
    places = TopicPlaces(places=16)
    for _ in range(2):
        with ExitStack() as stack:
            assert taken(places, ONE, stack) == 12
            assert taken(places, OTHER, stack) == 12


@pytest.mark.parametrize("is_over", [False, True])
def test_a_slow_pass_type_has_a_quarter(is_over: bool) -> None:
    """While a push takes more than a second, and for a minute afterwards, a quarter; then as
    before. Others do not feel it."""
    clock = Seconds()
    places = TopicPlaces(places=16, monotonic=clock)
    with ExitStack() as pushes:
        pushes.enter_context(places.pushing(ONE, "topic"))
        clock.now = 1.5
        if is_over:
            pushes.close()
            clock.now = 60.0
        with ExitStack() as stack:
            assert taken(places, ONE, stack) == 4
            assert taken(places, OTHER, stack) == 12
    clock.now = 130.0
    with ExitStack() as stack:
        assert taken(places, ONE, stack) == 12


def test_quick_pushes_are_not_slow() -> None:
    """Pushes of half a second, one after the other for a minute, cost no place."""
    clock = Seconds()
    places = TopicPlaces(places=8, monotonic=clock)
    for _ in range(120):
        with places.pushing(ONE, "topic"):
            clock.now += 0.5
    with ExitStack() as stack:
        assert taken(places, ONE, stack) == 6
