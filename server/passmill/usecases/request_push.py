"""Push to the devices of passes once more, because somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TemplateId, parse_uuid
from passmill.errors import AppError, not_found
from passmill.store.campaigns import get_campaign
from passmill.store.database import Database, Transaction
from passmill.store.push_jobs import enqueue_push
from passmill.store.push_requests import PushTarget, insert_push_requests
from passmill.store.templates import get_bare_template
from passmill.usecases.find_pass import FindPass, PassRef
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.start_campaign import parse_campaign_id

# Pushes of more passes at once wait behind those of single changes, as a campaign's do.
_FEW = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPushes:
    """Whose devices, as asked for: these passes', or a template's, or a campaign's."""

    refs: Sequence[PassRef] = ()
    template_id: str = ""
    campaign_id: str = ""
    only_laggards: bool


class RequestPush:
    """Queues pushes, in one transaction with the events that name their passes."""

    def __init__(
        self, *, database: Database, mutator: Mutator, find_pass: FindPass, clock: Clock
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._find_pass = find_pass
        self._clock = clock

    async def __call__(self, mutation: Mutation[int], wanted: WantedPushes) -> Answer:
        """The answer with the number of passes whose devices will be pushed to.

        AppError NOT_FOUND, REQUEST_ID_REUSED.
        """
        try:
            target = await self._target(mutation.caller, wanted)
        except AppError:
            # What was asked for stays asked for, even if the same request would be refused today.
            if kept := await self._mutator.replay(mutation):
                return kept
            raise

        async def work(tx: Transaction) -> int:
            requested = await insert_push_requests(tx, target, now=self._clock.now())
            pass_count = sum(each.pass_count for each in requested)
            for each in requested:
                await enqueue_push(tx, each.event_id, is_many=pass_count > _FEW)
            return pass_count

        return await self._mutator.run(mutation, work)

    async def _target(self, caller: Caller, wanted: WantedPushes) -> PushTarget:
        if wanted.template_id:
            parsed = parse_uuid(wanted.template_id)
            if parsed is None:
                raise not_found("template")
            async with self._database.statement(caller) as tx:
                template = await get_bare_template(tx, TemplateId(parsed))
            return PushTarget(template_id=template.template_id, only_laggards=wanted.only_laggards)
        if wanted.campaign_id:
            async with self._database.statement(caller) as tx:
                campaign = await get_campaign(tx, parse_campaign_id(wanted.campaign_id))
            return PushTarget(campaign_id=campaign.campaign_id, only_laggards=wanted.only_laggards)
        found = await self._find_pass.many(caller, wanted.refs)
        return PushTarget(
            pass_ids=[each.wallet_pass.pass_id for each in found],
            only_laggards=wanted.only_laggards,
        )
