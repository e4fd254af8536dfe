"""Ask the operator to send a claimed pass to its holder again: an event that whoever sends messages
acts on. It goes to what is known of the holder, never to what whoever asks says."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.claim_forms import ClaimAnswers, admit_answers
from passmill.domain.claims import Claim, ClaimLink, ClaimPersons, Recovery
from passmill.domain.clock import Clock
from passmill.store.claims import find_any_claim, find_claim_of_person, note_recovery
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event
from passmill.usecases.claim_pace import ClaimPace
from passmill.usecases.claim_pass import read_recovery
from passmill.usecases.present_link import PresentLink

# Nobody's telephone is to be flooded by whoever has an old link of theirs.
PAUSE: Final = timedelta(minutes=10)
AT_MOST: Final = 3  # each day (UTC)


class RecoveryOutcome(enum.Enum):
    """What asking came to. NOTHING: there is nobody to send it to; OVER: it was sent as often as it
    may be in a day."""

    NOTHING = enum.auto()
    ASKED = enum.auto()
    OVER = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What asking came to. `recovery`: by what it is sent, where a link's claimer can be told."""

    outcome: RecoveryOutcome
    recovery: Recovery | None = None


class RecoverClaim:
    """Asks for passes to be sent again, within bounds."""

    __slots__ = ("_clock", "_database", "_pace", "_persons", "_present_link")

    def __init__(
        self,
        *,
        database: Database,
        present_link: PresentLink,
        persons: ClaimPersons,
        pace: ClaimPace,
        clock: Clock,
    ) -> None:
        self._database = database
        self._present_link = present_link
        self._persons = persons
        self._pace = pace
        self._clock = clock

    async def __call__(
        self, token: str, answers: ClaimAnswers, *, deadline: float, client: str = ""
    ) -> Recovered:
        """What it comes to. Of a link that several people may claim always ASKED, without more:
        who has claimed by it is nobody else's business. Asked again within `PAUSE` the answer is
        the same and nothing is sent.

        `client`: as of a claim. AppError NOT_FOUND, TENANT_SUSPENDED, RATE_LIMITED."""
        presented = await self._present_link(token, deadline=deadline)
        caller, link = presented.caller, presented.link
        if not (link.is_for_one or link.once_per_person):
            return Recovered(outcome=RecoveryOutcome.NOTHING)
        self._pace.take(link, client)
        async with self._database.transaction(caller) as tx:
            recovered = await self._ask(tx, link, await self._find(tx, caller, link, answers))
        return recovered if link.is_for_one else Recovered(outcome=RecoveryOutcome.ASKED)

    async def _ask(self, tx: Transaction, link: ClaimLink, claim: Claim | None) -> Recovered:
        recovery = await read_recovery(tx, claim)
        if claim is None or claim.pass_id is None or recovery is None:
            return Recovered(outcome=RecoveryOutcome.NOTHING)
        now = self._clock.now()
        noted = await note_recovery(tx, claim.claim_id, now=now, pause=PAUSE, at_most=AT_MOST)
        if noted is None:
            return Recovered(outcome=RecoveryOutcome.OVER, recovery=recovery)
        if noted:
            detail = {
                "link_id": str(link.link_id),
                "claim_id": str(claim.claim_id),
                "channel": recovery.channel.value,
            }
            await insert_event(
                tx,
                kind="claim.recovery_requested",
                pass_ids=[claim.pass_id],
                detail=json.dumps(detail),
                now=now,
            )
        return Recovered(outcome=RecoveryOutcome.ASKED, recovery=recovery)

    async def _find(
        self, tx: Transaction, caller: Caller, link: ClaimLink, answers: ClaimAnswers
    ) -> Claim | None:
        if link.is_for_one:
            return await find_any_claim(tx, link.link_id)
        admitted, _ = admit_answers(link.fields, answers, region=link.default_region)
        hashes = self._persons.of(caller.tenant_id, link, admitted)
        return await find_claim_of_person(tx, link.link_id, hashes)
