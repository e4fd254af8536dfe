"""Claim a pass: the side that people reach, which may have no key. It writes the claim down, has a
worker issue the pass, and waits for that."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from passmill.domain.api_keys import hash_secret
from passmill.domain.callers import Caller
from passmill.domain.claim_forms import ClaimAnswers, admit_answers
from passmill.domain.claims import (
    Claim,
    ClaimId,
    ClaimLink,
    ClaimPersons,
    ClaimState,
    Recovery,
    claimed_draft,
    recovery_of,
)
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, new_uuid
from passmill.domain.reference_ids import format_reference_id
from passmill.errors import AppError, FieldError, Reason
from passmill.store.claim_links import get_link, use_link
from passmill.store.claims import (
    enqueue_claim,
    find_any_claim,
    find_claim,
    find_claim_by_key,
    insert_claim,
)
from passmill.store.database import Database, Transaction
from passmill.store.passes import find_passes
from passmill.usecases.claim_branding import ClaimBranding
from passmill.usecases.claim_pace import ClaimPace
from passmill.usecases.issue_claim import tell_of_claim
from passmill.usecases.pass_content import check_draft, invalid_values
from passmill.usecases.present_link import PresentLink, refusal_of

# A worker that has nothing else to do answers within some ten milliseconds.
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.4
_GROWTH: Final = 1.5
# Of the deadline, to say in time that nobody answered, and to send the pass.
_MARGIN_SECONDS: Final = 0.8
_LONGEST_WAIT: Final = 30.0
_RETRY_AFTER: Final = timedelta(seconds=2)
# What a template's check calls a part of the pass, and the form a field.
_FORM_PATHS: Final = {"holder.name": "name", "holder.phone": "phone"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a claim came to. `caller`: the service's own work inside the tenant. `pass_id`,
    `reference_id`: of the pass, where the state is CLAIMED. `recovery`: of a link for one;
    `is_same_person`: of one for several, of whose claimers nothing is told."""

    caller: Caller
    state: ClaimState
    pass_id: PassId | None = None
    reference_id: str = ""
    recovery: Recovery | None = None
    is_same_person: bool = False


class _Refused(Exception):
    """The link gives no use: by way of the rollback."""


