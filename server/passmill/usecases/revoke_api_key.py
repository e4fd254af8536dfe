"""Revoke an API key."""

from __future__ import annotations

import json

import structlog

from passmill.domain.clock import Clock
from passmill.domain.tenants import ApiKey
from passmill.store import api_keys
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.usecases.mutation import Answer, Mutation, Mutator


class RevokeApiKey:
    """Ends API keys of the tenant that the mutation's caller acts for."""

    __slots__ = ("_audit", "_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(self, mutation: Mutation[ApiKey], *, key_id: str) -> Answer:
        """The key, ended for good; all processes refuse it within five seconds. One revoked before
        is left as it is. AppError NOT_FOUND."""

        async def work(tx: Transaction) -> ApiKey:
            now = self._clock.now()
            api_key = await api_keys.revoke_api_key(tx, key_id, now=now)
            await insert_event(
                tx,
                kind="api_key.revoked",
                pass_ids=[],
                detail=json.dumps({"key_id": api_key.key_id}),
                now=now,
            )
            return api_key

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only):
            self._audit.info(
                "api_key.revoked",
                tenant_id=mutation.caller.tenant_id,
                key_id=key_id,
                by=mutation.caller.key_id,
            )
        return answer
