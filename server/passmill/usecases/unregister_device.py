"""End a device's registration for a pass, as it asks."""

from __future__ import annotations

from passmill.domain.clock import Clock
from passmill.errors import not_found
from passmill.store import devices, registrations
from passmill.store.database import Database
from passmill.usecases.authenticate_pass import AuthenticPass


class UnregisterDevice:
    """Ends registrations."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, authentic: AuthenticPass, device_library_identifier: str) -> None:
        """Ends the registration; it is fine when there is none. A device that has no other one is
        not pushed to any more.

        AppError NOT_FOUND when there is no such pass, of another pass type, or its tokens are of
        another generation; UNAVAILABLE, DEADLINE_EXCEEDED.
        """
        async with self._database.transaction(authentic.caller) as tx:
            device = await devices.lock_device(
                tx,
                pass_type_identifier=authentic.pass_type_identifier,
                device_library_identifier=device_library_identifier,
            )
            is_pass = await registrations.unregister(
                tx,
                authentic.key,
                None if device is None else device.device_number,
                now=self._clock.now(),
            )
            if not is_pass:
                raise not_found("pass")
