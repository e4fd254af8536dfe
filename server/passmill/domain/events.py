"""What happened in a tenant, as the outbox keeps it and watchers are told."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID


class EventKind(enum.StrEnum):
    """Stored as its text. What each tells, proto/passmill/v1/event.proto says."""

    PASS_ISSUED = "pass.issued"  # noqa: S105 - words of ours, not passwords
    PASS_UPDATED = "pass.updated"  # noqa: S105
    PASS_VOIDED = "pass.voided"  # noqa: S105
    PASS_REINSTATED = "pass.reinstated"  # noqa: S105
    PASS_INSTALLED = "pass.installed"  # noqa: S105
    PASS_REMOVED = "pass.removed"  # noqa: S105
    PASS_FIRST_FETCHED = "pass.first_fetched"  # noqa: S105
    PASS_PUSH_REQUESTED = "pass.push_requested"  # noqa: S105
    PASS_PERSONALIZED = "pass.personalized"  # noqa: S105
    PASS_OVER_SHARED = "pass.over_shared"  # noqa: S105
    PASS_REISSUED = "pass.reissued"  # noqa: S105
    CAMPAIGN_CREATED = "campaign.created"
    CAMPAIGN_STARTED = "campaign.started"
    CAMPAIGN_PAUSED = "campaign.paused"
    CAMPAIGN_RESUMED = "campaign.resumed"
    CAMPAIGN_ENDED = "campaign.ended"
    CAMPAIGN_SHARD_DONE = "campaign.shard_done"
    PROGRAM_CREATED = "program.created"
    PROGRAM_UPDATED = "program.updated"
    PROGRAM_ARCHIVED = "program.archived"
    TEMPLATE_CREATED = "template.created"
    TEMPLATE_UPDATED = "template.updated"
    TEMPLATE_PUBLISHED = "template.published"
    TEMPLATE_ARCHIVED = "template.archived"
    ASSET_UPLOADED = "asset.uploaded"
    TENANT_STATE_SET = "tenant.state_set"
    API_KEY_CREATED = "api_key.created"
    API_KEY_REVOKED = "api_key.revoked"
    SIGNING_IDENTITY_UPLOADED = "signing_identity.uploaded"
    SIGNING_IDENTITY_ACTIVATED = "signing_identity.activated"
    BARCODE_KEY_CREATED = "barcode_key.created"
    BARCODE_KEY_REVOKED = "barcode_key.revoked"
    CLAIM_LINK_CREATED = "claim_link.created"
    CLAIM_LINK_REVOKED = "claim_link.revoked"
    CLAIM_COMPLETED = "claim.completed"
    CLAIM_RECOVERY_REQUESTED = "claim.recovery_requested"
    BALANCE_POSTED = "balance.posted"
    PASS_REDEEMED = "pass.redeemed"  # noqa: S105
    PASS_REDEMPTION_REVERSED = "pass.redemption_reversed"  # noqa: S105
    PASS_CHECKED_IN = "pass.checked_in"  # noqa: S105
    PASS_CHECKED_OUT = "pass.checked_out"  # noqa: S105
    SCAN_CONFLICT = "scan.conflict"
    VENUE_CREATED = "venue.created"
    OFFER_CREATED = "offer.created"
    OFFER_UPDATED = "offer.updated"
    OFFER_ARCHIVED = "offer.archived"
    SCANNER_CODE_CREATED = "scanner.code_created"
    SCANNER_ENROLLED = "scanner.enrolled"
    SCANNER_REVOKED = "scanner.revoked"
    COUNTER_POLICY_SET = "counter_policy.set"
    CHAIN_SET = "chain.set"
    CHAIN_ARCHIVED = "chain.archived"
    HOLDER_IDENTITY_MOVED = "holder.identity_moved"
    HOLDER_PASS_MOVED = "holder.pass_moved"  # noqa: S105
    HOLDER_ERASED = "holder.erased"


class EventPlace(NamedTuple):
    """A place in the order in which events are told: by the transaction that wrote them, then by
    their ids. Places compare as the order does."""

    transaction_id: int
    event_id: UUID


BEGINNING: Final = EventPlace(0, UUID(int=0))
"""Before every event."""


def place_before(transaction_id: int) -> EventPlace:
    """Behind all events of earlier transactions."""
    return EventPlace(transaction_id - 1, UUID(int=(1 << 128) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. `kind`: None for one that a newer release wrote. `pass_ids`: in
    canonical form, as they are only told. `detail`: what its kind says besides."""

    place: EventPlace
    kind: EventKind | None
    pass_ids: Sequence[str]
    detail: Mapping[str, object]
    create_time: datetime

    @property
    def event_id(self) -> UUID:
        """The same each time it is told."""
        return self.place.event_id


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Some events in their order. `place`: where to go on. `is_last`: nothing more was there."""

    events: Sequence[Event] = field(default=())
    place: EventPlace
    is_last: bool
