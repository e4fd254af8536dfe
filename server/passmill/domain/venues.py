"""A venue: where passes are shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NewType
from uuid import UUID

VenueId = NewType("VenueId", UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """A shop, a gate, a museum. `partner`: which partner runs it; venues of one partner have the
    same; empty when the tenant itself does."""

    venue_id: VenueId
    display_name: str
    partner: str
    create_time: datetime
