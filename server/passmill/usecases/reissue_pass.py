"""Void a pass that is on too many devices, and issue one like it for its holder."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import structlog

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.erasure import erased_pass
from passmill.domain.events import EventKind
from passmill.domain.ids import PassId, TenantId
from passmill.domain.passes import PassDraft, PassState, WalletPass
from passmill.domain.templates.sharing import OVER_SHARED_TAG, SharingExcess
from passmill.errors import AppError
from passmill.store import sharing
from passmill.store.database import Database, Transaction
from passmill.store.holders import insert_pass_holder
from passmill.store.outbox import insert_event
from passmill.store.passes import ListedPass, get_passes
from passmill.store.sharing import Reissue
from passmill.usecases.admit_device import SECOND_LOOK_AFTER
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_holder import HolderKey
from passmill.usecases.find_pass import FindPass, PassRef
from passmill.usecases.holder_in_hand import retried, take_holder
from passmill.usecases.issue_passes import IssueOutcome, IssuePasses
from passmill.usecases.join_account import join
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.pass_content import stored_values

T = TypeVar("T")

VOID_REASON: Final = "shared"

_METHOD: Final = "ReissuePass"
_COUNTED_AS: Final = "voided"
_DEADLINE_SECONDS: Final = 30.0
_VOIDED, _WAS_VOIDED = b"voided", b"was voided"
_AS_ISSUED: Final = 1  # the version of a pass that nobody has changed
_CHANGE: Final = "updated"  # as metrics count it


class _Outdated(Exception):
    """The old pass was changed since the new one was issued from it."""


class ReissuePass:
    """The worker's side of VOID_AND_REISSUE. The new pass first: should it be refused, as its
    template is archived, the holder keeps the old one. Each step is a mutation with an id of its
    own, so that one that was done before is not done again."""

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        find_pass: FindPass,
        load_revision: LoadRevision,
        issue_passes: IssuePasses,
        edit_pass: EditPass,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._find_pass = find_pass
        self._load_revision = load_revision
        self._issue_passes = issue_passes
        self._edit_pass = edit_pass
        self._clock = clock
        self._log = structlog.get_logger("passmill.sharing")

    async def __call__(self, tenant_id: TenantId, pass_id: PassId) -> PassId | None:
        """The pass that takes this one's place; None when it is to stay: it was voided by somebody
        else, or is on no more devices than it may be on, now that APNs was asked whose tokens are
        gone. AppError of what cannot be done just now, or of a template that issues no more."""
        caller = _inside(tenant_id)
        listed = await self._find_pass(caller, PassRef(pass_id=str(pass_id)))
        async with self._database.statement(caller) as tx:
            reissue = await sharing.find_reissue(tx, pass_id)
        if reissue is None or reissue.new_pass_id is not None:
            return None if reissue is None else reissue.new_pass_id
        issue = self._step(caller, pass_id, reissue, "issue", encode=_issued_id)
        async with self._database.transaction(caller) as tx:
            is_exceeded = await self._is_exceeded(tx, pass_id)
        if is_exceeded:
            new_pass_id = _pass_id(await self._issue(issue, listed))
            is_erased = await self._link(caller, pass_id, new_pass_id)
            try:
                is_voided = await self._void(caller, pass_id, new_pass_id, reissue)
            except _Outdated:
                await self._renew(caller, pass_id, new_pass_id, reissue)
                is_voided = await self._void(caller, pass_id, new_pass_id, reissue)
            if is_voided:
                return new_pass_id
            # In between, somebody voided it for another reason, and wants no new one.
            await self._void_new(caller, new_pass_id, reissue, is_erased=is_erased)
        elif kept := await self._mutator.replay(issue):
            # Issued by a worker that died of it; meanwhile there is no need.
            new_pass_id = _pass_id(kept)
            is_erased = await self._link(caller, pass_id, new_pass_id)
            await self._void_new(caller, new_pass_id, reissue, is_erased=is_erased)
        await self._stay(caller, pass_id)
        return None

    async def give_up(self, tenant_id: TenantId, pass_id: PassId) -> bool:
        """Lets the pass be, as it cannot be issued anew; an event told that it is shared."""
        async with self._database.statement(_inside(tenant_id)) as tx:
            await sharing.drop_reissue(tx, pass_id)
        self._log.error("sharing.not_reissued", tenant_id=str(tenant_id), pass_id=str(pass_id))
        return True

    async def _is_exceeded(self, tx: Transaction, pass_id: PassId) -> bool:
        """Whether the pass is to be issued anew; nobody else counts until the transaction ends."""
        state, policy = await sharing.hold_counted_pass(tx, pass_id)
        if policy is None or state is PassState.VOIDED:
            return False
        if policy.excess is not SharingExcess.VOID_AND_REISSUE:  # its revision says so by now
            return False
        sharers = await sharing.count_sharers(tx, pass_id, policy, now=self._clock.now())
        return policy.is_exceeded(sharers.devices)

    async def _issue(
        self, mutation: Mutation[Sequence[IssueOutcome]], listed: ListedPass
    ) -> Answer:
        wallet_pass = listed.wallet_pass
        loaded = await self._load_revision.by_id(mutation.caller, wallet_pass.revision_id)
        return await self._issue_passes(
            mutation,
            template_id=str(listed.template_id),
            revision=listed.revision_number,
            drafts=[
                PassDraft(
                    holder=wallet_pass.holder,
                    values=stored_values(loaded, wallet_pass),
                    expire_time=wallet_pass.expire_time,
                    tags=[tag for tag in wallet_pass.tags if tag != OVER_SHARED_TAG],
                )
            ],
            path=lambda _: "pass",
            all_or_none=True,
            is_single=True,
            replaces=wallet_pass.pass_id,
        )

    async def _link(self, caller: Caller, pass_id: PassId, new_pass_id: PassId) -> bool:
        """Makes the new pass the old one's holder's, so that whoever erases one erases both; gives
        whether the holder was erased before it had the new one."""
        key = HolderKey(holder_id=None, pass_id=pass_id)

        async def attempt() -> bool:
            async with self._database.transaction(caller) as tx:
                now = self._clock.now()
                in_hand = await take_holder(tx, key)
                await in_hand.make(tx, now=now)
                await insert_pass_holder(tx, new_pass_id, in_hand.holder_id, now=now)
                return in_hand.is_erased

        return await retried(attempt)

    async def _void(
        self, caller: Caller, pass_id: PassId, new_pass_id: PassId, reissue: Reissue
    ) -> bool:
        async def work(tx: Transaction, in_hand: PassInHand) -> bytes:
            # Points are the holder's: the new pass has the old one's account.
            joined = await join(tx, new_pass_id, pass_id, now=self._clock.now())
            if joined.refusal is not None:  # somebody has found it already, and posted to it
                self._log.error("sharing.account_not_joined", pass_id=str(new_pass_id))
            current = await in_hand.lock()
            if current.state is PassState.VOIDED:
                return _WAS_VOIDED
            [new] = await get_passes(tx, [new_pass_id])
            if new.wallet_pass.version == _AS_ISSUED and not _is_like(new.wallet_pass, current):
                raise _Outdated
            await sharing.end_reissue(tx, pass_id, new_pass_id=new_pass_id, now=self._clock.now())
            await in_hand.change(current, current.voided(VOID_REASON), event=EventKind.PASS_VOIDED)
            await insert_event(
                tx,
                kind=EventKind.PASS_REISSUED,
                pass_ids=[pass_id, new_pass_id],
                detail=json.dumps({"new_pass_id": str(new_pass_id), "reason": VOID_REASON}),
                now=self._clock.now(),
            )
            return _VOIDED

        answer = await self._edit_pass(
            self._step(caller, pass_id, reissue, "void", encode=bytes),
            PassRef(pass_id=str(pass_id)),
            work,
            kind=_COUNTED_AS,
        )
        return answer.content == _VOIDED

    async def _renew(
        self, caller: Caller, pass_id: PassId, new_pass_id: PassId, reissue: Reissue
    ) -> None:
        """Gives the new pass what has changed on the old one since it was issued."""
        listed = await self._find_pass(caller, PassRef(pass_id=str(pass_id)))

        async def work(_: Transaction, in_hand: PassInHand) -> bytes:
            current = await in_hand.lock()
            altered = replace(current, **_content(listed.wallet_pass))
            await in_hand.change(current, altered, event=EventKind.PASS_UPDATED)
            return b""

        await self._edit_pass(
            self._step(caller, new_pass_id, reissue, "renew", encode=bytes),
            PassRef(pass_id=str(new_pass_id)),
            work,
            revision=listed.revision_number,
            kind=_CHANGE,
        )

    async def _void_new(
        self, caller: Caller, new_pass_id: PassId, reissue: Reissue, *, is_erased: bool
    ) -> None:
        async def work(_: Transaction, in_hand: PassInHand) -> bytes:
            current = await in_hand.lock()
            if current.state is not PassState.VOIDED:
                voided = (
                    erased_pass(current, in_hand.prepared.before.content)
                    if is_erased
                    else current.voided(VOID_REASON)
                )
                await in_hand.change(current, voided, event=EventKind.PASS_VOIDED)
            return b""

        await self._edit_pass(
            self._step(caller, new_pass_id, reissue, "void new", encode=bytes),
            PassRef(pass_id=str(new_pass_id)),
            work,
            kind=_COUNTED_AS,
        )

    @staticmethod
    def _step(
        caller: Caller,
        pass_id: PassId,
        reissue: Reissue,
        name: str,
        *,
        encode: Callable[[T], bytes],
    ) -> Mutation[T]:
        return Mutation(
            caller=caller,
            method=_METHOD,
            request_id=uuid.uuid5(reissue.reissue_id, name),
            fingerprint=pass_id.bytes,
            validate_only=False,
            encode=encode,
        )

    async def _stay(self, caller: Caller, pass_id: PassId) -> None:
        async with self._database.transaction(caller) as tx:
            await sharing.drop_reissue(tx, pass_id)
            # Whoever registered since they were counted found that this was under way.
            if await self._is_exceeded(tx, pass_id):
                await sharing.begin_reissue(
                    tx, pass_id, now=self._clock.now(), delay=SECOND_LOOK_AFTER
                )


def _content(wallet_pass: WalletPass) -> dict[str, Any]:
    """What a pass that takes this one's place has of it, in the same revision."""
    return {
        "holder": wallet_pass.holder,
        "slot_values": wallet_pass.slot_values,
        "expire_time": wallet_pass.expire_time,
        "tags": tuple(tag for tag in wallet_pass.tags if tag != OVER_SHARED_TAG),
    }


def _is_like(new: WalletPass, current: WalletPass) -> bool:
    return new.revision_id == current.revision_id and _content(new) == _content(current)


def _issued_id(outcomes: Sequence[IssueOutcome]) -> bytes:
    [outcome] = outcomes
    if isinstance(outcome, AppError):
        raise outcome
    return outcome.wallet_pass.pass_id.bytes


def _pass_id(answer: Answer) -> PassId:
    return PassId(uuid.UUID(bytes=answer.content))


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
    return internal_caller(tenant_id, deadline=deadline)
