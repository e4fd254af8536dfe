"""Register a device for updates of a pass."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from passmill.domain.clock import Clock
from passmill.domain.registrations import DeviceClaim, DeviceNumber
from passmill.errors import AppError, Reason, not_found
from passmill.store import devices, push_jobs, registrations
from passmill.store.database import Database, Transaction
from passmill.store.devices import LockedDevice
from passmill.store.registrations import NotRegistered, Registered
from passmill.store.sharing import Newcomer
from passmill.usecases.admit_device import AdmitDevice
from passmill.usecases.authenticate_pass import AuthenticPass

_TRIES: Final = 10  # each but the first because the device has just given yet another token
_PUSHED_AFTER: Final = timedelta(seconds=5)  # time to finish adding the pass
_FULL_FOR: Final = timedelta(hours=1)


class RegisterDevice:
    """Registers devices. Those of one device happen one after the other: the token that is kept is
    that of the last one to commit."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._admit = AdmitDevice(clock=clock)

    async def __call__(self, authentic: AuthenticPass, claim: DeviceClaim) -> bool:
        """Registers the device for the pass, and takes its push token for all of its passes; True
        when it was not registered before. Where the template has a sharing policy, a device that
        does not have the pass yet is admitted by that or refused.

        `claim.push_token` has been through `check_push_token`. AppError NOT_FOUND when there is no
        such pass, of another pass type, or its tokens are of another generation; RATE_LIMITED when
        as many other devices have it as may have any pass, TOO_MANY_DEVICES as may have this one;
        UNAVAILABLE, DEADLINE_EXCEEDED.
        """
        # Mostly one statement: there is nothing to push of a pass that is as it was issued.
        async with self._database.statement(authentic.caller) as tx:
            outcome = await self._register(
                tx, authentic, claim, only_as_issued=claim.wallet.is_pushed
            )
        tries = 0
        while not isinstance(outcome, Registered):
            if tries == _TRIES:
                raise AppError(
                    reason=Reason.UNAVAILABLE,
                    message="The device gives another token all the time. Retry.",
                    retry_after=timedelta(seconds=1),
                )
            tries += 1
            outcome = await self._in_steps(authentic, claim, outcome)
        return outcome.is_new

    async def _register(
        self,
        tx: Transaction,
        authentic: AuthenticPass,
        claim: DeviceClaim,
        *,
        only_as_issued: bool = False,
        is_admitted: bool = False,
        is_pushed_to: bool = False,
    ) -> Registered | NotRegistered:
        """PASS_CHANGED, OTHER_TOKEN or LIMITED when it takes more than one statement; what the
        first has left behind, should nothing come of it, ForgetDevices finds. An error rolls back:
        whoever gets no registration gives us no token. `is_pushed_to`: a push to the device is
        queued already."""
        outcome = await registrations.register(
            tx,
            authentic.key,
            claim,
            only_as_issued=only_as_issued,
            is_admitted=is_admitted,
            now=self._clock.now(),
        )
        match outcome:
            case Registered():
                is_missing = outcome.is_new and outcome.is_changed and not is_pushed_to
                if is_missing and claim.wallet.is_pushed:
                    # The change may have found nobody to push to, and the pass may have been
                    # downloaded before it; who fetches a pass does not say which device it is. The
                    # device asks for no list by itself: without this it would show the old content
                    # until the next change.
                    await _push_soon(tx, outcome.device_number)
                return outcome
            case NotRegistered.NO_SUCH_PASS:
                raise not_found("pass")
            case NotRegistered.TOO_MANY_DEVICES:
                raise AppError(
                    reason=Reason.RATE_LIMITED,
                    message="The pass is on as many devices as it may be. Remove it from one.",
                    retry_after=_FULL_FOR,
                )
            case NotRegistered.OTHER_TOKEN | NotRegistered.PASS_CHANGED | NotRegistered.LIMITED:
                return outcome

    async def _in_steps(
        self, authentic: AuthenticPass, claim: DeviceClaim, why: NotRegistered
    ) -> Registered | NotRegistered:
        async with self._database.transaction(authentic.caller) as tx:
            if why is NotRegistered.LIMITED:
                # The device's lock before all others, as everywhere; so there must be a device.
                device, is_made = await devices.hold_device(tx, claim, now=self._clock.now())
                newcomer = Newcomer(device_number=device.device_number, push_token=claim.push_token)
                if await self._admit(tx, authentic.key, claim, newcomer):
                    is_pushed_to = await _take_token(tx, device, claim)
                    return await self._register(
                        tx, authentic, claim, is_admitted=True, is_pushed_to=is_pushed_to
                    )
                if is_made:
                    await devices.drop_device(tx, device.device_number)
            else:
                is_pushed_to = False
                if why is NotRegistered.OTHER_TOKEN:
                    known = await devices.lock_device(
                        tx,
                        pass_type_identifier=claim.pass_type_identifier,
                        device_library_identifier=claim.device_library_identifier,
                    )
                    is_pushed_to = known is not None and await _take_token(tx, known, claim)
                return await self._register(tx, authentic, claim, is_pushed_to=is_pushed_to)
        # Once what was written about it is committed.
        raise AppError(
            reason=Reason.TOO_MANY_DEVICES,
            message="The pass is on as many devices as its template lets it be.",
        )


async def _take_token(tx: Transaction, device: LockedDevice, claim: DeviceClaim) -> bool:
    """Whether a push is queued: what went to the token before, of any of the device's passes, has
    perhaps reached nobody, though APNs took it, or is about to be refused."""
    await registrations.take_token(tx, device.device_number, claim.push_token, claim.wallet)
    is_replaced = device.push_token not in {"", claim.push_token} and claim.wallet.is_pushed
    if is_replaced:
        await _push_soon(tx, device.device_number)
    return is_replaced


async def _push_soon(tx: Transaction, device_number: DeviceNumber) -> None:
    await push_jobs.enqueue_device_push(tx, [device_number], delay=_PUSHED_AFTER)
