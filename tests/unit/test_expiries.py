"""Which points are left of those that end: the rule against a model that knows every single one."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.expiries import Expiry, Lots, Movement
from passmill.domain.ledger import AccountId, EntryId, EntryKind

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


def at(hours: int) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=hours)


@dataclass(slots=True, eq=False)
class Point:
    """One point. `source`: the entry that made it."""

    end: datetime
    source: EntryId


@dataclass(slots=True, kw_only=True)
class PointByPoint:
    """The rule, told for single points: each is there or not, and chosen one by one."""

    points: list[Point] = field(default_factory=list)
    spent: dict[EntryId, list[Point]] = field(default_factory=dict)
    kinds: dict[EntryId, EntryKind] = field(default_factory=dict)

    def play(self, each: Movement) -> None:
        """One entry."""
        undone = each.reversed_entry_id
        self.kinds[each.entry_id] = each.kind
        if each.amount > 0:
            ends = [each.expire_time or _NEVER] * each.amount
            if undone is not None:
                is_expiry = self.kinds[undone] is EntryKind.EXPIRE
                ends = [_NEVER if is_expiry else point.end for point in self.spent[undone]]
            self.points += [Point(end, each.entry_id) for end in ends]
            return
        taken = []
        for _ in range(-each.amount):
            point = min(self.points, key=lambda point: self._order(point, each))
            self.points.remove(point)
            taken.append(point)
        self.spent[each.entry_id] = taken

    def _order(self, point: Point, each: Movement) -> tuple[bool, bool, datetime]:
        is_first = False
        if each.reversed_entry_id is not None:
            is_first = point.end == self._end_of[each.reversed_entry_id]
        elif each.expire_time is not None:
            is_first = point.end == each.expire_time
        has_ended = point.end <= each.post_time and not each.is_capture
        return (not is_first, has_ended, point.end)

    _end_of: dict[EntryId, datetime] = field(default_factory=dict)

    def left(self) -> Counter[datetime]:
        """How many there are of each end."""
        return Counter(point.end for point in self.points)


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
        if each.amount > 0:
            model._end_of[each.entry_id] = each.expire_time or _NEVER
        model.play(each)
        lots = Lots.of(made[:count])
        left = Counter(lots.left) + Counter({_NEVER: lots.endless})
        assert left == model.left()
        assert left.total() == sum(each.amount for each in made[:count])
        assert min(lots.left.values(), default=1) > 0


@given(ledgers(), st.integers(0, 60), st.integers(0, 60))
def test_what_is_due(made: list[Movement], held: int, hour: int) -> None:
    """All that has ended is taken but what is held, which is kept of what ended first; nothing else
    is; and what is said to end next is what then ends next."""
    lots, now = Lots.of(made), at(hour)
    ended = {end: left for end, left in lots.left.items() if end <= now}
    due = lots.due(held=held, now=now)
    assert sum(each.amount for each in due) == max(sum(ended.values()) - held, 0)
    assert [each.end for each in due] == sorted(each.end for each in due)
    kept = Counter(ended)
    kept.subtract({each.end: each.amount for each in due})
    assert min(kept.values(), default=0) >= 0
    for end, count in kept.items():
        later = [other for other in ended if other > end]
        assert count == ended[end] or all(kept[other] == 0 for other in later)
    left = Counter(lots.left)
    left.subtract({each.end: each.amount for each in due})
    assert lots.first_end(due) == min((end for end, count in left.items() if count), default=None)
    following = {end: count for end, count in lots.left.items() if end > now}
    assert lots.next_after(now) == min(following.items(), default=None)


@given(ledgers(), st.integers(0, 20), st.integers(0, 60))
def test_what_was_taken_is_not_due_again(made: list[Movement], held: int, hour: int) -> None:
    """When what is due is posted nothing is due; when the hold is over the rest is, under another
    key, and together that is all that has ended."""
    account, now = AccountId(uuid.UUID(int=1)), at(hour)
    lots = Lots.of(made)
    ended = sum(left for end, left in lots.left.items() if end <= now)
    keys = set()
    total = 0
    for still_held in (held, held // 2, 0):
        due = Lots.of(made).due(held=still_held, now=now)
        keys |= {each.request_id(account, "points") for each in due}
        total += len(due)
        made = made + [_posted(each, now=now) for each in due]
        assert Lots.of(made).due(held=still_held, now=now) == []
    assert len(keys) == total
    assert sum(each.amount for each in made) == sum(Lots.of(made).left.values()) + (
        Lots.of(made).endless
    )
    assert not [end for end in Lots.of(made).left if end <= now]
    taken = [each for each in made if each.reversed_entry_id is None and each.post_time == now]
    assert -sum(each.amount for each in taken if each.entry_id.int > 10**6) == ended


def _posted(expiry: Expiry, *, now: datetime) -> Movement:
    return Movement(
        entry_id=EntryId(uuid.UUID(int=expiry.request_id(AccountId(uuid.UUID(int=1)), "x").int)),
        kind=EntryKind.EXPIRE,
        amount=-expiry.amount,
        post_time=now,
        expire_time=expiry.end,
    )


def test_first_ending_first() -> None:
    """A holder's promise: of 100 that end in an hour, 100 that end in ten and 100 without end,
    spending 150 leaves 50 that end in ten and those without end."""
    lots = Lots.of(
        [
            _movement(1, 100),
            _movement(2, 100, end=10),
            _movement(3, 100, end=1),
            _movement(4, -150),
        ]
    )
    assert (lots.left, lots.endless) == ({at(10): 50}, 100)


def test_a_spending_taken_back_gives_back_what_it_took() -> None:
    """What comes back ends when it would have; what has ended meanwhile is due under a key of its
    own, though something of that end was taken before."""
    made = [
        _movement(1, 100, end=1),
        _movement(2, 100, end=10),
        _movement(3, -60),
        Movement(
            entry_id=EntryId(uuid.UUID(int=4)),
            kind=EntryKind.EXPIRE,
            amount=-40,
            post_time=at(2),
            expire_time=at(1),
        ),
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
        _movement(1, 100, end=1),
        Movement(
            entry_id=EntryId(uuid.UUID(int=2)),
            kind=EntryKind.EXPIRE,
            amount=-100,
            post_time=at(2),
            expire_time=at(1),
        ),
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
        _movement(1, 100, end=first),
        _movement(2, 100, end=second),
        Movement(
            entry_id=EntryId(uuid.UUID(int=3)),
            kind=EntryKind.REVERSAL,
            amount=-100,
            post_time=NOON,
            reversed_entry_id=EntryId(uuid.UUID(int=1)),
        ),
    ]
    assert Lots.of(made).left == left


def _movement(number: int, amount: int, *, end: int | None = None) -> Movement:
    return Movement(
        entry_id=EntryId(uuid.UUID(int=number)),
        kind=EntryKind.EARN if amount > 0 else EntryKind.BURN,
        amount=amount,
        post_time=NOON,
        expire_time=None if end is None else at(end),
    )
