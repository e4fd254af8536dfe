"""Finish a reward sign-up: the worker's side. Signs its token and gives the pass its holder.

The row that the edge wrote is the intent: nothing of a pass waits for a signature. All is signed
before, and written in one transaction, if the pass still is what it was read as.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.passes import Holder, PassState, WalletPass, next_signing_time
from passmill.domain.personalizations import holder_from_json, signed_up
from passmill.domain.values import Value
from passmill.errors import AppError, Reason
from passmill.signing.identities import IdentityCache, require_team
from passmill.signing.native import InvalidToken, SigningIdentity
from passmill.signing.revisions import LoadedRevision
from passmill.signing.sealer import Sealer, SignRequest
from passmill.store import changed_passes, outbox, passes
from passmill.store.database import Database
from passmill.store.personalizations import (
    Personalization,
    drop_personalization,
    end_personalization,
    find_personalization,
)
from passmill.store.push_jobs import enqueue_push
from passmill.telemetry.metrics import Metrics
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import PassContents, digest_of, size_refused, stored_values

_DEADLINE_SECONDS: Final = 20.0
_TRIES: Final = 10  # each but the first because somebody has just changed the pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """The pass before and after, both that and the token signed."""

    before: WalletPass
    after: WalletPass
    token_signature: bytes


class SignPersonalization:
    """Signs sign-ups, each once."""

    def __init__(
        self,
        *,
        database: Database,
        load_revision: LoadRevision,
        identities: IdentityCache,
        contents: PassContents,
        sealer: Sealer,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._load_revision = load_revision
        self._identities = identities
        self._contents = contents
        self._sealer = sealer
        self._clock = clock
        self._metrics = metrics
        self._log = structlog.get_logger("passmill.personalization")

    async def __call__(self, tenant_id: TenantId, request_id: UUID) -> None:
        """Finishes a sign-up; one that is over is left alone, one that the pass no longer asks for
        is forgotten. AppError NO_SIGNING_IDENTITY, SIGNING_IDENTITY_EXPIRED, UNAVAILABLE."""
        caller = _inside(tenant_id)
        for _ in range(_TRIES):
            async with self._database.transaction(caller, read_only=True) as tx:
                sign_up = await find_personalization(tx, request_id)
                if sign_up is None or sign_up.signature is not None:
                    return
                [listed] = await passes.get_passes(tx, [sign_up.pass_id])
            signed = await self._sign(caller, sign_up, listed.wallet_pass)
            if signed is None:
                await self._drop(caller, request_id)
                return
            if await self._write(caller, sign_up, signed):
                self._metrics.changed("personalized")
                return
        raise AppError(
            reason=Reason.UNAVAILABLE,
            message="The pass is changed all the time.",
            retry_after=timedelta(milliseconds=500),
        )

    async def give_up(self, tenant_id: TenantId, request_id: UUID) -> bool:
        """Forgets a sign-up that cannot be finished, so that its sender may try again later."""
        await self._drop(_inside(tenant_id), request_id)
        self._log.error("personalization.given_up", sign_up_id=str(request_id))
        return True

    async def _sign(
        self, caller: Caller, sign_up: Personalization, current: WalletPass
    ) -> _Signed | None:
        """None when the pass asks for no sign-up, or for none with such a token."""
        loaded = await self._load_revision.by_id(caller, current.revision_id)
        is_asked_for = loaded.sign_up_files is not None and not current.is_personalized
        if not is_asked_for or current.state is not PassState.ACTIVE:
            return None
        identity_id, identity = await self._identities.active(
            caller, loaded.revision.pass_type_identifier
        )
        require_team(identity, loaded.revision.team_identifier)
        now = self._clock.now()
        after = replace(
            current,
            signing_identity_id=identity_id,
            holder=_holder(
                loaded, current, signed_up(current.holder, holder_from_json(sign_up.info))
            ),
            version=current.version + 1,
            signing_time=next_signing_time(now, previous=current.signing_time),
            personalize_time=now,
        )
        try:
            token_signature = await self._sealer.sign_token(
                identity, sign_up.token.encode(), signing_time=next_signing_time(now, previous=None)
            )
        except InvalidToken:
            return None
        after = await self._signed(caller, loaded, identity, current, after)
        return _Signed(before=current, after=after, token_signature=token_signature)

    async def _signed(
        self,
        caller: Caller,
        loaded: LoadedRevision,
        identity: SigningIdentity,
        current: WalletPass,
        wallet_pass: WalletPass,
    ) -> WalletPass:
        content = await self._contents.to_make(caller, [loaded])
        wallet_pass = content.sealed(loaded, wallet_pass, before=current)
        line = content.encode(loaded, wallet_pass)
        with size_refused(stored_values(loaded, wallet_pass), path="wallet_pass"):
            digest = digest_of(loaded.render(line))
        [signed] = await self._sealer.sign(
            loaded.prepared(is_personalized=True),
            identity,
            [SignRequest(line=line, signing_time=wallet_pass.signing_time)],
        )
        return replace(wallet_pass, digest=digest, signature=signed.signature)

    async def _write(self, caller: Caller, sign_up: Personalization, signed: _Signed) -> bool:
        """False when somebody changed the pass meanwhile, or finished the sign-up."""
        now = self._clock.now()
        async with self._database.transaction(caller) as tx:
            if not await changed_passes.write_changed(tx, [(signed.after, True)]):
                return False
            await changed_passes.replace_attached(tx, [(signed.before, signed.after)])
            event_id = await outbox.insert_event(
                tx,
                kind="pass.personalized",
                pass_ids=[signed.after.pass_id],
                detail='{"visible":true}',
                now=now,
            )
            # The phone that signed up fetches the pass by itself; others that hold it do not.
            await enqueue_push(tx, event_id)
            await end_personalization(
                tx, sign_up.request_id, signature=signed.token_signature, now=now
            )
        return True

    async def _drop(self, caller: Caller, request_id: UUID) -> None:
        async with self._database.transaction(caller) as tx:
            await drop_personalization(tx, request_id)


def _holder(loaded: LoadedRevision, current: WalletPass, wanted: Holder) -> Holder:
    """The holder as the template's rules let the pass show him: where a name or number makes
    something too long, as a barcode, the one before stays."""
    values = stored_values(loaded, current)
    for name, phone in (
        (wanted.name, wanted.phone),
        (current.holder.name, wanted.phone),
        (wanted.name, current.holder.phone),
    ):
        if _fits(loaded, values, name, phone):
            return replace(wanted, name=name, phone=phone)
    return replace(wanted, name=current.holder.name, phone=current.holder.phone)


def _fits(loaded: LoadedRevision, values: Mapping[str, Value], name: str, phone: str) -> bool:
    return not loaded.rules.check(values, holder_name=name, holder_phone=phone).violations


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
    return internal_caller(tenant_id, deadline=deadline)
