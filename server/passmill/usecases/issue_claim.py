"""Issue a claim's pass: the worker's side. The claim that was written down is the intent; its id is
the request id both of the issue and of giving it up, so that one of them happens, once, whoever
tries again and whatever crashes in between."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID, uuid5

import structlog

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.claim_forms import ClaimAnswers
from passmill.domain.claims import Claim, ClaimId, ClaimLink, claimed_draft
from passmill.domain.clock import Clock
from passmill.domain.erasure import erased_pass
from passmill.domain.events import EventKind
from passmill.domain.ids import PassId, TenantId
from passmill.errors import AppError, ErrorKind, Reason
from passmill.store.claim_links import get_link, give_use_back
from passmill.store.claims import drop_claim, end_claim, find_claim
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_pass import PassRef
from passmill.usecases.issue_passes import IssuedPass, IssueOutcome, IssuePasses
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Mutation, Mutator

_DEADLINE_SECONDS: Final = 20.0
_METHOD: Final = "EnrolmentService/ClaimPass"
_GIVEN_UP: Final = b""  # the answer kept for a claim that no pass will be issued for any more
_CHANGE: Final = "erased"  # as metrics count it
# Trying again would not help: whoever claims is told, and the link has its use back.
_FINAL: Final = frozenset(
    {ErrorKind.INVALID_INPUT, ErrorKind.FAILED_PRECONDITION, ErrorKind.NOT_FOUND}
)

T = TypeVar("T")


class IssueClaim:
    """Issues the passes of claims, each once."""

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        load_revision: LoadRevision,
        issue_passes: IssuePasses,
        edit_pass: EditPass,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._load_revision = load_revision
        self._issue_passes = issue_passes
        self._edit_pass = edit_pass
        self._clock = clock
        self._log = structlog.get_logger("passmill.claims")

    async def __call__(self, tenant_id: TenantId, claim_id: ClaimId) -> None:
        """Issues a claim's pass; one that has it is left alone. A claim that no pass can be issued
        for is forgotten, and its use given back. AppError UNAVAILABLE.

        Of one that is gone, because its holder was erased meanwhile, the pass that was issued is
        voided and emptied."""
        caller = _inside(tenant_id)
        async with self._database.transaction(caller, read_only=True) as tx:
            claim = await find_claim(tx, claim_id)
            link = None if claim is None else await get_link(tx, claim.link_id)
        if claim is None or link is None:
            if kept := await self._mutator.replay(_mutation(caller, claim_id, _pass_id)):
                await self._take_back(caller, claim_id, kept.content)
            return
        if claim.answers is None:
            return
        kept = await self._mutator.replay(_mutation(caller, claim_id, _pass_id))
        if kept is not None:  # whatever has become of the template since
            await self._end(caller, claim, kept.content)
            return
        try:
            made = await self._issue(caller, link, claim, claim.answers)
        except AppError as error:
            if error.kind not in _FINAL:
                raise
            self._log.warning("claim.refused", claim_id=str(claim_id), reason=error.reason.value)
            await self._drop(caller, claim)
            return
        await self._end(caller, claim, made)

    async def give_up(self, tenant_id: TenantId, claim_id: ClaimId) -> bool:
        """Forgets a claim whose pass cannot be issued for no known reason; one that was issued
        gets its pass."""
        caller = _inside(tenant_id)
        async with self._database.transaction(caller, read_only=True) as tx:
            claim = await find_claim(tx, claim_id)
        if claim is not None:
            await self._drop(caller, claim)
        self._log.error("claim.given_up", claim_id=str(claim_id))
        return True

    async def _issue(
        self, caller: Caller, link: ClaimLink, claim: Claim, answers: ClaimAnswers
    ) -> bytes:
        template_id = str(UUID(int=link.template_id.int))
        loaded = await self._load_revision.for_issue(caller, template_id, link.revision_number)
        try:
            draft = claimed_draft(link, answers, loaded.content.slots)
        except ValueError:
            raise AppError(
                reason=Reason.INVALID_VALUES, message="The link's values fit no slots any more."
            ) from None
        answer = await self._issue_passes(
            _mutation(caller, claim.claim_id, _pass_id),
            template_id=template_id,
            revision=link.revision_number,
            drafts=[draft],
            path=lambda _: "draft",
            all_or_none=True,
            is_single=True,
        )
        return answer.content

    async def _end(self, caller: Caller, claim: Claim, content: bytes) -> None:
        """Keeps what became of the claim: its pass, or (`_GIVEN_UP`) none."""
        if content == _GIVEN_UP or claim.answers is None:
            return
        pass_id = PassId(UUID(bytes=content))
        now = self._clock.now()
        async with self._database.transaction(caller) as tx:
            if await end_claim(tx, claim.claim_id, pass_id=pass_id, now=now):
                link = await get_link(tx, claim.link_id)
                await tell_of_claim(tx, link, claim, pass_id, claim.answers, now=now)
                return
            is_gone = await find_claim(tx, claim.claim_id) is None
        if is_gone:
            await self._take_back(caller, claim.claim_id, content)

    async def _take_back(self, caller: Caller, claim_id: ClaimId, content: bytes) -> None:
        if content == _GIVEN_UP:
            return

        async def work(_: Transaction, in_hand: PassInHand) -> bytes:
            current = await in_hand.lock()
            emptied = erased_pass(current, in_hand.prepared.before.content)
            await in_hand.change(current, emptied, event=EventKind.PASS_VOIDED)
            return b""

        mutation = Mutation(
            caller=caller,
            method=_METHOD,
            request_id=uuid5(claim_id, "take back"),
            fingerprint=_fingerprint(claim_id),
            validate_only=False,
            encode=bytes,
        )
        ref = PassRef(pass_id=str(UUID(bytes=content)))
        await self._edit_pass(mutation, ref, work, kind=_CHANGE)

    async def _drop(self, caller: Caller, claim: Claim) -> None:
        """Forgets a claim, unless another worker has issued its pass, or is just doing so."""

        async def work(tx: Transaction) -> None:
            if await drop_claim(tx, claim.claim_id):
                await give_use_back(tx, claim.link_id)

        giving_up: Mutation[None] = _mutation(caller, claim.claim_id, lambda _: _GIVEN_UP)
        answer = await self._mutator.run(giving_up, work)
        await self._end(caller, claim, answer.content)


async def tell_of_claim(
    tx: Transaction,
    link: ClaimLink,
    claim: Claim,
    pass_id: PassId,
    answers: ClaimAnswers,
    *,
    now: datetime,
) -> None:
    """The event of a claim that has its pass."""
    detail = {
        "link_id": str(link.link_id),
        "claim_id": str(claim.claim_id),
        "source": link.source,
        "consents": " ".join(answers.consents),
    }
    await insert_event(
        tx, kind="claim.completed", pass_ids=[pass_id], detail=json.dumps(detail), now=now
    )


def _mutation(caller: Caller, claim_id: ClaimId, encode: Callable[[T], bytes]) -> Mutation[T]:
    return Mutation(
        caller=caller,
        method=_METHOD,
        request_id=claim_id,
        fingerprint=_fingerprint(claim_id),
        validate_only=False,
        encode=encode,
    )


def _fingerprint(claim_id: ClaimId) -> bytes:
    return hashlib.sha256(claim_id.bytes).digest()[:16]


def _pass_id(outcomes: Sequence[IssueOutcome]) -> bytes:
    [issued] = outcomes
    if not isinstance(issued, IssuedPass):
        raise issued
    return issued.wallet_pass.pass_id.bytes


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
    return internal_caller(tenant_id, deadline=deadline)