class ClaimPass:
    """Takes claims in: each claim key once."""

    __slots__ = ("_branding", "_clock", "_database", "_pace", "_persons", "_present_link")

    def __init__(
        self,
        *,
        database: Database,
        present_link: PresentLink,
        branding: ClaimBranding,
        persons: ClaimPersons,
        pace: ClaimPace,
        clock: Clock,
    ) -> None:
        self._database = database
        self._present_link = present_link
        self._branding = branding
        self._persons = persons
        self._pace = pace
        self._clock = clock

    async def __call__(
        self,
        token: str,
        claim_key: str,
        answers: ClaimAnswers,
        *,
        deadline: float,
        client: str = "",
    ) -> Claimed:
        """What the claim comes to; the same key again comes to the same.

        `deadline`: of the whole request, by the event loop's clock; `client`: the address it comes
        from, '' where that is none of whoever claims. AppError NOT_FOUND, TENANT_SUSPENDED;
        INVALID_VALUES with the paths of fields (`answers.phone`); RATE_LIMITED; UNAVAILABLE with
        `retry_after` when no worker issued in time: the same again will find the pass.
        """
        presented = await self._present_link(token, deadline=deadline)
        caller, link = presented.caller, presented.link
        key_hash = hash_secret(claim_key)
        async with self._database.transaction(caller, read_only=True) as tx:
            mine = await find_claim_by_key(tx, link.link_id, key_hash)
            refusal = await refusal_of(tx, link, now=self._clock.now()) if mine is None else None
        if mine is None:
            if refusal is not None:
                return await self._refused(caller, link, refusal)
            admitted = await self._admit(caller, link, answers)
            if admitted is None:
                return Claimed(caller=caller, state=ClaimState.UNAVAILABLE)
            self._pace.take(link, client)
            taken = await self._take_in(caller, link, key_hash, admitted)
            if isinstance(taken, Claimed):
                return taken
            mine = taken
        return await self._wait(caller, mine.claim_id)

    async def _admit(
        self, caller: Caller, link: ClaimLink, answers: ClaimAnswers
    ) -> ClaimAnswers | None:
        """The answers to keep; None when no pass can be issued now. AppError INVALID_VALUES."""
        admitted, problems = admit_answers(link.fields, answers, region=link.default_region)
        loaded = await self._branding.revision(caller, link)
        if loaded is None:
            return None
        if problems:
            raise _invalid(problems)
        if link.pass_id is not None:
            return admitted
        try:
            check_draft(loaded, claimed_draft(link, admitted, loaded.content.slots), path="draft")
        except ValueError:
            return None  # the template has moved on from what the link knows
        except AppError as error:
            asked_for = {each.path for each in link.fields}
            fields = [_of_the_form(each) for each in error.fields]
            if not all(each.path in asked_for for each in fields):
                return None  # nothing that whoever claims could put right
            raise _invalid(fields) from error
        return admitted

    async def _take_in(
        self, caller: Caller, link: ClaimLink, key_hash: bytes, answers: ClaimAnswers
    ) -> Claim | Claimed:
        """Writes the claim down and takes a use of the link, both or none."""
        claim = Claim(
            claim_id=ClaimId(new_uuid()),
            link_id=link.link_id,
            key_hash=key_hash,
            person_hashes=self._persons.of(caller.tenant_id, link, answers)
            if link.once_per_person
            else (),
            answers=answers if link.pass_id is None else None,
            pass_id=link.pass_id,
        )
        now = self._clock.now()
        try:
            async with self._database.transaction(caller) as tx:
                if not await insert_claim(tx, claim, now=now):
                    return await self._taken_before(tx, caller, link, claim)
                if not await use_link(tx, link.link_id, now=now):
                    raise _Refused  # noqa: TRY301 - by way of the rollback
                if claim.pass_id is None:
                    await enqueue_claim(tx, claim.claim_id)
                else:
                    await tell_of_claim(tx, link, claim, claim.pass_id, answers, now=now)
        except _Refused:
            return await self._refused(caller, link, None, now=now)
        return claim

    async def _taken_before(
        self, tx: Transaction, caller: Caller, link: ClaimLink, claim: Claim
    ) -> Claim | Claimed:
        """The claim with the same key; else it is the same person with another key."""
        mine = await find_claim_by_key(tx, claim.link_id, claim.key_hash)
        if mine is not None:
            return mine
        recovery = None
        if link.is_for_one:
            recovery = await read_recovery(tx, await find_any_claim(tx, link.link_id))
        return Claimed(
            caller=caller,
            state=ClaimState.CLAIMED_ELSEWHERE,
            recovery=recovery,
            is_same_person=not link.is_for_one,
        )

    async def _refused(
        self,
        caller: Caller,
        link: ClaimLink,
        refusal: ClaimState | None,
        *,
        now: datetime | None = None,
    ) -> Claimed:
        """Why nobody new may claim it; None: that it just came to be so."""
        async with self._database.transaction(caller, read_only=True) as tx:
            if refusal is None:
                current = await get_link(tx, link.link_id)
                refusal = current.refusal(now or self._clock.now()) or ClaimState.USED_UP
            recovery = None
            if refusal is ClaimState.CLAIMED_ELSEWHERE:
                recovery = await read_recovery(tx, await find_any_claim(tx, link.link_id))
        return Claimed(caller=caller, state=refusal, recovery=recovery)

    async def _wait(self, caller: Caller, claim_id: ClaimId) -> Claimed:
        loop = asyncio.get_running_loop()
        until = min(caller.deadline - _MARGIN_SECONDS, loop.time() + _LONGEST_WAIT)
        pause = _FIRST_PAUSE
        while True:
            async with self._database.transaction(caller, read_only=True) as tx:
                found = await find_claim(tx, claim_id)
                if found is None:
                    return Claimed(caller=caller, state=ClaimState.UNAVAILABLE)
                if found.pass_id is not None:
                    return await _claimed(tx, caller, found.pass_id)
            if loop.time() + pause > until:
                raise AppError(
                    reason=Reason.UNAVAILABLE,
                    message="The pass is being made. Send the same claim again.",
                    retry_after=_RETRY_AFTER,
                )
            await asyncio.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)


async def read_recovery(tx: Transaction, claim: Claim | None) -> Recovery | None:
    """How the holder of a claim's pass can be reached, by what the pass says now."""
    if claim is None or claim.pass_id is None:
        return None
    found = await find_passes(tx, pass_ids=[claim.pass_id], references=())
    return recovery_of(found[0].wallet_pass.holder) if found else None


async def _claimed(tx: Transaction, caller: Caller, pass_id: PassId) -> Claimed:
    [found] = await find_passes(tx, pass_ids=[pass_id], references=())
    return Claimed(
        caller=caller,
        state=ClaimState.CLAIMED,
        pass_id=PassId(UUID(int=pass_id.int)),
        reference_id=format_reference_id(found.wallet_pass.reference_number),
    )


def _of_the_form(error: FieldError) -> FieldError:
    path = error.path.removeprefix("draft.")
    return FieldError(path=_FORM_PATHS.get(path, path), message=error.message)


def _invalid(problems: list[FieldError]) -> AppError:
    return invalid_values(
        [FieldError(path=f"answers.{each.path}", message=each.message) for each in problems]
    )
