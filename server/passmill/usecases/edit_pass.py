"""How an issued pass is changed together with whatever else belongs to the change (a redemption, an
entry of points): prepare what is slow, then in one transaction lock, look, write, commit the intent
to sign; then sign."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, TypeVar

import structlog

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import SigningIdentityId
from passmill.domain.passes import WalletPass, next_signing_time
from passmill.errors import AppError, Reason
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

T = TypeVar("T")

_TRIES: Final = 10  # each but the first because another call has just moved the pass
_NOT_SIGNING: Final = frozenset({Reason.NO_SIGNING_IDENTITY, Reason.SIGNING_IDENTITY_EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEdit:
    """All that is slow, gathered before the transaction. `before`, `after`: the revisions that the
    pass shows and shall show."""

    listed: ListedPass
    before: LoadedRevision
    after: LoadedRevision
    identity_id: SigningIdentityId
    content: TenantContent


class RevisionMoved(Exception):
    """Between preparing and locking, somebody gave the pass another revision."""


class PassInHand:
    """A pass inside the transaction of a mutation, which may lock and change it."""

    def __init__(self, tx: Transaction, prepared: PreparedEdit, *, clock: Clock) -> None:
        self._tx = tx
        self._clock = clock
        self.prepared = prepared
        self.changes: list[tuple[WalletPass, bool]] = []
        """What became of the pass, and whether it is seen on it (and so must be signed)."""

    async def lock(self) -> WalletPass:
        """The pass as it is now, nobody else's until the transaction ends. What takes other locks
        (an insert under a unique constraint) comes before."""
        pass_id = self.prepared.listed.wallet_pass.pass_id
        current = (await passes.lock_pass(self._tx, pass_id)).wallet_pass
        if current.revision_id != self.prepared.before.revision.revision_id:
            raise RevisionMoved
        return current

    async def change(
        self,
        current: WalletPass,
        altered: WalletPass,
        *,
        event: str,
        detail: Mapping[str, object] | None = None,
    ) -> IssuedPass:
        """Writes what `lock` gave, altered, as the next version, with its event and, where it is
        seen on the pass, its push. `altered` is in the revision `prepared.after`. AppError
        INVALID_VALUES when it makes the pass too large."""
        altered = replace(
            altered,
            revision_id=self.prepared.after.revision.revision_id,
            version=current.version + 1,
        )
        await changed_passes.replace_attached(self._tx, [(current, altered)])
        altered, is_visible = self._with_content(current, altered)
        if is_visible:
            await passes.update_content(self._tx, altered)
        else:
            await passes.update_record(self._tx, altered)
        self.changes.append((altered, is_visible))
        event_id = await outbox.insert_event(
            self._tx,
            kind=event,
            pass_ids=[altered.pass_id],
            detail=json.dumps({**(detail or {}), "visible": is_visible}, separators=(",", ":")),
            now=self._clock.now(),
        )
        if is_visible:
            await enqueue_push(self._tx, event_id)
        return self.issued(altered)

    def issued(self, wallet_pass: WalletPass) -> IssuedPass:
        """A state of the pass with the names of what it was issued from."""
        prepared = self.prepared
        return IssuedPass(
            wallet_pass=wallet_pass,
            serial_number=prepared.content.serial_number(wallet_pass.pass_id),
            program_id=prepared.listed.program_id,
            template_id=prepared.listed.template_id,
            revision_number=prepared.after.revision.number,
        )

    def _with_content(self, current: WalletPass, altered: WalletPass) -> tuple[WalletPass, bool]:
        prepared = self.prepared
        altered = prepared.content.sealed(prepared.after, altered, before=current)
        with size_refused(stored_values(prepared.after, altered), path="wallet_pass"):
            digest = digest_of(
                prepared.after.render(prepared.content.encode(prepared.after, altered))
            )
        # What nobody can see on the pass needs no signature, and no phone needs to hear of it.
        if digest == current.digest and altered.revision_id == current.revision_id:
            return altered, False
        renewed = replace(
            altered,
            signing_identity_id=prepared.identity_id,
            signing_time=next_signing_time(self._clock.now(), previous=current.signing_time),
        )
        return renewed.with_digest(digest), True


class EditPass:
    """Runs mutations that may change one pass, each once."""

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

    async def __call__(
        self,
        mutation: Mutation[T],
        ref: PassRef,
        work: Callable[[Transaction, PassInHand], Awaitable[T]],
        *,
        revision: int | None = None,
        kind: str,
    ) -> Answer:
        """The answer of `work`, or the one kept from the first time. `work` runs in the mutation's
        transaction, and again from its start if the pass was given another revision meanwhile.
        `revision`: number of the one that the pass shall show, None to keep its own. `kind`: for
        metrics ("updated").

        AppError: NOT_FOUND, what `work` refuses, REQUEST_ID_REUSED; for another revision
        TEMPLATE_ARCHIVED, PROGRAM_ARCHIVED, REVISION_NOT_PUBLISHED. Changes are made even when
        nobody can sign just now, and signed when somebody can.
        """
        for _ in range(_TRIES):
            try:
                listed = await self._find_pass(mutation.caller, ref)
                prepared = await self.prepare(mutation.caller, listed, revision)
            except AppError:
                if kept := await self._mutator.replay(mutation):
                    return kept
                raise
            in_hand: list[PassInHand] = []

            async def in_transaction(
                tx: Transaction,
                prepared: PreparedEdit = prepared,
                in_hand: list[PassInHand] = in_hand,
            ) -> T:
                in_hand.append(PassInHand(tx, prepared, clock=self._clock))
                return await work(tx, in_hand[0])

            try:
                answer = await self._mutator.run(mutation, in_transaction)
            except RevisionMoved:
                continue
            changes = [change for each in in_hand for change in each.changes]
            if changes and not mutation.validate_only:
                self._metrics.changed(kind)
                if any(is_visible for _, is_visible in changes):
                    await self._sign(mutation.caller, changes[-1][0])
            return answer
        raise AppError(
            reason=Reason.UNAVAILABLE,
            message="The pass is moved all the time. Retry with the same request_id.",
            retry_after=timedelta(milliseconds=500),
        )

    async def prepare(
        self, caller: Caller, listed: ListedPass, revision: int | None = None
    ) -> PreparedEdit:
        """All that is slow about changing a pass, for whoever changes several in one transaction.
        `revision`, AppError: as with a call."""
        before = await self._load_revision.by_id(caller, listed.wallet_pass.revision_id)
        after = before
        if revision is not None and revision != listed.revision_number:
            after = await self._load_revision.for_issue(caller, str(listed.template_id), revision)
        return PreparedEdit(
            listed=listed,
            before=before,
            after=after,
            identity_id=await self._identity_id(caller, listed.wallet_pass, after),
            content=await self._contents.to_make(caller, [after]),
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

    async def _sign(self, caller: Caller, wallet_pass: WalletPass) -> None:
        # The change is committed: a failure from here on is not the caller's. The sweeper finishes
        # what is left.
        try:
            await self._finish_signing(caller, [wallet_pass.pass_id])
        except Exception:  # noqa: BLE001 - whatever it is, the change is made
            self._log.exception("change.signing_left_to_sweeper", pass_id=str(wallet_pass.pass_id))
