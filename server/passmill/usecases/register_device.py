"""Register a device for updates of a pass."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from passmill.domain.clock import Clock
from passmill.domain.registrations import DeviceClaim
from passmill.errors import AppError, Reason, not_found
from passmill.store import devices, push_jobs, registrations
from passmill.store.database import Database
from passmill.store.registrations import NotRegistered, Registered
from passmill.usecases.authenticate_pass import AuthenticPass

_TRIES: Final = 10  # each but the first because the device has just given yet another token
# A pass that changed so recently may have been downloaded before: the device is pushed to, after it
# has had time to finish adding the pass.
_JUST_CHANGED: Final = timedelta(minutes=10)
_PUSHED_AFTER: Final = timedelta(seconds=5)


class RegisterDevice:
    """Registers devices. Those of one device happen one after the other: the token that is kept is
    that of the last one to commit."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, authentic: AuthenticPass, claim: DeviceClaim) -> bool:
        """Registers the device for the pass, and takes its push token for all of its passes; True
        when it was not registered before.

        `claim.push_token` has been through `check_push_token`. AppError NOT_FOUND when there is no
        such pass, of another pass type, or its tokens are of another generation; UNAVAILABLE,
        DEADLINE_EXCEEDED.
        """
        registered = await self._register(authentic, claim)
        if registered.is_new and claim.wallet.is_pushed:
            await self._push_if_just_changed(authentic, registered)
        return registered.is_new

    async def _register(self, authentic: AuthenticPass, claim: DeviceClaim) -> Registered:
        async with self._database.statement(authentic.caller) as tx:
            outcome = await registrations.register(tx, authentic.key, claim, now=self._clock.now())
        for _ in range(_TRIES):
            match outcome:
                case Registered():
                    return outcome
                case NotRegistered.NO_SUCH_PASS:
                    raise not_found("pass")
                case NotRegistered.OTHER_TOKEN:
                    outcome = await self._with_new_token(authentic, claim)
        raise AppError(
            reason=Reason.UNAVAILABLE,
            message="The device gives another token all the time. Retry.",
            retry_after=timedelta(seconds=1),
        )

    async def _with_new_token(
        self, authentic: AuthenticPass, claim: DeviceClaim
    ) -> Registered | NotRegistered:
        async with self._database.transaction(authentic.caller) as tx:
            device = await devices.lock_device(
                tx,
                pass_type_identifier=claim.pass_type_identifier,
                device_library_identifier=claim.device_library_identifier,
            )
            if device is not None and device.push_token != claim.push_token:
                await registrations.take_token(tx, device.device_number, claim.push_token)
            outcome = await registrations.register(tx, authentic.key, claim, now=self._clock.now())
            if outcome is NotRegistered.NO_SUCH_PASS:
                raise not_found("pass")  # rolls back: whoever has no pass gives us no token
            return outcome

    async def _push_if_just_changed(self, authentic: AuthenticPass, registered: Registered) -> None:
        """The change found nobody to push to, and the device asks for no list by itself: without
        this it would show the old content until the next change."""
        change_time = registered.change_time
        if change_time is None or change_time < self._clock.now() - _JUST_CHANGED:
            return
        async with self._database.transaction(authentic.caller) as tx:
            await push_jobs.enqueue_device_push(tx, [registered.device_number], delay=_PUSHED_AFTER)
