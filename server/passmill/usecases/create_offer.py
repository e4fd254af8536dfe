"""Create an offer."""

from __future__ import annotations

import json

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import ProgramId, TemplateId, new_uuid, parse_uuid
from passmill.domain.offers import Offer, OfferId, OfferState
from passmill.errors import AppError, not_found
from passmill.store.database import Database, Transaction
from passmill.store.offers import insert_offer
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.store.templates import get_bare_template
from passmill.store.venues import require_venues
from passmill.usecases.check_offer import CheckedOffer, CheckOffer, OfferDraft, require_order
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.program_counters import ProgramCounters


class CreateOffer:
    """Makes offers."""

    __slots__ = ("_check_offer", "_clock", "_counters", "_database", "_mutator")

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        check_offer: CheckOffer,
        counters: ProgramCounters,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._check_offer = check_offer
        self._counters = counters
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[Offer], *, program_id: str, template_id: str, draft: OfferDraft
    ) -> Answer:
        """Answers with the offer. `template_id`: empty for all passes of the program.

        AppError as CheckOffer, NOT_FOUND, PROGRAM_ARCHIVED.
        """
        try:
            program, template, checked = await self._prepare(
                mutation.caller, program_id, template_id, draft
            )
        except AppError:
            if kept := await self._mutator.replay(mutation):
                return kept
            raise

        async def work(tx: Transaction) -> Offer:
            await require_venues(tx, checked.venue_ids)
            now = self._clock.now()
            offer = Offer(
                offer_id=OfferId(new_uuid()),
                program_id=program,
                template_id=template,
                display_name=checked.display_name,
                max_uses=checked.max_uses,
                cost=checked.cost,
                worth=checked.worth,
                valid_from=checked.valid_from,
                valid_until=checked.valid_until,
                venue_ids=checked.venue_ids,
                tiers=checked.tiers,
                attention=checked.attention,
                mark=checked.mark,
                state=OfferState.ACTIVE,
                version=1,
                create_time=now,
                update_time=now,
            )
            await insert_offer(tx, offer)
            detail = json.dumps({"offer_id": str(offer.offer_id)})
            await insert_event(tx, kind="offer.created", pass_ids=[], detail=detail, now=now)
            return offer

        answer = await self._mutator.run(mutation, work)
        self._counters.forget()
        return answer

    async def _prepare(
        self, caller: Caller, program_id: str, template_id: str, draft: OfferDraft
    ) -> tuple[ProgramId, TemplateId | None, CheckedOffer]:
        program, template = parse_uuid(program_id), parse_uuid(template_id)
        if program is None:
            raise not_found("program")
        if template is None and template_id:
            raise not_found("template")
        async with self._database.transaction(caller, read_only=True) as tx:
            (await get_program(tx, ProgramId(program))).require_active()
            if template is not None:
                found = await get_bare_template(tx, TemplateId(template))
                if found.program_id != program:
                    raise not_found("template")
        named = None if template is None else TemplateId(template)
        checked = await self._check_offer(caller, draft, template_id=named)
        require_order(checked.valid_from, checked.valid_until)
        return ProgramId(program), named, checked
