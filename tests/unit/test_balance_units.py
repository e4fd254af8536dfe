"""How much of a sale is paid, which tier is reached, which units and tiers are taken."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.balance_units import (
    BalanceRules,
    BalanceUnit,
    SalePayment,
    Tier,
    UnitKind,
    admit_tiers,
    admit_unit,
)
from passmill.domain.ids import ProgramId
from passmill.domain.ledger import Balance, EntryKind, EntryRefusal, HoldState, NewEntry
from passmill.domain.money import Money
from passmill.errors import AppError
from passmill.v1 import balance_pb2
from tests.support.ledgers import NOON, draft, new_account

POINTS = BalanceUnit(program_id=ProgramId(uuid.uuid4()), unit="points", kind=UnitKind.POINTS)
LADDER = (
    Tier(tier="silver", unit="points", at_least=0),
    Tier(tier="gold", unit="points", at_least=100),
    Tier(tier="platinum", unit="points", at_least=500, within_days=30),
)


def worth(amount: int, minor_units: int, currency: str) -> SalePayment:
    """So many of a unit are worth so much, for 30 % of a sale."""
    value = Money(minor_units=minor_units, currency=currency)
    return SalePayment(max_share_percent=30, amount=amount, value=value)


amounts = st.integers(min_value=0, max_value=10**12)
rates = st.integers(min_value=1, max_value=10**6)


@given(
    total=st.integers(min_value=1, max_value=10**12),
    at_most=amounts,
    share=st.integers(min_value=1, max_value=100),
    amount=rates,
    worth=rates,
)
def test_a_sale_is_paid_fairly(
    *, total: int, at_most: int, share: int, amount: int, worth: int
) -> None:
    """Never more than the share, nor than there is; what is paid is what the points are worth, in
    whole minor units; one point less would pay less."""
    taken, paid = paid_by(total, at_most, share=share, rate=(amount, worth))
    assert 0 <= taken <= at_most
    assert 100 * paid <= share * total
    assert paid == taken * worth // amount
    assert taken == 0 or (taken - 1) * worth // amount < paid


@given(
    total=st.integers(min_value=1, max_value=300),
    at_most=st.integers(min_value=0, max_value=40),
    amount=st.integers(min_value=1, max_value=12),
    worth=st.integers(min_value=1, max_value=12),
)
def test_a_sale_is_paid_as_far_as_it_goes(
    *, total: int, at_most: int, amount: int, worth: int
) -> None:
    """Of all numbers of points that there are, none pays more and stays within the share."""
    _, paid = paid_by(total, at_most, share=30, rate=(amount, worth))
    values = [points * worth // amount for points in range(at_most + 1)]
    assert paid == max(each for each in values if each <= total * 30 // 100)


def paid_by(total: int, at_most: int, *, share: int, rate: tuple[int, int]) -> tuple[int, int]:
    """How many points pay how much. `rate`: so many points are worth so many cents."""
    amount, worth = rate
    payment = SalePayment(
        max_share_percent=share, amount=amount, value=Money(minor_units=worth, currency="EUR")
    )
    taken, paid = payment.part_of(Money(minor_units=total, currency="EUR"), at_most=at_most)
    return taken, paid.minor_units


@pytest.mark.parametrize(
    ("ever", "lately", "tier"),
    [
        (0, 0, "silver"),
        (99, 99, "silver"),
        (100, 0, "gold"),
        (499, 499, "gold"),
        (500, 499, "gold"),
        (500, 500, "platinum"),
        (0, 500, "platinum"),
    ],
)
def test_the_highest_tier_reached(ever: int, lately: int, tier: str) -> None:
    """The tier is the highest whose threshold is reached within its days."""
    rules = BalanceRules(units={"points": POINTS}, tiers=LADDER)
    assert rules.windows == {30}
    reached = rules.tier_of({0: ever, 30: lately})
    assert reached is not None
    assert reached.tier == tier


def test_no_tier_is_reached() -> None:
    """Below the lowest threshold there is no tier, and its slot goes back to its default."""
    rules = BalanceRules(
        units={"points": replace(POINTS, slot="points")},
        tiers=[Tier(tier="gold", unit="points", at_least=5, slot="tier", slot_value="Gold")],
    )
    assert rules.tier_of({0: 4}) is None
    assert rules.values({}, None) == {"points": 0, "tier": None}
    assert rules.values({}, rules.tiers[0]) == {"points": 0, "tier": "Gold"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"unit": "EUR"},
        {"unit": "euro", "kind": UnitKind.MONEY},
        {"unit": "XXQ", "kind": UnitKind.MONEY},
        {"sale_payment": worth(1, 0, "EUR")},
        {"sale_payment": worth(1, 1, "XXQ")},
        {"unit": "EUR", "kind": UnitKind.MONEY, "sale_payment": worth(2, 1, "EUR")},
        {"unit": "EUR", "kind": UnitKind.MONEY, "sale_payment": worth(1, 1, "CHF")},
    ],
)
def test_units_that_are_none(wrong: dict[str, object]) -> None:
    """Money is a currency and is worth itself; what is no money has no currency's name; what a sale
    is paid by is worth something."""
    with pytest.raises(AppError, match="INVALID_FIELD"):
        admit_unit(replace(POINTS, **wrong))  # type: ignore[arg-type]


def test_units_that_fit() -> None:
    """Points worth cents, and money worth itself, are taken as they are."""
    for unit in (
        POINTS,
        replace(POINTS, sale_payment=worth(100, 1, "EUR")),
        replace(POINTS, unit="EUR", kind=UnitKind.MONEY, sale_payment=worth(1, 1, "EUR")),
    ):
        assert admit_unit(unit) == unit


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        (0, {"unit": "miles"}),
        (1, {"unit": "stamps"}),
        (1, {"tier": "silver"}),
        (1, {"at_least": 0}),
        (2, {"slot_value": "a\x00b"}),
    ],
)
def test_tiers_that_are_no_ladder(at: int, wrong: dict[str, object]) -> None:
    """All tiers count one unit of the program, have names of their own, each wants more than the
    one below, and shows what a pass may hold."""
    units = {name: replace(POINTS, unit=name) for name in ("points", "stamps")}
    assert admit_tiers(LADDER, units) == list(LADDER)
    tiers = [*LADDER]
    tiers[at] = replace(tiers[at], **wrong)  # type: ignore[arg-type]
    with pytest.raises(AppError, match="INVALID_FIELD"):
        admit_tiers(tiers, units)


@given(
    balance=st.integers(min_value=0, max_value=10**15 - 1),
    held=amounts,
    amount=st.integers(min_value=-(10**12), max_value=10**12),
)
def test_the_model_refuses_what_the_constraints_do(balance: int, held: int, amount: int) -> None:
    """What is let in leaves a balance that covers what is held and is not too large."""
    held = min(held, balance)
    account = new_account()
    before = Balance(account_id=account, unit="points", balance=balance, held=held)
    entry: NewEntry = draft(account, amount, occur_time=NOON)
    fits = held <= balance + amount < 10**15
    assert (before.refusal_of(entry) is None) == fits


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (EntryKind, balance_pb2.EntryKind),
        (EntryRefusal, balance_pb2.EntryRefusal),
        (HoldState, balance_pb2.Hold.State),
        (UnitKind, balance_pb2.BalanceUnit.Kind),
    ],
)
def test_numbers_are_the_protocols(ours: type[EntryKind], theirs: type[EntryKind]) -> None:
    """Each kind, state and refusal has the name and number that the protocol gives it, and none is
    missing."""
    named = {each.name: each.value for each in ours}
    wire = {
        name: number
        for name, number in theirs.items()  # type: ignore[attr-defined]
        if number
    }
    stripped = {
        next(known for known in named if name.endswith(f"_{known}")): number
        for name, number in wire.items()
    }
    assert stripped == named
