"""Fetches what offline checks need, while the service is reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC

from passmill_pos.offline_bundle import BundleFile, OfflineBundle
from passmill_pos.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """The bundle that is kept now. `is_unchanged`: only its times are new."""

    bundle: OfflineBundle
    is_unchanged: bool


def sync_bundle(service: Service, file: BundleFile, *, venue_id: str) -> Synced:
    """Fetches the bundle and keeps it. PassmillError, OSError: the one before stays."""
    known = file.read()
    answer = service.offline_bundle(b"" if known is None else known.digest)
    offers = service.offers(venue_id=venue_id)
    create_time = answer.create_time.ToDatetime(UTC)
    valid_until = answer.valid_until.ToDatetime(UTC)
    max_uses = {offer.offer_id: offer.max_uses for offer in offers}
    is_unchanged = known is not None and answer.is_unchanged
    if known is not None and answer.is_unchanged:
        bundle = replace(known, create_time=create_time, valid_until=valid_until, max_uses=max_uses)
    else:
        bundle = OfflineBundle(
            tenant_id=int(answer.tenant_id),
            keys={key.key_id: key.public_key for key in answer.keys},
            voided=answer.voided,
            digest=answer.digest,
            create_time=create_time,
            valid_until=valid_until,
            max_uses=max_uses,
        )
    file.write(bundle)
    return Synced(bundle=bundle, is_unchanged=is_unchanged)
