"""Create a tenant."""

from __future__ import annotations

import json
import secrets

import structlog

from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import TenantId, new_number
from passmill.domain.tenants import Tenant, TenantState
from passmill.store import tenants
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.usecases.mutation import Answer, Mutation, Mutator


class CreateTenant:
    """Makes tenants, for operators."""

    __slots__ = ("_audit", "_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(self, mutation: Mutation[Tenant], *, display_name: str) -> Answer:
        """A tenant with keys of its own for the numbers of its passes. AppError INVALID_FIELD."""
        tenant_id = TenantId(new_number())

        async def work(tx: Transaction) -> Tenant:
            tenant = Tenant(
                tenant_id=tenant_id,
                display_name=admit_display_name(display_name, path="display_name"),
                state=TenantState.ACTIVE,
                serial_key=secrets.token_bytes(16),
                reference_key=secrets.token_bytes(24),
                create_time=self._clock.now(),
            )
            await tenants.insert_tenant(tx, tenant)
            await insert_event(
                tx,
                kind="tenant.created",
                pass_ids=[],
                detail=json.dumps({"tenant_id": str(tenant_id)}),
                now=tenant.create_time,
            )
            return tenant

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only):
            self._audit.info("tenant.created", tenant_id=tenant_id, by=mutation.caller.key_id)
        return answer
