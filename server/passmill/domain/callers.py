"""Who calls, with what right, and until when."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from passmill.domain.ids import OPERATOR_TENANT, TenantId


class Scope(enum.StrEnum):
    """What an API key may do."""

    ISSUE = "issue"
    READ = "read"
    REDEEM = "redeem"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One authenticated call. The tenant comes from the credential, never from the request.

    `key_id`: the credential's public part, for logs. `deadline`: when the answer is worthless, in
    seconds of the event loop's clock. `is_operator`: may reach every tenant, on the admin port
    only.
    """

    tenant_id: TenantId
    key_id: str
    scopes: frozenset[Scope]
    deadline: float
    is_operator: bool = False

    def acting_for(self, tenant_id: TenantId) -> Caller:
        """The call of an operator, or of a public method, at work inside one tenant."""
        return Caller(
            tenant_id=tenant_id,
            key_id=self.key_id,
            scopes=self.scopes,
            deadline=self.deadline,
            is_operator=self.is_operator,
        )


def internal_caller(tenant_id: TenantId, *, deadline: float) -> Caller:
    """Work of the service itself inside one tenant (finishing signatures, loading templates)."""
    return Caller(tenant_id=tenant_id, key_id="internal", scopes=frozenset(), deadline=deadline)


def public_caller(*, deadline: float) -> Caller:
    """Somebody without a credential, who sees no tenant's row but by a secret that is presented."""
    return Caller(tenant_id=OPERATOR_TENANT, key_id="public", scopes=frozenset(), deadline=deadline)


def operator_caller(*, deadline: float) -> Caller:
    """Work across tenants: an operator's, or the service's own upkeep."""
    return Caller(
        tenant_id=OPERATOR_TENANT,
        key_id="operator",
        scopes=frozenset(Scope),
        deadline=deadline,
        is_operator=True,
    )
