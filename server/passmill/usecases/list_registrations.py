"""List the devices of a pass."""

from __future__ import annotations

from passmill.domain.callers import Caller
from passmill.domain.device_statistics import ListedRegistration
from passmill.domain.registrations import DeviceNumber
from passmill.store import device_statistics
from passmill.store.database import Database
from passmill.usecases.find_pass import FindPass, PassRef


class ListRegistrations:
    """Reads a pass's registrations, with what their devices were pushed and told."""

    def __init__(self, *, database: Database, find_pass: FindPass) -> None:
        self._database = database
        self._find_pass = find_pass

    async def __call__(
        self,
        caller: Caller,
        ref: PassRef,
        *,
        include_removed: bool,
        after: DeviceNumber,
        at_most: int,
    ) -> list[ListedRegistration]:
        """The registrations by device number, those after `after` (0 for all). AppError
        NOT_FOUND."""
        found = await self._find_pass(caller, ref)
        async with self._database.statement(caller) as tx:
            return await device_statistics.list_registrations(
                tx,
                found.wallet_pass.pass_id,
                include_removed=include_removed,
                after=after,
                at_most=at_most,
            )
