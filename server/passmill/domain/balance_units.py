"""What a program counts, how sales are paid by it, and which tier was earned."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from passmill.domain.ids import ProgramId
from passmill.domain.ledger import Balance
from passmill.domain.money import CURRENCY_DECIMALS, Money
from passmill.domain.values import InvalidValue, Value, normalise_text
from passmill.errors import invalid_field

MOST_UNITS: Final = 32
_LONGEST_NAME: Final = 200
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


class UnitKind(enum.IntEnum):
    """Stored as its number, which is the protocol's too."""

    POINTS = 1
    STAMPS = 2
    MONEY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SalePayment:
    """How sales are paid by a unit: up to `max_share_percent` of their total, where `amount` of the
    unit is worth `value`."""

    max_share_percent: int
    amount: int
    value: Money

    def part_of(self, total: Money, *, at_most: int) -> tuple[int, Money]:
        """How much of the unit, of `at_most`, pays for a sale of `total` (of the same currency),
        and what that is worth: as much as the share allows, and no more of the unit than that worth
        needs. Where 3 are worth 1 cent that is 3 or 6, never 5; where 1 is worth 10 cents a share
        of 25 cents takes 2. (0, nothing) where it is worth nothing."""
        worth = self.value.minor_units
        share = max(total.minor_units, 0) * self.max_share_percent // 100
        most = ((share + 1) * self.amount - 1) // worth  # one more would be worth more
        paid = min(at_most, most) * worth // self.amount
        taken = -(-paid * self.amount // worth)
        return taken, Money(minor_units=paid, currency=total.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceUnit:
    """What a program counts. `slot`: of its passes, that shows the balance; empty for none."""

    program_id: ProgramId
    unit: str
    kind: UnitKind
    slot: str = ""
    sale_payment: SalePayment | None = None

    def shown(self, balance: int) -> Value:
        """A balance as its slot takes it."""
        if self.kind is UnitKind.MONEY:
            return Money(minor_units=balance, currency=self.unit)
        return balance


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A step of a program's ladder. `within_days`: what counts was earned in so many days before
    now; 0 for ever."""

    tier: str
    unit: str
    at_least: int
    within_days: int = 0
    slot: str = ""
    slot_value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRules:
    """All that a program says of balances. `units` by name, `tiers` from the lowest."""

    units: Mapping[str, BalanceUnit]
    tiers: Sequence[Tier] = ()

    @property
    def windows(self) -> frozenset[int]:
        """The numbers of days for which tiers want to know what was earned."""
        return frozenset(each.within_days for each in self.tiers if each.within_days)

    def tier_of(self, earned: Mapping[int, int]) -> Tier | None:
        """The highest tier reached. `earned`: by number of days; under 0 what was earned ever."""
        reached = [each for each in self.tiers if earned[each.within_days] >= each.at_least]
        return reached[-1] if reached else None

    def values(
        self, balances: Mapping[str, Balance], tier: Tier | None
    ) -> Mapping[str, Value | None]:
        """What slots show of an account that has these balances, by unit, and this tier. None: the
        slot's default."""
        shown: dict[str, Value | None] = {
            each.slot: each.shown(balances[each.unit].balance if each.unit in balances else 0)
            for each in self.units.values()
            if each.slot
        }
        shown |= {each.slot: None for each in self.tiers if each.slot}
        if tier is not None and tier.slot:
            shown[tier.slot] = tier.slot_value
        return shown


def admit_unit(unit: BalanceUnit) -> BalanceUnit:
    """The unit as given. AppError INVALID_FIELD when its parts do not fit each other."""
    is_money = unit.kind is UnitKind.MONEY
    if is_money and unit.unit not in CURRENCY_DECIMALS:
        raise invalid_field("balance_unit.unit", "of money must be a currency's code in ISO 4217")
    if not is_money and not _NAME.fullmatch(unit.unit):
        raise invalid_field("balance_unit.unit", "in capitals is for money")
    if (payment := unit.sale_payment) is None:
        return unit
    if payment.value.currency not in CURRENCY_DECIMALS:
        path = "balance_unit.sale_payment.value.currency_code"
        raise invalid_field(path, "must be a currency's code in ISO 4217")
    if not 1 <= payment.value.minor_units <= 10**9:
        path = "balance_unit.sale_payment.value.minor_units"
        raise invalid_field(path, "must be from 1 to 1,000,000,000")
    itself = (1, Money(minor_units=1, currency=unit.unit))
    if is_money and (payment.amount, payment.value) != itself:
        raise invalid_field("balance_unit.sale_payment.value", "of money must be 1 for 1 of itself")
    return unit


def admit_tiers(tiers: Sequence[Tier], units: Mapping[str, BalanceUnit]) -> Sequence[Tier]:
    """The tiers, their texts normalised. AppError INVALID_FIELD when they are no ladder."""
    for at, tier in enumerate(tiers):
        if tier.unit not in units:
            raise invalid_field(f"tiers[{at}].unit", "is no unit of the program")
        if tier.unit != tiers[0].unit:
            raise invalid_field(f"tiers[{at}].unit", "must be the same of all tiers")
        if tier.tier in [each.tier for each in tiers[:at]]:
            raise invalid_field(f"tiers[{at}].tier", "is the name of another tier too")
        if at and tier.at_least <= tiers[at - 1].at_least:
            raise invalid_field(f"tiers[{at}].at_least", "must be more than of the tier below")
    return [
        replace(tier, slot_value=_shown(tier, path=f"tiers[{at}].slot_value"))
        for at, tier in enumerate(tiers)
    ]


def _shown(tier: Tier, *, path: str) -> str:
    try:
        return normalise_text(tier.slot_value, max_length=_LONGEST_NAME)
    except InvalidValue as error:
        raise invalid_field(path, str(error)) from error


def past_or_now(occur_time: datetime | None, now: datetime) -> datetime:
    """When something happened that a till says happened then: not in the future, whatever its clock
    says."""
    return now if occur_time is None else min(occur_time, now)
