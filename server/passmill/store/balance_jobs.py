"""Jobs that show balances on passes: made in the transaction of the entries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from passmill.domain.ids import TenantId
from passmill.domain.ledger import AccountId
from passmill.store.database import Transaction
from passmill.store.jobs import JobKind, enqueue_jobs

_PRIORITY: Final = 0  # among themselves: the kind has a worker of its own
_MOST: Final = 100
"""Accounts of one job: some ten milliseconds of signing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancesPayload:
    """What a job of kind SHOW_BALANCES is about: all passes of these accounts."""

    tenant_id: TenantId
    account_ids: Sequence[AccountId]

    def encode(self) -> bytes:
        """As the queue keeps it."""
        return json.dumps([self.tenant_id, [each.hex for each in self.account_ids]]).encode()

    @classmethod
    def decode(cls, payload: bytes | None) -> Self:
        """What `encode` wrote. ValueError for anything else."""
        tenant_id, account_ids = json.loads(payload or b"null")
        return cls(
            tenant_id=TenantId(tenant_id),
            account_ids=[AccountId(UUID(hex=each)) for each in account_ids],
        )

    def log_fields(self) -> dict[str, str]:
        """What the log says of it."""
        return {"tenant_id": str(self.tenant_id), "accounts": str(len(self.account_ids))}


async def enqueue_show_balances(tx: Transaction, account_ids: Sequence[AccountId]) -> None:
    """Queues the showing of these accounts' balances on their passes."""
    parts = [
        BalancesPayload(
            tenant_id=tx.tenant_id, account_ids=account_ids[start : start + _MOST]
        ).encode()
        for start in range(0, len(account_ids), _MOST)
    ]
    await enqueue_jobs(tx, JobKind.SHOW_BALANCES, parts, priority=_PRIORITY)
