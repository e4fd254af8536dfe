"""Take in a reward sign-up: the edge's side. It has no key, so it writes down what was sent, has a
worker sign it, and waits for that."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId
from passmill.domain.passes import PassState, WalletPass
from passmill.domain.personalizations import SignUp, given_holder, holder_to_json, sign_up_id
from passmill.domain.templates import Personalization as SignUpForm
from passmill.errors import AppError, Reason
from passmill.store.database import Database
from passmill.store.passes import find_passes
from passmill.store.personalizations import (
    Personalization,
    find_personalization,
    insert_personalization,
)
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_types import PassTypes
from passmill.usecases.tenant_numbers import TenantNumbers

# A worker that has nothing else to do answers within some ten milliseconds.
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.4
_GROWTH: Final = 1.5
# Of the deadline, to say in time that nobody answered.
_MARGIN_SECONDS: Final = 0.3
# Nobody fills in one form more often at the same time.
_MAX_OPEN: Final = 4
_RETRY_AFTER: Final = timedelta(seconds=2)


class PersonalizePass:
    """Takes sign-ups in.

    Wallet sends them without a token of ours, so anybody may who knows the serial number: it is
    128 enciphered bits, and stands in the pass. What can be reached this way is to sign up with a
    pass that asks for it, once.
    """

    __slots__ = ("_clock", "_database", "_load_revision", "_numbers", "_pass_types")

    def __init__(
        self,
        *,
        database: Database,
        pass_types: PassTypes,
        numbers: TenantNumbers,
        load_revision: LoadRevision,
        clock: Clock,
    ) -> None:
        self._database = database
        self._pass_types = pass_types
        self._numbers = numbers
        self._load_revision = load_revision
        self._clock = clock

    async def __call__(
        self, pass_type_identifier: str, serial_number: str, sign_up: SignUp, *, deadline: float
    ) -> bytes | None:
        """The detached CMS over the sign-up's token, by the pass certificate; None when there is no
        such pass, or none that asks for a sign-up. The same sign-up sent again is answered alike.

        `deadline`: of the whole request, by the event loop's clock. AppError UNAVAILABLE with
        `retry_after` when no worker signed in time, DEADLINE_EXCEEDED.
        """
        for tenant_id in await self._pass_types.tenants(pass_type_identifier, deadline=deadline):
            caller = internal_caller(tenant_id, deadline=deadline)
            pass_id = (await self._numbers.serial_numbers(caller)).find(serial_number)
            if pass_id is None:
                return None  # no tenant's serial numbers look so
            wallet_pass = await self._find(caller, pass_id)
            if wallet_pass is not None:
                form = await self._form(caller, wallet_pass, pass_type_identifier)
                return await self._take_in(caller, wallet_pass, form, sign_up)
        return None

    async def _find(self, caller: Caller, pass_id: PassId) -> WalletPass | None:
        async with self._database.transaction(caller, read_only=True) as tx:
            found = await find_passes(tx, pass_ids=[pass_id], references=[])
        return found[0].wallet_pass if found else None

    async def _form(
        self, caller: Caller, wallet_pass: WalletPass, pass_type_identifier: str
    ) -> SignUpForm | None:
        """What the pass asks for, as it shows now."""
        loaded = await self._load_revision.by_id(caller, wallet_pass.revision_id)
        if (
            loaded.revision.pass_type_identifier != pass_type_identifier
            or loaded.sign_up_files is None
            or wallet_pass.state is not PassState.ACTIVE
            or wallet_pass.is_personalized
        ):
            return None
        return loaded.content.apple.personalization

    async def _take_in(
        self, caller: Caller, wallet_pass: WalletPass, form: SignUpForm | None, sign_up: SignUp
    ) -> bytes | None:
        request_id = sign_up_id(wallet_pass.pass_id, sign_up)
        if form is not None:
            given = given_holder(sign_up, form.required_fields)
            async with self._database.transaction(caller) as tx:
                is_new = await insert_personalization(
                    tx,
                    Personalization(
                        request_id=request_id,
                        pass_id=wallet_pass.pass_id,
                        token=sign_up.token,
                        info=holder_to_json(given),
                        signature=None,
                    ),
                    now=self._clock.now(),
                    at_most_open=_MAX_OPEN,
                )
                if not is_new and await find_personalization(tx, request_id) is None:
                    raise _not_signed()
        return await self._wait(caller, request_id)

    async def _wait(self, caller: Caller, request_id: UUID) -> bytes | None:
        """The signature; None when there is no such sign-up (any more)."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            async with self._database.transaction(caller, read_only=True) as tx:
                found = await find_personalization(tx, request_id)
            if found is None or found.signature is not None:
                return None if found is None else found.signature
            if loop.time() + pause > caller.deadline - _MARGIN_SECONDS:
                raise _not_signed()
            await asyncio.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)


def _not_signed() -> AppError:
    return AppError(
        reason=Reason.UNAVAILABLE,
        message="The sign-up was not signed in time. Send it again.",
        retry_after=_RETRY_AFTER,
    )
