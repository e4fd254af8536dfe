"""Make a chain, change it, or end it."""

from __future__ import annotations

import json
from dataclasses import replace

from passmill.domain.callers import Caller
from passmill.domain.chains import Chain, ChainState
from passmill.domain.clock import Clock
from passmill.domain.ids import ProgramId, TemplateId, new_uuid, parse_uuid
from passmill.domain.offers import ChainId
from passmill.errors import AppError, etag_mismatch, invalid_field, not_found
from passmill.store.chains import bind_offers, get_chain, insert_chain, lock_chain, write_chain
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.store.templates import get_bare_template
from passmill.usecases.check_chain import ChainDraft, CheckChain, CheckedChain
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.program_counters import ProgramCounters


class SetChain:
    """Makes, changes and archives chains. Passes that have begun keep the steps they began with."""

    __slots__ = ("_check_chain", "_clock", "_counters", "_database", "_mutator")

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        check_chain: CheckChain,
        counters: ProgramCounters,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._check_chain = check_chain
        self._counters = counters
        self._clock = clock

    async def __call__(
        self,
        mutation: Mutation[Chain],
        *,
        chain_id: str,
        template_id: str,
        draft: ChainDraft,
        etag: str,
    ) -> Answer:
        """Answers with the chain. `chain_id`: empty for a new one.

        AppError as CheckChain, NOT_FOUND, PROGRAM_ARCHIVED, ETAG_MISMATCH; INVALID_FIELD when it is
        archived or of another template.
        """
        try:
            known, program, template = await self._find(mutation.caller, chain_id, template_id)
            checked = await self._check_chain(
                mutation.caller, draft, template_id=template, chain_id=known
            )
        except AppError:
            if kept := await self._mutator.replay(mutation):
                return kept
            raise

        async def make(tx: Transaction) -> Chain:
            now = self._clock.now()
            chain = Chain(
                chain_id=ChainId(new_uuid()),
                program_id=program,
                template_id=template,
                display_name=checked.display_name,
                steps=checked.steps,
                version=1,
                revision=1,
                state=ChainState.ACTIVE,
                create_time=now,
                update_time=now,
            )
            await insert_chain(tx, chain)
            return await self._bound(tx, chain)

        async def change(tx: Transaction) -> Chain:
            if known is None:
                raise not_found("chain")
            return await self._change(tx, known, checked, etag=etag)

        answer = await self._mutator.run(mutation, make if known is None else change)
        self._counters.forget()
        return answer

    async def archive(self, mutation: Mutation[Chain], *, chain_id: str) -> Answer:
        """Ends a chain; one that was archived before is left as it is. AppError NOT_FOUND."""
        parsed = _chain_id(chain_id)

        async def work(tx: Transaction) -> Chain:
            chain = await lock_chain(tx, parsed)
            if chain.state is ChainState.ARCHIVED:
                return chain
            archived = replace(
                chain,
                state=ChainState.ARCHIVED,
                revision=chain.revision + 1,
                update_time=self._clock.now(),
            )
            await write_chain(tx, chain, archived)
            await _tell(tx, archived, "chain.archived")
            return archived

        return await self._mutator.run(mutation, work)

    async def _change(
        self, tx: Transaction, chain_id: ChainId, checked: CheckedChain, *, etag: str
    ) -> Chain:
        chain = await lock_chain(tx, chain_id)
        if etag and etag != chain.etag:
            raise etag_mismatch("chain")
        if chain.state is ChainState.ARCHIVED:
            raise invalid_field("chain_id", "is archived, and changes no more")
        is_same = checked.steps == chain.steps
        if is_same and checked.display_name == chain.display_name:
            return chain
        changed = replace(
            chain,
            display_name=checked.display_name,
            steps=checked.steps,
            version=chain.version if is_same else chain.version + 1,
            revision=chain.revision + 1,
            update_time=self._clock.now(),
        )
        await write_chain(tx, chain, changed)
        return await self._bound(tx, changed)

    async def _bound(self, tx: Transaction, chain: Chain) -> Chain:
        if not await bind_offers(tx, chain):
            raise invalid_field("chain.steps", "have an offer that has just become another chain's")
        await _tell(tx, chain, "chain.set")
        return chain

    async def _find(
        self, caller: Caller, chain_id: str, template_id: str
    ) -> tuple[ChainId | None, ProgramId, TemplateId]:
        template = parse_uuid(template_id)
        async with self._database.transaction(caller, read_only=True) as tx:
            if chain_id:
                chain = await get_chain(tx, _chain_id(chain_id))
                if template_id and template != chain.template_id:
                    raise invalid_field("template_id", "is not the one of the chain")
                return chain.chain_id, chain.program_id, chain.template_id
            if template is None:
                raise not_found("template")
            found = await get_bare_template(tx, TemplateId(template))
            (await get_program(tx, found.program_id)).require_active()
            return None, found.program_id, TemplateId(template)


def _chain_id(text: str) -> ChainId:
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_found("chain")
    return ChainId(parsed)


async def _tell(tx: Transaction, chain: Chain, event: str) -> None:
    detail = json.dumps({"chain_id": str(chain.chain_id)})
    await insert_event(tx, kind=event, pass_ids=[], detail=detail, now=chain.update_time)
