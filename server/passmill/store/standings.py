"""What passes have had at the counter, read in one statement for a scanner that waits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from passmill.domain.ids import PassId
from passmill.domain.offers import ChainId, OfferId, UnitAmount
from passmill.domain.redemptions import (
    CheckIn,
    CheckInId,
    OfferUses,
    Redemption,
    RedemptionId,
)
from passmill.domain.scanners import ScannerId
from passmill.domain.venues import VenueId
from passmill.store.database import Transaction
from passmill.store.pass_origins import origin_row

LAST_USES: Final = 10
_OPEN_STAYS: Final = 20

_READ: Final = f"""
SELECT p.pass_id,
    (SELECT json_object_agg(o.offer_id, json_build_array(u.uses, u.first_use, u.venue_id))
        FROM unnest($3::uuid[]) AS o(offer_id)
        CROSS JOIN LATERAL (
            SELECT count(*) AS uses, min(r.scan_time) AS first_use,
                (array_agg(r.venue_id ORDER BY r.scan_time, r.redemption_id))[1] AS venue_id
            FROM redemptions r
            WHERE r.tenant_id = $1 AND r.pass_id = origin.pass_id AND r.offer_id = o.offer_id
                AND r.reverse_time IS NULL
        ) AS u
        WHERE u.uses > 0) AS uses,
    (SELECT json_agg(l ORDER BY l.redemption_id DESC) FROM (
        SELECT r.redemption_id, coalesce(r.shown_pass_id, r.pass_id) AS pass_id, r.offer_id,
            r.use_number, r.venue_id, r.scanner_id, r.key_id, r.staff, r.scan_time, r.create_time,
            r.is_offline, r.cost_unit, r.cost_amount, r.reverse_time, r.reverse_reason, r.chain_id
        FROM redemptions r WHERE r.tenant_id = $1 AND r.pass_id = origin.pass_id
        ORDER BY r.redemption_id DESC LIMIT $4) AS l) AS last_uses,
    (SELECT json_agg(s) FROM (
        SELECT c.check_in_id, c.venue_id, c.in_time, c.is_offline
        FROM check_ins c
        WHERE c.tenant_id = $1 AND c.pass_id = origin.pass_id AND c.out_time IS NULL
        ORDER BY c.check_in_id LIMIT $5) AS s) AS stays
FROM unnest($2::uuid[]) AS p(pass_id)
CROSS JOIN LATERAL {origin_row("p.pass_id")} AS origin
"""  # noqa: S608 - a name of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterHistory:
    """What a pass has had, with those whose place it took: uses of the offers asked about, the last
    uses of any, the newest first, and where it is checked in."""

    uses: Mapping[OfferId, OfferUses]
    last_uses: Sequence[Redemption]
    open_check_ins: Sequence[CheckIn]


async def read_histories(
    tx: Transaction, pass_ids: Sequence[PassId], offer_ids: Sequence[OfferId]
) -> dict[PassId, CounterHistory]:
    """The histories of passes, by pass."""
    rows = await tx.fetch(_READ, tx.tenant_id, pass_ids, offer_ids, LAST_USES, _OPEN_STAYS)
    histories = {}
    for row in rows:
        pass_id = PassId(UUID(int=row["pass_id"].int))
        histories[pass_id] = CounterHistory(
            uses={
                OfferId(UUID(offer_id)): OfferUses(
                    uses=uses,
                    first_use_time=datetime.fromisoformat(first_use),
                    first_use_venue_id=_venue(venue_id),
                )
                for offer_id, (uses, first_use, venue_id) in _loaded(row["uses"], {}).items()
            },
            last_uses=[_use(each) for each in _loaded(row["last_uses"], [])],
            open_check_ins=[_stay(pass_id, each) for each in _loaded(row["stays"], [])],
        )
    return histories


def _loaded(text: str | None, default: Any) -> Any:
    return default if text is None else json.loads(text)


def _venue(text: str | None) -> VenueId | None:
    return None if text is None else VenueId(UUID(text))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _use(each: Mapping[str, Any]) -> Redemption:
    scanner_id, unit, chain_id = each["scanner_id"], each["cost_unit"], each["chain_id"]
    return Redemption(
        redemption_id=RedemptionId(UUID(each["redemption_id"])),
        pass_id=PassId(UUID(each["pass_id"])),
        offer_id=OfferId(UUID(each["offer_id"])),
        use_number=each["use_number"],
        venue_id=_venue(each["venue_id"]),
        scanner_id=None if scanner_id is None else ScannerId(UUID(scanner_id)),
        key_id=each["key_id"],
        staff=each["staff"],
        scan_time=datetime.fromisoformat(each["scan_time"]),
        create_time=datetime.fromisoformat(each["create_time"]),
        is_offline=each["is_offline"],
        cost=None if unit is None else UnitAmount(unit=unit, amount=each["cost_amount"]),
        reverse_time=_time(each["reverse_time"]),
        reverse_reason=each["reverse_reason"],
        chain_id=None if chain_id is None else ChainId(UUID(chain_id)),
    )


def _stay(pass_id: PassId, each: Mapping[str, Any]) -> CheckIn:
    return CheckIn(
        check_in_id=CheckInId(UUID(each["check_in_id"])),
        pass_id=pass_id,
        venue_id=VenueId(UUID(each["venue_id"])),
        in_time=datetime.fromisoformat(each["in_time"]),
        out_time=None,
        is_offline=each["is_offline"],
    )
