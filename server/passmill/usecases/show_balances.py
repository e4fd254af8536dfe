"""Show balances on passes: of accounts that several passes share, and after entries that came by
the hundred. A worker's work, done again as often as it takes.

A pass is read before its balance, and written only if it still is the version that was read: so
what is written last was read last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, SigningIdentityId, TenantId
from passmill.domain.ledger import AccountId
from passmill.domain.passes import WalletPass, next_signing_time
from passmill.errors import AppError, Reason
from passmill.signing.identities import IdentityCache, require_team
from passmill.signing.revisions import LoadedRevision
from passmill.store import changed_passes, outbox
from passmill.store.accounts import find_accounts, sharing_passes
from passmill.store.balance_units import read_rules
from passmill.store.database import Database
from passmill.store.passes import ListedPass
from passmill.store.push_jobs import enqueue_push
from passmill.telemetry.metrics import Metrics
from passmill.usecases.finish_signing import FinishSigning
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import PassContents, digest_of, size_refused, stored_values
from passmill.usecases.shown_balances import Standing, read_standing, with_standing

_DEADLINE_SECONDS: Final = 60.0
_TRIES: Final = 10  # each but the first because somebody has just changed some of the passes
_SIGNED_AT_ONCE: Final = 16
_NOT_SIGNING: Final = frozenset({Reason.NO_SIGNING_IDENTITY, Reason.SIGNING_IDENTITY_EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changed:
    """A pass after the change; whether it is seen on it."""

    after: WalletPass
    is_visible: bool


class ShowBalances:
    """Brings passes up to their accounts."""

    def __init__(
        self,
        *,
        database: Database,
        load_revision: LoadRevision,
        identities: IdentityCache,
        contents: PassContents,
        finish_signing: FinishSigning,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._load_revision = load_revision
        self._identities = identities
        self._contents = contents
        self._finish_signing = finish_signing
        self._clock = clock
        self._metrics = metrics
        self._log = structlog.get_logger("passmill.balances")

    async def __call__(self, tenant_id: TenantId, account_ids: Sequence[AccountId]) -> None:
        """Shows what these accounts have on all their passes; passes that show it already are left
        alone. AppError UNAVAILABLE."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
        caller = internal_caller(tenant_id, deadline=deadline)
        async with self._database.transaction(caller, read_only=True) as tx:
            pending = set(await sharing_passes(tx, account_ids))
        for _ in range(_TRIES):
            changed = await self._prepare(caller, sorted(pending))
            written = await self._write(caller, changed)
            pending = {each.after.pass_id for each in changed} - written
            visible = [
                each.after.pass_id
                for each in changed
                if each.is_visible and each.after.pass_id in written
            ]
            self._metrics.changed("updated", len(written))
            await self._sign(caller, visible)
            if not pending:
                return
        raise AppError(
            reason=Reason.UNAVAILABLE,
            message="The passes are changed all the time.",
            retry_after=timedelta(milliseconds=500),
        )

    async def _prepare(self, caller: Caller, pass_ids: Sequence[PassId]) -> list[_Changed]:
        if not pass_ids:
            return []
        async with self._database.transaction(caller, read_only=True) as tx:
            found = await changed_passes.read_passes(tx, pass_ids)
        standings: dict[PassId, Standing] = {}
        async with self._database.transaction(caller, read_only=True) as tx:
            rules = {
                program_id: await read_rules(tx, program_id)
                for program_id in {each.program_id for each in found.values()}
            }
            accounts = await find_accounts(tx, pass_ids)
            for pass_id, listed in found.items():
                standings[pass_id] = await read_standing(
                    tx, rules[listed.program_id], accounts[pass_id], now=self._clock.now()
                )
        changed = []
        for pass_id, listed in found.items():
            loaded = await self._load_revision.by_id(caller, listed.wallet_pass.revision_id)
            altered = with_standing(
                loaded, listed.wallet_pass, rules[listed.program_id], standings[pass_id]
            )
            if altered.slot_values != listed.wallet_pass.slot_values:
                changed.append(await self._made(caller, loaded, listed, altered))
        return changed

    async def _made(
        self, caller: Caller, loaded: LoadedRevision, listed: ListedPass, altered: WalletPass
    ) -> _Changed:
        current = listed.wallet_pass
        content = await self._contents.to_make(caller, [loaded])
        altered = content.sealed(loaded, altered, before=current)
        line = content.encode(loaded, altered)
        with size_refused(stored_values(loaded, altered), path="wallet_pass"):
            digest = digest_of(loaded.render(line))
        after = replace(altered, version=current.version + 1)
        if digest == current.digest:
            return _Changed(after=after, is_visible=False)
        renewed = replace(
            after,
            signing_identity_id=await self._identity_id(caller, loaded, current),
            signing_time=next_signing_time(self._clock.now(), previous=current.signing_time),
        )
        return _Changed(after=renewed.with_digest(digest), is_visible=True)

    async def _identity_id(
        self, caller: Caller, loaded: LoadedRevision, current: WalletPass
    ) -> SigningIdentityId:
        try:
            identity_id, identity = await self._identities.active(
                caller, loaded.revision.pass_type_identifier
            )
            require_team(identity, loaded.revision.team_identifier)
        except AppError as error:
            if error.reason not in _NOT_SIGNING:
                raise
            return current.signing_identity_id  # signed when there is a current certificate again
        return identity_id

    async def _write(self, caller: Caller, changed: Sequence[_Changed]) -> set[PassId]:
        if not changed:
            return set()
        async with self._database.transaction(caller) as tx:
            written = await changed_passes.write_changed(
                tx, [(each.after, each.is_visible) for each in changed]
            )
            for is_visible in (True, False):
                pass_ids = [
                    each.after.pass_id
                    for each in changed
                    if each.is_visible == is_visible and each.after.pass_id in written
                ]
                if pass_ids:
                    event_id = await outbox.insert_event(
                        tx,
                        kind="pass.updated",
                        pass_ids=pass_ids,
                        detail=f'{{"visible":{str(is_visible).lower()}}}',
                        now=self._clock.now(),
                    )
                    if is_visible:
                        await enqueue_push(tx, event_id)
        return written

    async def _sign(self, caller: Caller, pass_ids: Sequence[PassId]) -> None:
        # The change is committed; the sweeper finishes what is left. Some at once ride together.
        try:
            for start in range(0, len(pass_ids), _SIGNED_AT_ONCE):
                async with asyncio.TaskGroup() as tasks:
                    for pass_id in pass_ids[start : start + _SIGNED_AT_ONCE]:
                        tasks.create_task(self._finish_signing(caller, [pass_id]))
        except* Exception:  # noqa: BLE001 - whatever it is, the change is made
            self._log.exception("balances.signing_left_to_sweeper", passes=len(pass_ids))
