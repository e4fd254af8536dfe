"""Tell a device which of its passes changed since it asked last.

A change carries the number of its transaction, and transactions do not commit in the order of their
numbers. So a device is given back no tag beyond which something may still commit: the larger ones
it is told of are told once more the next time, and none is ever skipped.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from passmill.domain.callers import internal_caller
from passmill.domain.clock import Clock
from passmill.domain.registrations import (
    UpdatedPasses,
    UpdateTag,
    is_device_library_identifier,
)
from passmill.store import devices, registrations
from passmill.store.database import Database
from passmill.store.registrations import Listing
from passmill.usecases.pass_types import PassTypes
from passmill.usecases.tenant_numbers import TenantNumbers

_SEEN_WITHIN: Final = timedelta(hours=1)


class ListUpdatedPasses:
    """Lists what is new for a device."""

    def __init__(
        self, *, database: Database, pass_types: PassTypes, numbers: TenantNumbers, clock: Clock
    ) -> None:
        self._database = database
        self._pass_types = pass_types
        self._numbers = numbers
        self._clock = clock

    async def __call__(
        self,
        device_library_identifier: str,
        pass_type_identifier: str,
        since: UpdateTag,
        *,
        deadline: float,
    ) -> UpdatedPasses | None:
        """The device's passes of this type that changed after `since`, None when there is none, or
        no such device or pass type. What it is told is remembered before it hears it.

        `deadline`: by the event loop's clock. AppError UNAVAILABLE, DEADLINE_EXCEEDED.
        """
        listings: list[Listing] = []
        if not is_device_library_identifier(device_library_identifier):
            return None
        for tenant_id in await self._pass_types.tenants(pass_type_identifier, deadline=deadline):
            caller = internal_caller(tenant_id, deadline=deadline)
            async with self._database.statement(caller) as tx:
                listing = await registrations.list_changed(
                    tx,
                    pass_type_identifier=pass_type_identifier,
                    device_library_identifier=device_library_identifier,
                    since=since,
                )
            if listing is not None:
                listings.append(listing)
        if not listings:
            return None
        last_updated = _last_updated(listings)
        await self._remember(listings, last_updated, deadline=deadline)
        if last_updated is None:
            return None
        serial_numbers: list[str] = []
        for listing in listings:
            caller = internal_caller(listing.tenant_id, deadline=deadline)
            numbers = await self._numbers.serial_numbers(caller)
            serial_numbers += [numbers.of(pass_id) for pass_id in listing.pass_ids]
        return UpdatedPasses(serial_numbers=serial_numbers, last_updated=last_updated)

    async def _remember(
        self, listings: list[Listing], last_updated: UpdateTag | None, *, deadline: float
    ) -> None:
        """Writes down what the device is told, and, to the hour, that it was seen."""
        now = self._clock.now()
        for listing in listings:
            if _is_remembered(listing, last_updated, now):
                continue
            caller = internal_caller(listing.tenant_id, deadline=deadline)
            async with self._database.statement(caller) as tx:
                await devices.note_listed(tx, listing.device_number, tag=last_updated, now=now)


def _last_updated(listings: list[Listing]) -> UpdateTag | None:
    """The tag to ask with the next time: the largest that is told, but none beyond which a change
    of any of the tenants may still commit. None when nothing is told."""
    newest = max(listing.newest for listing in listings)
    complete = min(listing.complete for listing in listings)
    return UpdateTag(min(newest, complete)) if newest else None


def _is_remembered(listing: Listing, last_updated: UpdateTag | None, now: datetime) -> bool:
    return listing.last_seen_time > now - _SEEN_WITHIN and (
        last_updated is None or last_updated == listing.listed_tag
    )
