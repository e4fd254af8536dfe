"""Which points are left of those that end: the rule against a model that knows every single one."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.expiries import Expiry, Lots, Movement
from passmill.domain.ledger import AccountId, EntryId, EntryKind
from tests.support.points import NEVER, PointByPoint

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def at(hours: int) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=hours)


def movement(number: int, amount: int, *, end: int | None = None) -> Movement:
    """Earned, ending so many hours after noon or never, or spent."""
    return Movement(
        entry_id=EntryId(uuid.UUID(int=number)),
        kind=EntryKind.EARN if amount > 0 else EntryKind.BURN,
        amount=amount,
        post_time=NOON,
        expire_time=None if end is None else at(end),
    )


def expiry(number: int, amount: int, *, end: datetime, post_time: datetime) -> Movement:
    """Taken by the service."""
    return Movement(
        entry_id=EntryId(uuid.UUID(int=number)),
        kind=EntryKind.EXPIRE,
        amount=-amount,
        post_time=post_time,
        expire_time=end,
    )


@st.composite
def ledgers(draw: st.DrawFn) -> list[Movement]:
    """Entries as a ledger may have them: the balance is never negative, what is taken back was
    posted and is taken back once, time does not go back."""
    made: list[Movement] = []
    undone: set[EntryId] = set()
    balance, hour = 0, 0
    for _ in range(draw(st.integers(1, 25))):
        hour += draw(st.integers(0, 3))
        kind = draw(st.sampled_from(EntryKind))
        end, reverses, is_capture = None, None, False
        if kind is EntryKind.REVERSAL:
            left = [
                each
                for each in made
                if each.kind is not EntryKind.REVERSAL
                and each.entry_id not in undone
                and balance >= each.amount
            ]
            if not left:
                continue
            chosen = draw(st.sampled_from(left))
            reverses, amount = chosen.entry_id, -chosen.amount
            undone.add(chosen.entry_id)
        else:
            is_more = kind is EntryKind.EARN or (kind is EntryKind.ADJUST and draw(st.booleans()))
            if not is_more and not balance:
                continue
            amount = draw(st.integers(1, 9)) if is_more else -draw(st.integers(1, balance))
            if kind in (EntryKind.EARN, EntryKind.EXPIRE) and draw(st.booleans()):
                end = at(draw(st.integers(-2, 30)))
            is_capture = kind is EntryKind.BURN and draw(st.booleans())
        balance += amount
        made.append(
            Movement(
                entry_id=EntryId(uuid.UUID(int=len(made) + 1)),
                kind=kind,
                amount=amount,
                post_time=at(hour),
                expire_time=end,
                reversed_entry_id=reverses,
                is_capture=is_capture,
            )
        )
    return made


@given(ledgers())
def test_the_rule_is_that_of_single_points(made: list[Movement]) -> None:
    """After every entry as much is left of each end as single points say, and all of it sums up to
    the balance."""
    model = PointByPoint()
    for count, each in enumerate(made, start=1):
        model.play(each)
        lots = Lots.of(made[:count])
        left = Counter(lots.left) + Counter({NEVER: lots.endless})
        assert left == model.left()
        assert left.total() == sum(each.amount for each in made[:count])
        assert min(lots.left.values(), default=1) > 0


@given(ledgers(), st.integers(0, 60), st.integers(0, 60))
def test_what_is_due(made: list[Movement], held: int, hour: int) -> None:
    """All that has ended is due but what is held, which is of what ended first; and what is said to
    end next is what then ends next."""
    lots, now = Lots.of(made), at(hour)
    model = PointByPoint()
    for each in made:
        model.play(each)
    due = lots.due(held=held, now=now)
    assert [(each.end, each.amount) for each in due] == model.due(held=held, now=now)
    left = Counter(lots.left)
    left.subtract({each.end: each.amount for each in due})
    assert lots.first_end(due) == min((end for end, count in left.items() if count), default=None)
    following = {end: count for end, count in lots.left.items() if end > now}
    assert lots.next_after(now) == min(following.items(), default=None)


@given(ledgers(), st.integers(0, 20), st.integers(0, 60))
def test_what_was_taken_is_not_due_again(made: list[Movement], held: int, hour: int) -> None:
    """When what is due was posted nothing is; as holds end the rest is, each time under another
    key, and together that is all that has ended."""
    now = at(hour)
    ended = sum(left for end, left in Lots.of(made).left.items() if end <= now)
    expiries: list[Expiry] = []
    for still_held in (held, held // 2, 0):
        due = Lots.of(made).due(held=still_held, now=now)
        for each in due:
            made = [*made, expiry(len(made) + 1, each.amount, end=each.end, post_time=now)]
        expiries += due
        assert Lots.of(made).due(held=still_held, now=now) == []
    assert sum(each.amount for each in expiries) == ended
    account = AccountId(uuid.UUID(int=1))
    assert len({each.request_id(account, "points") for each in expiries}) == len(expiries)


def test_first_ending_first() -> None:
    """A holder's promise: of 100 that end in an hour, 100 that end in ten and 100 without end,
    spending 150 leaves 50 that end in ten and those without end."""
    lots = Lots.of(
        [
            movement(1, 100),
            movement(2, 100, end=10),
            movement(3, 100, end=1),
            movement(4, -150),
        ]
    )
    assert (lots.left, lots.endless) == ({at(10): 50}, 100)


def test_a_spending_taken_back_gives_back_what_it_took() -> None:
    """What comes back ends when it would have; what has ended meanwhile is due under a key of its
    own, though something of that end was taken before."""
    made = [
        movement(1, 100, end=1),
        movement(2, 100, end=10),
        movement(3, -60),
        expiry(4, 40, end=at(1), post_time=at(2)),
    ]
    assert Lots.of(made).left == {at(10): 100}
    back = Movement(
        entry_id=EntryId(uuid.UUID(int=5)),
        kind=EntryKind.REVERSAL,
        amount=60,
        post_time=at(3),
        reversed_entry_id=EntryId(uuid.UUID(int=3)),
    )
    [due] = Lots.of([*made, back]).due(held=0, now=at(3))
    assert due == Expiry(end=at(1), amount=60, before=1)


def test_an_expiry_taken_back_has_no_end() -> None:
    """Somebody who gives back what had ended does not see it end again."""
    made = [
        movement(1, 100, end=1),
        expiry(2, 100, end=at(1), post_time=at(2)),
        Movement(
            entry_id=EntryId(uuid.UUID(int=3)),
            kind=EntryKind.REVERSAL,
            amount=100,
            post_time=at(3),
            reversed_entry_id=EntryId(uuid.UUID(int=2)),
        ),
    ]
    assert (Lots.of(made).left, Lots.of(made).endless) == ({}, 100)


@pytest.mark.parametrize(
    ("first", "second", "left"), [(10, 1, {at(1): 100}), (1, 10, {at(10): 100})]
)
def test_an_earning_taken_back(first: int, second: int, left: dict[datetime, int]) -> None:
    """What was earned first and is taken back goes with its own end, earlier or later."""
    made = [
        movement(1, 100, end=first),
        movement(2, 100, end=second),
        Movement(
            entry_id=EntryId(uuid.UUID(int=3)),
            kind=EntryKind.REVERSAL,
            amount=-100,
            post_time=NOON,
            reversed_entry_id=EntryId(uuid.UUID(int=1)),
        ),
    ]
    assert Lots.of(made).left == left
