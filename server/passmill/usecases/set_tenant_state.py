"""Stop a tenant's API keys, or let them work again."""

from __future__ import annotations

import json

import structlog

from passmill.domain.clock import Clock
from passmill.domain.tenants import Tenant, TenantState
from passmill.store import tenants
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.usecases.mutation import Answer, Mutation, Mutator


class SetTenantState:
    """Sets the state of the tenant that the mutation's caller acts for."""

    __slots__ = ("_audit", "_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(self, mutation: Mutation[Tenant], *, state: TenantState) -> Answer:
        """The tenant in its new state, which all processes heed within five seconds. AppError
        NOT_FOUND."""
        tenant_id = mutation.caller.tenant_id

        async def work(tx: Transaction) -> Tenant:
            tenant = await tenants.set_state(tx, tenant_id, state)
            await insert_event(
                tx,
                kind="tenant.state_set",
                pass_ids=[],
                detail=json.dumps({"state": state.name}),
                now=self._clock.now(),
            )
            return tenant

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only):
            self._audit.info(
                "tenant.state_set",
                tenant_id=tenant_id,
                state=state.name,
                by=mutation.caller.key_id,
            )
        return answer
