"""A tenant and its credentials."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from passmill.domain.callers import Scope
from passmill.domain.ids import SigningIdentityId, TenantId


class TenantState(enum.IntEnum):
    """Stored as its number."""

    ACTIVE = 1
    SUSPENDED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A customer of the service.

    `serial_key` (16 bytes) and `reference_key` (24 bytes) make its passes' numbers; they never
    change.
    """

    tenant_id: TenantId
    display_name: str
    state: TenantState
    serial_key: bytes = field(repr=False)
    reference_key: bytes = field(repr=False)
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A credential. Only the SHA-256 of its secret is kept."""

    tenant_id: TenantId
    key_id: str
    secret_hash: bytes = field(repr=False)
    display_name: str
    scopes: frozenset[Scope]
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None

    def is_usable(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoke_time is None and (self.expire_time is None or now < self.expire_time)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePair:
    """The certificates of a signing identity in DER: its own and the one that issued it."""

    leaf_der: bytes = field(repr=False)
    intermediate_der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIdentity:
    """A signing identity at rest: certificates in the clear, the key under the deployment's
    wrapping key."""

    signing_identity_id: SigningIdentityId
    pass_type_identifier: str
    team_identifier: str
    fingerprint: bytes
    leaf_der: bytes = field(repr=False)
    intermediate_der: bytes = field(repr=False)
    wrapped_key: bytes = field(repr=False)
    valid_from: datetime
    expire_time: datetime
    is_active: bool
    create_time: datetime
