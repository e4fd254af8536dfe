"""Finish signatures: right after a change, when a bundle is asked for, and for what a killed
process left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from passmill.domain.callers import Caller, internal_caller, operator_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, TenantId
from passmill.domain.passes import WalletPass, next_signing_time
from passmill.errors import AppError, Reason
from passmill.signing.identities import IdentityCache, require_team
from passmill.signing.native import SignerError, SigningIdentity
from passmill.signing.sealer import Sealer, SignRequest
from passmill.store import passes, signing_intents
from passmill.store.database import Database
from passmill.store.push_jobs import enqueue_pass_push
from passmill.telemetry.metrics import Metrics
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import PassContents, TenantContent, digest_of

_SWEEP_SECONDS = 5.0
# Longer than a living process takes, however slow the machine; and so long has a sweeper for what
# it took on, before another one may.
LEFT_BEHIND = timedelta(seconds=60)
_SWEPT_AT_ONCE = 500
_DEADLINE_SECONDS = 30.0


class FinishSigning:
    """Signs passes whose content is committed and whose signature is not."""

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
        self._metrics = metrics
        self._database = database
        self._load_revision = load_revision
        self._identities = identities
        self._contents = contents
        self._sealer = sealer
        self._clock = clock
        self._log = structlog.get_logger("passmill.signing")

    async def __call__(self, caller: Caller, pass_ids: Sequence[PassId]) -> list[WalletPass]:
        """Signs these passes and gives them as they are now, signed, in this order.

        A pass that would not render today to the digest it was to be signed with (the software
        changed), or whose identity cannot sign any more, gets its content anew: next version,
        present identity. AppError: NOT_FOUND, NO_SIGNING_IDENTITY, SIGNING_IDENTITY_EXPIRED,
        UNAVAILABLE.
        """
        async with self._database.transaction(caller, read_only=True) as tx:
            listed = await passes.get_passes(tx, pass_ids)
        content = await self._contents.of(caller)
        return [await self._finish(caller, content, each.wallet_pass) for each in listed]

    async def renew(self, caller: Caller, wallet_pass: WalletPass) -> WalletPass:
        """Signs anew a pass whose recipe no longer gives what was signed."""
        content = await self._contents.of(caller)
        return await self._sign(caller, content, await self._refresh(caller, content, wallet_pass))

    async def _finish(
        self, caller: Caller, content: TenantContent, wallet_pass: WalletPass
    ) -> WalletPass:
        if wallet_pass.signature is not None:
            async with self._database.transaction(caller) as tx:
                await signing_intents.drop_intents(tx, [wallet_pass.pass_id])
            return wallet_pass
        return await self._sign(caller, content, wallet_pass)

    async def _sign(
        self, caller: Caller, content: TenantContent, wallet_pass: WalletPass
    ) -> WalletPass:
        loaded = await self._load_revision.by_id(caller, wallet_pass.revision_id)
        identity = await self._usable_identity(caller, wallet_pass)
        line = content.encode(loaded, wallet_pass)
        if identity is None or digest_of(loaded.render(line)) != wallet_pass.digest:
            wallet_pass = await self._refresh(caller, content, wallet_pass)
            identity = await self._identities.load(caller, wallet_pass.signing_identity_id)
            line = content.encode(loaded, wallet_pass)
        request = SignRequest(line=line, signing_time=wallet_pass.signing_time)
        try:
            prepared = loaded.prepared(is_personalized=wallet_pass.is_personalized)
            [signed] = await self._sealer.sign(prepared, identity, [request])
        except SignerError as error:
            self._log.error("signing.failed", pass_id=str(wallet_pass.pass_id), exc_info=error)
            raise AppError(
                reason=Reason.UNAVAILABLE,
                message="The pass could not be signed just now. Retry.",
                retry_after=timedelta(seconds=1),
            ) from error
        async with self._database.transaction(caller) as tx:
            kept = await passes.store_signatures(
                tx, [(wallet_pass.pass_id, wallet_pass.version, signed.signature)]
            )
            if not kept:
                # Somebody was faster: what they kept is what everybody is given.
                [current] = await passes.get_passes(tx, [wallet_pass.pass_id])
                if current.wallet_pass.version == wallet_pass.version:
                    return current.wallet_pass
        return replace(wallet_pass, signature=signed.signature)

    async def _usable_identity(
        self, caller: Caller, wallet_pass: WalletPass
    ) -> SigningIdentity | None:
        try:
            return await self._identities.load(caller, wallet_pass.signing_identity_id)
        except AppError as error:
            if error.reason is Reason.SIGNING_IDENTITY_EXPIRED:
                return None
            raise

    async def _refresh(
        self, caller: Caller, content: TenantContent, wallet_pass: WalletPass
    ) -> WalletPass:
        loaded = await self._load_revision.by_id(caller, wallet_pass.revision_id)
        identity_id, identity = await self._identities.active(
            caller, loaded.revision.pass_type_identifier
        )
        require_team(identity, loaded.revision.team_identifier)
        async with self._database.transaction(caller) as tx:
            current = (await passes.lock_pass(tx, wallet_pass.pass_id)).wallet_pass
            if current.version != wallet_pass.version:
                raise AppError(
                    reason=Reason.UNAVAILABLE,
                    message="The pass is being changed just now. Retry.",
                    retry_after=timedelta(milliseconds=200),
                )
            renewed = replace(
                current,
                signing_identity_id=identity_id,
                signing_time=next_signing_time(self._clock.now(), previous=current.signing_time),
                version=current.version + 1,
            )
            renewed = renewed.with_digest(digest_of(loaded.render(content.encode(loaded, renewed))))
            await passes.update_content(tx, renewed)
            if renewed.digest != current.digest:
                await enqueue_pass_push(tx, [renewed.pass_id])
        return renewed

    async def sweep_forever(self) -> None:
        """Every few seconds finishes what was left behind. Ends by cancellation."""
        while True:
            try:
                await self.sweep()
            except AppError as error:
                self._log.warning("signing.sweep_failed", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("signing.sweep_failed")
            await asyncio.sleep(_SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Takes on the signatures outstanding for longer than a living process takes, and finishes
        what can be finished; gives how many. The rest is taken on again later, after others."""
        loop = asyncio.get_running_loop()
        caller = operator_caller(deadline=loop.time() + _DEADLINE_SECONDS)
        now = self._clock.now()
        async with self._database.transaction(caller) as tx:
            intents = await signing_intents.take_intents(
                tx, older_than=now - LEFT_BEHIND, now=now, at_most=_SWEPT_AT_ONCE
            )
        by_tenant: dict[TenantId, list[PassId]] = {}
        for tenant_id, pass_id in intents:
            by_tenant.setdefault(tenant_id, []).append(pass_id)
        finished = 0
        for tenant_id, pass_ids in by_tenant.items():
            finished += await self._sweep_tenant(tenant_id, pass_ids)
        self._metrics.left_behind(len(intents) - finished)
        return finished

    async def _sweep_tenant(self, tenant_id: TenantId, pass_ids: Sequence[PassId]) -> int:
        # One pass that cannot be signed (its certificate expired, say) must not hold up the rest.
        finished = 0
        for pass_id in pass_ids:
            try:
                await self(_inside(tenant_id), [pass_id])
                finished += 1
            except AppError as error:
                self._log.warning(
                    "signing.left_behind", pass_id=str(pass_id), reason=error.reason.value
                )
            except Exception:  # noqa: BLE001 - whatever is wrong with it, the others go on
                self._log.exception("signing.left_behind", pass_id=str(pass_id))
        return finished


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
    return internal_caller(tenant_id, deadline=deadline)
