"""How a shard changes its passes: read, alter, render, sign in batches, then write in one
transaction those whose version still is the one read. If somebody changed one meanwhile nothing is
written, and that one is done again. If others hold some for long, in transactions that they keep
open, the rest is written, and those are left to a shard of their own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final

import structlog

from passmill.domain.callers import Caller
from passmill.domain.campaigns import Failure, ShardKind, ShardOutcome
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, RevisionId
from passmill.errors import AppError, Reason, not_found
from passmill.failpoints import Failpoints
from passmill.signing.identities import IdentityCache, refusal_of, require_team
from passmill.signing.native import IdentityExpired, SignerError, SigningIdentity
from passmill.signing.revisions import LoadedRevision
from passmill.signing.sealer import Sealer, SignRequest
from passmill.store import campaigns, changed_passes, outbox, shards
from passmill.store.changed_passes import PassesHeld
from passmill.store.database import Database, Transaction
from passmill.store.passes import ListedPass
from passmill.store.push_jobs import enqueue_push
from passmill.store.put_off_recipients import put_off
from passmill.telemetry.metrics import Metrics
from passmill.usecases.alterations import Alter, Revisions
from passmill.usecases.changed_pass import (
    Changed,
    failure_of,
    make_change,
    moving,
    not_made,
    undo_of_all,
)
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import PassContents, TenantContent
from passmill.usecases.shard_targets import Target, Targets
from passmill.usecases.shard_work import ShardDone, ShardWork
from passmill.usecases.shown_balances import show_where_moved

_TRIES: Final = 10  # for passes that others change at the same time
# Every change waits for its row, mostly for milliseconds, while all those before it are locked. Who
# waits longer keeps all these from others, so it is better to take what is to be had.
_PATIENCE: Final = timedelta(milliseconds=200)
_LOOKS: Final = 40  # where nothing is to be had
_LOOK_SECONDS: Final = 0.25
_NOT_SIGNING: Final = frozenset({Reason.NO_SIGNING_IDENTITY, Reason.SIGNING_IDENTITY_EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardChange:
    """What a shard does to its passes.

    `revision_ids`: those needed besides the ones the passes show. `action`: "update", "notify" or
    "void". `can_sign_later`: what must not wait for a signature is written without it and left to
    be signed. `skips_missing`: recipients without a pass are nobody's failure. `counts_unchanged`:
    passes that were so already count as served. `ledger_slots`: where passes show the ledger.
    """

    targets: Targets
    alter: Alter
    action: str
    revision_ids: Set[RevisionId] = frozenset()
    keeps_undo: bool = False
    can_sign_later: bool = False
    skips_missing: bool = False
    counts_unchanged: bool = True
    ledger_slots: Set[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class _Progress:
    """What is ready to be written, by pass."""

    start_time: datetime
    changed: dict[PassId, Changed] = field(default_factory=dict)
    unchanged: set[PassId] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    sign_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Read:
    """What the passes are, and what they are made with."""

    found: Mapping[PassId, ListedPass]
    revisions: Revisions
    content: TenantContent


class _PassesMoved(Exception):
    """Somebody changed these passes since they were read. Raised to roll back."""

    def __init__(self, pass_ids: Set[PassId]) -> None:
        super().__init__()
        self.pass_ids = pass_ids


class ChangePasses:
    """Changes the passes of one shard, each once."""

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
        failpoints: Failpoints,
    ) -> None:
        self._database = database
        self._load_revision = load_revision
        self._identities = identities
        self._contents = contents
        self._sealer = sealer
        self._clock = clock
        self._metrics = metrics
        self._failpoints = failpoints
        self._log = structlog.get_logger("passmill.campaign")

    async def __call__(self, work: ShardWork, change: ShardChange) -> None:
        """Makes the change and ends the shard. ShardDone; AppError NO_SIGNING_IDENTITY,
        SIGNING_IDENTITY_EXPIRED unless it `can_sign_later`, and what passes."""
        progress = _Progress(start_time=self._clock.now())
        progress.failures += change.targets.duplicates
        pending = change.targets.targets
        tries = 0
        while True:
            await self._prepare(work.caller, change, pending, progress)
            try:
                await self._write(work, change, progress)
            except _PassesMoved as moved:
                tries += 1
                pending = [progress.changed.pop(pass_id).target for pass_id in moved.pass_ids]
                if tries == _TRIES:
                    progress.failures += [failure_of(each, moving()) for each in pending]
                    tries, pending = 0, []
            except PassesHeld:
                await self._write_free(work, change, progress)
                return
            else:
                return

    async def _prepare(
        self,
        caller: Caller,
        change: ShardChange,
        targets: Sequence[Target],
        progress: _Progress,
    ) -> None:
        if not targets:
            return
        async with self._database.transaction(caller, read_only=True) as tx:
            found = await changed_passes.read_passes(tx, [each.pass_id for each in targets])
        revisions = {
            revision_id: await self._load_revision.by_id(caller, revision_id)
            for revision_id in change.revision_ids
            | {each.wallet_pass.revision_id for each in found.values()}
        }
        content = await self._contents.to_make(caller, revisions.values())
        self._failpoints.reach("shard.read")
        # Some ten microseconds a pass: too long for the loop, on which others' answers wait.
        visible = await asyncio.to_thread(
            self._alter, change, targets, _Read(found, revisions, content), progress
        )
        began = perf_counter()
        for (revision_id, _), batch in visible.items():
            await self._sign(caller, change, revisions[revision_id], batch, progress)
        progress.sign_seconds += perf_counter() - began

    def _alter(
        self, change: ShardChange, targets: Sequence[Target], read: _Read, progress: _Progress
    ) -> dict[tuple[RevisionId, bool], list[Changed]]:
        """The passes that are to be signed anew, by the revision they shall show and whether their
        holder has signed up: those are signed together."""
        now = self._clock.now()
        visible: dict[tuple[RevisionId, bool], list[Changed]] = {}
        for target in targets:
            listed = read.found.get(target.pass_id)
            if listed is None:
                if not change.skips_missing:
                    progress.failures.append(failure_of(target, not_found("pass")))
                continue
            try:
                altered = change.alter(target, listed, read.revisions)
                if altered is None:
                    progress.unchanged.add(target.pass_id)
                    continue
                changed = make_change(
                    target, listed.wallet_pass, altered, read.revisions, read.content, now=now
                )
            except AppError as error:
                progress.failures.append(failure_of(target, error))
            except (SignerError, ValueError, KeyError) as error:
                # Something in this pass that nobody foresaw; the others are changed all the same.
                self._log_failed(target, error)
                progress.failures.append(failure_of(target, not_made()))
            else:
                if changed.is_visible:
                    files = (changed.after.revision_id, changed.after.is_personalized)
                    visible.setdefault(files, []).append(changed)
                else:
                    progress.changed[target.pass_id] = changed
        return visible

    async def _sign(
        self,
        caller: Caller,
        change: ShardChange,
        loaded: LoadedRevision,
        batch: Sequence[Changed],
        progress: _Progress,
    ) -> None:
        try:
            identity_id, identity = await self._identities.active(
                caller, loaded.revision.pass_type_identifier
            )
            require_team(identity, loaded.revision.team_identifier)
            signatures = await self._signatures(loaded, identity, batch)
        except AppError as error:
            if error.reason not in _NOT_SIGNING or not change.can_sign_later:
                raise
            progress.changed.update({each.target.pass_id: each for each in batch})
            return
        for each, signature in zip(batch, signatures, strict=True):
            if signature is None and not change.can_sign_later:
                progress.failures.append(failure_of(each.target, not_made()))
                continue
            after = replace(each.after, signing_identity_id=identity_id, signature=signature)
            progress.changed[each.target.pass_id] = Changed(
                target=each.target, before=each.before, after=after, is_visible=True, line=b""
            )

    async def _signatures(
        self, loaded: LoadedRevision, identity: SigningIdentity, batch: Sequence[Changed]
    ) -> list[bytes | None]:
        """None for a pass that the signer cannot sign; halving the batch finds it."""
        requests = [
            SignRequest(line=each.line, signing_time=each.after.signing_time) for each in batch
        ]
        try:
            prepared = loaded.prepared(is_personalized=batch[0].after.is_personalized)
            signed = await self._sealer.sign(prepared, identity, requests)
        except IdentityExpired as error:
            raise refusal_of(error) from error
        except SignerError as error:
            if len(batch) == 1:
                self._log_failed(batch[0].target, error)
                return [None]
            middle = len(batch) // 2
            first = await self._signatures(loaded, identity, batch[:middle])
            return first + await self._signatures(loaded, identity, batch[middle:])
        return [each.signature for each in signed]

    def _log_failed(self, target: Target, error: Exception) -> None:
        self._log.error("campaign.pass_failed", pass_id=str(target.pass_id), exc_info=error)

    async def _write(self, work: ShardWork, change: ShardChange, progress: _Progress) -> None:
        self._failpoints.reach("shard.signed")
        # What a campaign issued is voided as a whole.
        waits = work.shard.kind is ShardKind.VOID_ISSUED
        async with self._database.transaction(work.caller) as tx:
            if not await shards.take_shard(tx, work.campaign.campaign_id, work.shard):
                raise ShardDone
            await self._finish(tx, work, change, progress, patience=None if waits else _PATIENCE)
        self._count(change, progress)

    async def _write_free(self, work: ShardWork, change: ShardChange, progress: _Progress) -> None:
        """As `_write`, of the passes that nobody holds; the others are left to another shard. Until
        that is served they count as failed. Made again is only what is free and changed meanwhile.
        AppError UNAVAILABLE when there are none for long."""
        is_fresh = False
        for _ in range(_LOOKS):
            try:
                if await self._take_free(work, change, progress, is_fresh=is_fresh):
                    self._count(change, progress)
                    return
            except _PassesMoved as moved:
                targets = [progress.changed.pop(pass_id).target for pass_id in moved.pass_ids]
                await self._prepare(work.caller, change, targets, progress)
                is_fresh = True
            else:
                is_fresh = False
                await asyncio.sleep(_LOOK_SECONDS)
        raise moving()

    async def _take_free(
        self, work: ShardWork, change: ShardChange, progress: _Progress, *, is_fresh: bool
    ) -> bool:
        """_PassesMoved with what is free but changed, unless `is_fresh`: it was made a moment ago,
        so what moved since is held more often than not."""
        async with self._database.transaction(work.caller) as tx:
            # As whoever pauses or cancels it: the campaign first.
            await campaigns.lock_campaign(tx, work.campaign.campaign_id)
            if not await shards.take_shard(tx, work.campaign.campaign_id, work.shard):
                raise ShardDone
            versions = await changed_passes.lock_free(tx, progress.changed)
            free = {
                pass_id
                for pass_id, version in versions.items()
                if version == progress.changed[pass_id].before.version
            }
            if not is_fresh and len(free) < len(versions):
                raise _PassesMoved(versions.keys() - free)
            if progress.changed and not free:
                return False
            held = [
                each.target for each in progress.changed.values() if each.target.pass_id not in free
            ]
            progress.changed = {pass_id: progress.changed[pass_id] for pass_id in free}
            await self._finish(tx, work, change, progress, held=held)
            if held:
                await put_off(
                    tx, work.campaign.campaign_id, work.shard, [each.row_offset for each in held]
                )
        return True

    def _count(self, change: ShardChange, progress: _Progress) -> None:
        action = "voided" if change.action == "void" else "updated"
        self._metrics.changed(action, len(progress.changed))

    async def _finish(
        self,
        tx: Transaction,
        work: ShardWork,
        change: ShardChange,
        progress: _Progress,
        *,
        patience: timedelta | None = None,
        held: Sequence[Target] = (),
    ) -> None:
        began = perf_counter()
        changed = list(progress.changed.values())
        if changed:
            await self._write_passes(tx, work, change, changed, patience)
        duplicate = len(change.targets.duplicates)
        outcome = ShardOutcome(
            succeeded=len(changed) + (len(progress.unchanged) if change.counts_unchanged else 0),
            failed=len(progress.failures) - duplicate,
            duplicate=duplicate,
            start_time=progress.start_time,
            sign_seconds=progress.sign_seconds,
            write_seconds=perf_counter() - began,
        )
        is_mine = await shards.finish_shard(
            tx,
            work.campaign,
            work.shard,
            outcome,
            [*progress.failures, *(failure_of(each, moving()) for each in held)],
            now=self._clock.now(),
            undo=undo_of_all(changed) if change.keeps_undo and changed else None,
        )
        if not is_mine:
            raise ShardDone
        self._failpoints.reach("shard.written")

    async def _write_passes(
        self,
        tx: Transaction,
        work: ShardWork,
        change: ShardChange,
        changed: Sequence[Changed],
        patience: timedelta | None,
    ) -> None:
        written = await changed_passes.write_changed(
            tx, [(each.after, each.is_visible) for each in changed], patience=patience
        )
        if len(written) < len(changed):
            raise _PassesMoved({each.target.pass_id for each in changed} - written)
        moves = [(each.before, each.after) for each in changed]
        await changed_passes.replace_attached(tx, moves)
        await show_where_moved(tx, moves, change.ledger_slots)
        about = {"campaign_id": str(work.campaign.campaign_id), "action": change.action}
        for is_visible in (True, False):
            pass_ids = [each.target.pass_id for each in changed if each.is_visible == is_visible]
            if pass_ids:
                event_id = await outbox.insert_event(
                    tx,
                    kind="campaign.shard_done",
                    pass_ids=pass_ids,
                    detail=json.dumps({**about, "visible": is_visible}),
                    now=self._clock.now(),
                )
                if is_visible:
                    await enqueue_push(tx, event_id, is_many=True)
