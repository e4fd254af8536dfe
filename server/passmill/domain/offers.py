"""Offers: what may be had for showing a pass."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType
from uuid import UUID

from passmill.domain.ids import ProgramId, TemplateId
from passmill.domain.values import (
    SlotType,
    Value,
    slot_type_of,
    value_from_json,
    value_to_json,
)
from passmill.domain.venues import VenueId

OfferId = NewType("OfferId", UUID)
ChainId = NewType("ChainId", UUID)


class OfferState(enum.IntEnum):
    """Stored as its number."""

    ACTIVE = 1
    ARCHIVED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitAmount:
    """An amount in a unit's smallest part: ("points", 20), ("EUR", 250)."""

    unit: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferMark:
    """How a pass shows that an offer was used.

    `uses_slot`: an integer slot that gets how often, empty for none. `used_up_values`: what slots
    become when it is used up. `void_when_used_up`: make the pass unusable then.
    """

    uses_slot: str = ""
    used_up_values: Mapping[str, Value] = field(default_factory=dict)
    void_when_used_up: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no pass ever shows it."""
        return not (self.uses_slot or self.used_up_values or self.void_when_used_up)

    def to_json(self) -> str:
        """The stored form: values with the types of the slots that take them."""
        values = {
            name: [slot_type_of(value), value_to_json(value)]
            for name, value in self.used_up_values.items()
        }
        return json.dumps(
            [self.uses_slot, values, self.void_when_used_up],
            separators=(",", ":"),
            sort_keys=True,
        )


def mark_from_json(text: str) -> OfferMark:
    """What `OfferMark.to_json` wrote."""
    uses_slot, stored, void_when_used_up = json.loads(text)
    values = {name: value_from_json(SlotType(kind), raw) for name, (kind, raw) in stored.items()}
    return OfferMark(
        uses_slot=uses_slot, used_up_values=values, void_when_used_up=void_when_used_up
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What may be had, by which passes, how often, where and when.

    `template_id`: None for all passes of the program; else it is what passes of that template stand
    for. `max_uses`: of each pass; 0 without end. `cost`: taken from the pass's balance with each
    use. `worth`: for what is demanded of staff. `venue_ids`, `tiers`: empty for all. `chain_id`: of
    which chain it is a step, for good; None for none.
    """

    offer_id: OfferId
    program_id: ProgramId
    template_id: TemplateId | None
    display_name: str
    max_uses: int
    cost: UnitAmount | None
    worth: UnitAmount | None
    valid_from: datetime | None
    valid_until: datetime | None
    venue_ids: tuple[VenueId, ...]
    tiers: tuple[str, ...]
    attention: str
    mark: OfferMark
    state: OfferState
    version: int
    create_time: datetime
    update_time: datetime
    chain_id: ChainId | None = None

    @property
    def etag(self) -> str:
        """Changes with each change."""
        return f"v{self.version}"

    def is_used_up(self, uses: int) -> bool:
        """Whether a pass that has used it so often cannot use it again."""
        return 0 < self.max_uses <= uses

    def is_at(self, venue_id: VenueId | None) -> bool:
        """Whether it is to be had at a venue; nowhere said is nowhere of those it names."""
        return not self.venue_ids or venue_id in self.venue_ids
