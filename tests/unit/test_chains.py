"""The rules of chains: when a step can be taken, by whom, and their stored form."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.chains import (
    ChainPlace,
    ChainState,
    ChainStep,
    StepCondition,
    steps_from_json,
    steps_to_json,
)
from passmill.domain.money import Money
from passmill.domain.offers import ChainId, OfferId
from passmill.domain.scans import RefusalReason

VIENNA = "Europe/Vienna"
MONDAY = datetime(2026, 3, 2, tzinfo=ZoneInfo(VIENNA))
PARTNERS = ("taxi", "hotel", "cafe", "museum")


def place(*partners: str, done: int = 0, state: ChainState = ChainState.ACTIVE) -> ChainPlace:
    """A place in a chain of these partners' steps."""
    return ChainPlace(
        chain_id=ChainId(uuid.UUID(int=1)),
        state=state,
        version=1,
        steps=tuple(
            ChainStep(display_name=each, partner=each, offer_id=OfferId(uuid.UUID(int=number)))
            for number, each in enumerate(partners)
        ),
        done=done,
    )


@pytest.mark.parametrize(
    ("local", "is_open"),
    [
        ((0, 8, 59), False),
        ((0, 9, 0), True),
        ((0, 16, 59), True),
        ((0, 17, 0), False),
        ((1, 10, 0), True),
        ((2, 10, 0), False),
    ],
)
def test_hours(local: tuple[int, int, int], is_open: bool) -> None:
    """Open on Mondays and Tuesdays from nine to five of the zone's clock, the end excluded."""
    condition = StepCondition(
        weekdays=frozenset({1, 2}), from_minute=540, until_minute=1020, time_zone=VIENNA
    )
    days, hours, minutes = local
    shown = (MONDAY + timedelta(days=days)).replace(hour=hours, minute=minutes)
    refusal = condition.refusal(None, at=shown.astimezone(UTC))
    assert refusal == (None if is_open else RefusalReason.TOO_EARLY)


@pytest.mark.parametrize(
    ("local", "is_open"),
    [((0, 1, 0), False), ((0, 22, 0), True), ((1, 1, 59), True), ((1, 2, 0), False)],
)
def test_hours_over_midnight(local: tuple[int, int, int], is_open: bool) -> None:
    """Ten at night to two belongs to the Monday on which it began."""
    condition = StepCondition(
        weekdays=frozenset({1}), from_minute=1320, until_minute=120, time_zone=VIENNA
    )
    days, hours, minutes = local
    shown = (MONDAY + timedelta(days=days)).replace(hour=hours, minute=minutes)
    assert (condition.refusal(None, at=shown.astimezone(UTC)) is None) == is_open


def test_a_day_without_an_hour() -> None:
    """On the night on which the clock goes forward, hours are those of the clock on the wall."""
    condition = StepCondition(from_minute=180, until_minute=240, time_zone=VIENNA)
    spring = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)  # 01:59, and a minute later 03:00
    assert condition.refusal(None, at=spring) is RefusalReason.TOO_EARLY
    assert condition.refusal(None, at=spring + timedelta(minutes=1)) is None


@given(after=st.integers(0, 1000), length=st.integers(1, 1000), passed=st.integers(0, 3000))
def test_spans(after: int, length: int, passed: int) -> None:
    """From `after_previous` on, before `before_previous`; never both too early and too late."""
    condition = StepCondition(
        after_previous=timedelta(seconds=after), before_previous=timedelta(seconds=after + length)
    )
    refusal = condition.refusal(MONDAY, at=MONDAY + timedelta(seconds=passed))
    if passed < after:
        assert refusal is RefusalReason.TOO_EARLY
    elif passed < after + length:
        assert refusal is None
    else:
        assert refusal is RefusalReason.TOO_LATE
    assert condition.refusal(None, at=MONDAY) is None
    # A clock that is a little behind the one before refuses nothing by itself.
    assert StepCondition().refusal(MONDAY, at=MONDAY - timedelta(seconds=passed)) is None


@given(
    partners=st.lists(st.sampled_from(("", *PARTNERS)), min_size=1, max_size=6),
    done=st.integers(0, 6),
    desk=st.sampled_from(("", "bar", *PARTNERS)),
    state=st.sampled_from(ChainState),
)
def test_one_step_at_most_can_be_taken(
    partners: list[str], done: int, desk: str, state: ChainState
) -> None:
    """Of all steps at most the next can be taken, by its own partner, in a chain in use; and a
    partner is told NOT_YOUR_STEP of every other's, whatever became of it."""
    at = place(*partners, done=min(done, len(partners)), state=state)
    for number, step in enumerate(at.steps):
        refusal = at.refusal(step.offer_id, partner=desk, at=MONDAY)
        is_next = number == at.done and step.partner == desk
        assert (refusal is None) == (is_next and state is ChainState.ACTIVE)
        if desk not in {"", step.partner}:
            assert refusal is RefusalReason.NOT_YOUR_STEP
        assert at.is_hidden(step.offer_id, partner=desk) == (desk not in {"", step.partner})
    stranger = OfferId(uuid.UUID(int=99))
    expected = RefusalReason.NOT_YOUR_STEP
    if desk == "" and state is ChainState.ARCHIVED:
        expected = RefusalReason.OFFER_ENDED
    assert at.refusal(stranger, partner=desk, at=MONDAY) is expected


def test_the_stored_form() -> None:
    """Steps are read as they were written, values of every type among them."""
    steps = (
        ChainStep(display_name="Start", partner="", offer_id=OfferId(uuid.uuid4())),
        ChainStep(
            display_name="Café ☕",
            partner="cafe",
            offer_id=OfferId(uuid.uuid4()),
            condition=StepCondition(
                after_previous=timedelta(hours=1),
                before_previous=timedelta(days=2),
                weekdays=frozenset({6, 7}),
                from_minute=540,
                until_minute=1,
                time_zone=VIENNA,
            ),
            next_values={
                "note": "x",
                "points": 5,
                "rate": Decimal("1.50"),
                "price": Money(minor_units=250, currency="EUR"),
                "since": datetime(2026, 1, 2, tzinfo=UTC),
                "is_done": True,
            },
            next_revision=3,
        ),
    )
    assert steps_from_json(steps_to_json(steps)) == steps
