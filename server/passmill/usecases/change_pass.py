"""How every change of an issued pass is made: lock, check the etag, alter, render, commit the
intent, then sign."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import RevisionId, SigningIdentityId
from passmill.domain.passes import WalletPass, next_signing_time
from passmill.domain.values import Value
from passmill.errors import AppError, Reason, etag_mismatch
from passmill.signing.identities import IdentityCache, require_team
from passmill.signing.revisions import LoadedRevision
from passmill.store import changed_passes, outbox, passes
from passmill.store.database import Transaction
from passmill.store.passes import ListedPass
from passmill.store.push_jobs import enqueue_push
from passmill.telemetry.metrics import Metrics
from passmill.usecases.find_pass import FindPass, PassRef
from passmill.usecases.finish_signing import FinishSigning
from passmill.usecases.issue_passes import IssuedPass
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.pass_content import (
    PassContents,
    TenantContent,
    digest_of,
    size_refused,
    stored_values,
)

_TRIES = 10  # each but the first because another call has just moved the pass
_NOT_SIGNING = {Reason.NO_SIGNING_IDENTITY, Reason.SIGNING_IDENTITY_EXPIRED}


@dataclass(frozen=True, slots=True, kw_only=True)
class PassChange:
    """What to do to a pass.

    `alter`: the pass as it shall be, from the pass as it is, its present revision and the one it
    shall show; it raises AppError to refuse. `revision`: number of the revision it shall show, None
    to keep its own. `event`: the outbox kind. `etag`: empty, or what the caller believes the pass
    to be.
    """

    ref: PassRef
    etag: str
    event: str
    alter: Callable[[WalletPass, LoadedRevision, LoadedRevision], WalletPass]
    revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """All that is slow, gathered before the transaction."""

    before: LoadedRevision
    after: LoadedRevision
    identity_id: SigningIdentityId
    content: TenantContent


class _RevisionMoved(Exception):
    """Between preparing and locking, somebody gave the pass another revision."""


class ChangePass:
    """Makes changes of passes, each once."""

    def __init__(
        self,
        *,
        mutator: Mutator,
        find_pass: FindPass,
        load_revision: LoadRevision,
        identities: IdentityCache,
        contents: PassContents,
        finish_signing: FinishSigning,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._mutator = mutator
        self._find_pass = find_pass
        self._load_revision = load_revision
        self._identities = identities
        self._contents = contents
        self._finish_signing = finish_signing
        self._clock = clock
        self._metrics = metrics
        self._log = structlog.get_logger("passmill.change")

    async def __call__(self, mutation: Mutation[IssuedPass], change: PassChange) -> Answer:
        """The answer with the pass as it is after the change.

        AppError: NOT_FOUND, ETAG_MISMATCH, INVALID_VALUES, what `alter` refuses, REQUEST_ID_REUSED;
        for another revision TEMPLATE_ARCHIVED, PROGRAM_ARCHIVED, REVISION_NOT_PUBLISHED. It is made
        even when nobody can sign just now, and signed when somebody can.
        """
        for _ in range(_TRIES):
            try:
                listed = await self._find_pass(mutation.caller, change.ref)
                prepared = await self._prepare(mutation.caller, listed, change)
            except AppError:
                if kept := await self._mutator.replay(mutation):
                    return kept
                raise
            unsigned: list[WalletPass] = []

            async def work(
                tx: Transaction,
                prepared: _Prepared = prepared,
                listed: ListedPass = listed,
                unsigned: list[WalletPass] = unsigned,
            ) -> IssuedPass:
                return await self._change(tx, change, listed, prepared, unsigned)

            try:
                answer = await self._mutator.run(mutation, work)
            except _RevisionMoved:
                continue
            if not (answer.is_replayed or mutation.validate_only):
                self._metrics.changed(change.event.removeprefix("pass."))
                if unsigned:
                    await self._sign(mutation.caller, unsigned[0])
            return answer
        raise AppError(
            reason=Reason.UNAVAILABLE,
            message="The pass is moved all the time. Retry with the same request_id.",
            retry_after=timedelta(milliseconds=500),
        )

    async def _prepare(self, caller: Caller, listed: ListedPass, change: PassChange) -> _Prepared:
        before = await self._load_revision.by_id(caller, listed.wallet_pass.revision_id)
        after = before
        if change.revision is not None and change.revision != listed.revision_number:
            after = await self._load_revision.for_issue(
                caller, str(listed.template_id), change.revision
            )
        return _Prepared(
            before=before,
            after=after,
            identity_id=await self._identity_id(caller, listed.wallet_pass, after),
            content=await self._contents.of(caller),
        )

    async def _identity_id(
        self, caller: Caller, wallet_pass: WalletPass, after: LoadedRevision
    ) -> SigningIdentityId:
        try:
            identity_id, identity = await self._identities.active(
                caller, after.revision.pass_type_identifier
            )
            require_team(identity, after.revision.team_identifier)
        except AppError as error:
            if error.reason not in _NOT_SIGNING:
                raise
            # A pass must be stopped or put right today, even if it is signed when there is a
            # current certificate again.
            return wallet_pass.signing_identity_id
        return identity_id

    async def _change(
        self,
        tx: Transaction,
        change: PassChange,
        listed: ListedPass,
        prepared: _Prepared,
        unsigned: list[WalletPass],
    ) -> IssuedPass:
        current = (await passes.lock_pass(tx, listed.wallet_pass.pass_id)).wallet_pass
        _require_revision(current, listed.wallet_pass.revision_id)
        if change.etag and change.etag != current.etag:
            raise etag_mismatch("pass")
        altered = replace(
            change.alter(current, prepared.before, prepared.after),
            revision_id=prepared.after.revision.revision_id,
            version=current.version + 1,
        )
        await changed_passes.replace_attached(tx, [(current, altered)])
        values = stored_values(prepared.after, altered)
        altered, is_visible = self._with_content(current, altered, prepared, values)
        if is_visible:
            await passes.update_content(tx, altered)
            unsigned.append(altered)
        else:
            await passes.update_record(tx, altered)
        event_id = await outbox.insert_event(
            tx,
            kind=change.event,
            pass_ids=[altered.pass_id],
            detail='{"visible":true}' if is_visible else '{"visible":false}',
            now=self._clock.now(),
        )
        if is_visible:
            await enqueue_push(tx, event_id)
        return IssuedPass(
            wallet_pass=altered,
            serial_number=prepared.content.serial_number(altered.pass_id),
            program_id=listed.program_id,
            template_id=listed.template_id,
            revision_number=prepared.after.revision.number,
        )

    def _with_content(
        self,
        current: WalletPass,
        altered: WalletPass,
        prepared: _Prepared,
        values: Mapping[str, Value],
    ) -> tuple[WalletPass, bool]:
        with size_refused(values, path="wallet_pass"):
            digest = digest_of(prepared.after.render(prepared.content.encode(altered)))
        # What nobody can see on the pass needs no signature, and no phone needs to hear of it.
        if digest == current.digest and altered.revision_id == current.revision_id:
            return altered, False
        renewed = replace(
            altered,
            signing_identity_id=prepared.identity_id,
            signing_time=next_signing_time(self._clock.now(), previous=current.signing_time),
        )
        return renewed.with_digest(digest), True

    async def _sign(self, caller: Caller, wallet_pass: WalletPass) -> None:
        # The change is committed: a failure from here on is not the caller's. The sweeper finishes
        # what is left.
        try:
            await self._finish_signing(caller, [wallet_pass.pass_id])
        except Exception:  # noqa: BLE001 - whatever it is, the change is made
            self._log.exception("change.signing_left_to_sweeper", pass_id=str(wallet_pass.pass_id))


def _require_revision(current: WalletPass, expected: RevisionId) -> None:
    if current.revision_id != expected:
        raise _RevisionMoved
