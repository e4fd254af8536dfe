"""Change an offer, or end it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Set
from dataclasses import replace
from typing import TypeAlias

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import parse_uuid
from passmill.domain.offers import Offer, OfferId, OfferState
from passmill.errors import AppError, etag_mismatch, invalid_field, not_found
from passmill.store.chains import get_chain
from passmill.store.database import Database, Transaction
from passmill.store.offers import get_offer, lock_offer, write_offer
from passmill.store.outbox import insert_event
from passmill.store.venues import require_venues
from passmill.usecases.check_offer import CheckOffer, OfferDraft, require_order
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.program_counters import ProgramCounters

Alter: TypeAlias = Callable[[Transaction, Offer], Awaitable[Offer]]


class UpdateOffer:
    """Changes and archives offers. What was redeemed stays redeemed."""

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
        self,
        mutation: Mutation[Offer],
        *,
        offer_id: str,
        draft: OfferDraft,
        fields: Set[str],
        etag: str,
    ) -> Answer:
        """Sets the fields named (of `CheckedOffer`) to what the draft says; answers with the offer.

        AppError as CheckOffer, NOT_FOUND, ETAG_MISMATCH; INVALID_FIELD when it is archived.
        """
        try:
            before = await self._find(mutation.caller, offer_id)
            if "display_name" not in fields:
                draft = replace(draft, display_name=before.display_name)
            if "mark" not in fields:
                draft = replace(draft, uses_slot="", mark_values={}, problems=())
            if "venue_ids" not in fields:
                draft = replace(draft, venue_ids=())
            checked = await self._check_offer(
                mutation.caller, draft, template_id=before.template_id
            )
        except AppError:
            if kept := await self._mutator.replay(mutation):
                return kept
            raise
        changes = {field: getattr(checked, field) for field in fields}

        async def work(tx: Transaction, offer: Offer) -> Offer:
            if etag and etag != offer.etag:
                raise etag_mismatch("offer")
            if offer.state is OfferState.ARCHIVED:
                raise invalid_field("offer_id", "is archived, and changes no more")
            await require_venues(tx, checked.venue_ids)
            changed = replace(offer, **changes)
            require_order(changed.valid_from, changed.valid_until)
            await _require_payable(tx, changed)
            return changed

        return await self._change(mutation, before.offer_id, "offer.updated", work)

    async def archive(self, mutation: Mutation[Offer], *, offer_id: str) -> Answer:
        """Ends an offer; one that was archived before is left as it is. AppError NOT_FOUND."""
        parsed = parse_uuid(offer_id)
        if parsed is None:
            raise not_found("offer")

        async def work(_: Transaction, offer: Offer) -> Offer:
            return replace(offer, state=OfferState.ARCHIVED)

        return await self._change(mutation, OfferId(parsed), "offer.archived", work)

    async def _find(self, caller: Caller, text: str) -> Offer:
        parsed = parse_uuid(text)
        if parsed is None:
            raise not_found("offer")
        async with self._database.transaction(caller, read_only=True) as tx:
            return await get_offer(tx, OfferId(parsed))

    async def _change(
        self, mutation: Mutation[Offer], offer_id: OfferId, event: str, alter: Alter
    ) -> Answer:
        async def work(tx: Transaction) -> Offer:
            offer = await lock_offer(tx, offer_id)
            altered = await alter(tx, offer)
            if altered == offer:
                return offer
            now = self._clock.now()
            altered = replace(altered, version=offer.version + 1, update_time=now)
            await write_offer(tx, altered)
            detail = json.dumps({"offer_id": str(offer_id)})
            await insert_event(tx, kind=event, pass_ids=[], detail=detail, now=now)
            return altered

        answer = await self._mutator.run(mutation, work)
        self._counters.forget()
        return answer


async def _require_payable(tx: Transaction, offer: Offer) -> None:
    """AppError INVALID_FIELD for a cost that the offer's step of a chain cannot have."""
    if offer.cost is None or offer.chain_id is None:
        return
    chain = await get_chain(tx, offer.chain_id)
    if any(step.next_revision for step in chain.steps if step.offer_id == offer.offer_id):
        raise invalid_field("offer.cost", "cannot be for a step with a next_revision")
