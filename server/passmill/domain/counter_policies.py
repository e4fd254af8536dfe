"""What a program demands of staff at the counter, and what it shows them."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from passmill.domain.ids import ProgramId
from passmill.domain.offers import UnitAmount


class StaffDemand(enum.IntEnum):
    """Stored as its number."""

    LOOK_AT_PHOTO = 1
    ASK_FOR_ID = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandRule:
    """A demand, made when so much or more is at stake; always when `at_least` is None."""

    demand: StaffDemand
    at_least: UnitAmount | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterPolicy:
    """How passes of a program are treated. `photo_slot`, `tier_slot`, `attention_slots`: slots with
    the picture's address, the tier, texts for staff; empty for none."""

    program_id: ProgramId
    demands: tuple[DemandRule, ...] = ()
    photo_slot: str = ""
    tier_slot: str = ""
    attention_slots: tuple[str, ...] = ()

    def demanded(self, at_stake: Iterable[UnitAmount | None]) -> Sequence[StaffDemand]:
        """What is demanded when these amounts are at stake, each demand once, in their order."""
        stakes = [amount for amount in at_stake if amount is not None]
        made = {
            rule.demand
            for rule in self.demands
            if rule.at_least is None
            or any(
                amount.unit == rule.at_least.unit and amount.amount >= rule.at_least.amount
                for amount in stakes
            )
        }
        return sorted(made)
