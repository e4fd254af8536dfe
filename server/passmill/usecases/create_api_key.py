"""Create an API key."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from passmill.domain.api_keys import new_api_key
from passmill.domain.callers import Scope
from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.tenants import ApiKey
from passmill.errors import invalid_field
from passmill.store.api_keys import insert_api_key
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.tenants import get_tenant
from passmill.usecases.mutation import Answer, Mutation, Mutator


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    """The key, and its whole text to be shown this once; empty in a dry run, which makes none."""

    api_key: ApiKey
    text: str = field(repr=False)


class CreateApiKey:
    """Makes API keys for the tenant that the mutation's caller acts for."""

    __slots__ = ("_audit", "_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(
        self,
        mutation: Mutation[CreatedKey],
        *,
        display_name: str,
        scopes: Iterable[Scope],
        expire_time: datetime | None,
    ) -> Answer:
        """A key with these scopes; the answer holds the secret, so `mutation.holds_secret` must be
        set. AppError NOT_FOUND (no such tenant) or INVALID_FIELD."""
        if not mutation.holds_secret:
            raise ValueError("An answer with a secret must be stored sealed.")
        new_key = new_api_key()
        tenant_id = mutation.caller.tenant_id

        async def work(tx: Transaction) -> CreatedKey:
            now = self._clock.now()
            if expire_time is not None and expire_time <= now:
                raise invalid_field("expire_time", "must be in the future")
            tenant = await get_tenant(tx, tenant_id)
            api_key = ApiKey(
                tenant_id=tenant.tenant_id,
                key_id=new_key.key_id,
                secret_hash=new_key.secret_hash,
                display_name=admit_display_name(display_name, path="display_name"),
                scopes=frozenset(scopes),
                create_time=now,
                expire_time=expire_time,
                revoke_time=None,
            )
            await insert_api_key(tx, api_key)
            await insert_event(
                tx,
                kind="api_key.created",
                pass_ids=[],
                detail=json.dumps({"key_id": api_key.key_id}),
                now=now,
            )
            return CreatedKey(api_key=api_key, text="" if mutation.validate_only else new_key.text)

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only):
            self._audit.info(
                "api_key.created",
                tenant_id=tenant_id,
                key_id=new_key.key_id,
                by=mutation.caller.key_id,
            )
        return answer
