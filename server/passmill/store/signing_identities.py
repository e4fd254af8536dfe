"""Signing identities at rest: certificates, and the key as the signer wrapped it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg

from passmill import errors
from passmill.domain.callers import Caller
from passmill.domain.ids import SigningIdentityId, TenantId
from passmill.domain.tenants import CertificatePair, StoredIdentity, TenantState
from passmill.store.database import Database, Transaction

_SELECT: Final = (
    "SELECT signing_identity_id, pass_type_identifier, team_identifier, fingerprint, leaf_der,"
    " intermediate_der, wrapped_key, valid_from, expire_time, is_active, create_time"
    " FROM signing_identities"
)


async def insert_identity(tx: Transaction, identity: StoredIdentity) -> bool:
    """Writes a new identity, not active whatever it says; False when its certificate is stored
    already."""
    inserted = await tx.execute(
        "INSERT INTO signing_identities (tenant_id, signing_identity_id, pass_type_identifier,"
        " team_identifier, fingerprint, leaf_der, intermediate_der, wrapped_key, valid_from,"
        " expire_time, is_active, create_time)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, false, $11)"
        " ON CONFLICT (tenant_id, fingerprint) DO NOTHING",
        tx.tenant_id,
        identity.signing_identity_id,
        identity.pass_type_identifier,
        identity.team_identifier,
        identity.fingerprint,
        identity.leaf_der,
        identity.intermediate_der,
        identity.wrapped_key,
        identity.valid_from,
        identity.expire_time,
        identity.create_time,
    )
    return inserted == 1


async def get_identity(tx: Transaction, signing_identity_id: SigningIdentityId) -> StoredIdentity:
    """The identity. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND signing_identity_id = $2",
        tx.tenant_id,
        signing_identity_id,
    )
    if row is None:
        raise errors.not_found("signing identity")
    return _identity(row)


async def get_certificates(
    tx: Transaction, signing_identity_id: SigningIdentityId
) -> CertificatePair:
    """The identity's certificates, and nothing of its key. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        "SELECT leaf_der, intermediate_der FROM signing_identities"
        " WHERE tenant_id = $1 AND signing_identity_id = $2",
        tx.tenant_id,
        signing_identity_id,
    )
    if row is None:
        raise errors.not_found("signing identity")
    return CertificatePair(leaf_der=row["leaf_der"], intermediate_der=row["intermediate_der"])


async def find_active_identity(tx: Transaction, pass_type_identifier: str) -> StoredIdentity | None:
    """The identity that signs this pass type."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND pass_type_identifier = $2 AND is_active",
        tx.tenant_id,
        pass_type_identifier,
    )
    return None if row is None else _identity(row)


async def hold_active(tx: Transaction, signing_identity_id: SigningIdentityId) -> bool:
    """Whether this identity signs its pass type, and will until this transaction ends."""
    held = await tx.fetch_value(
        "SELECT true FROM signing_identities"
        " WHERE tenant_id = $1 AND signing_identity_id = $2 AND is_active FOR SHARE",
        tx.tenant_id,
        signing_identity_id,
    )
    return held is True


async def lock_active(tx: Transaction, pass_type_identifier: str) -> None:
    """Waits for whoever holds the active identity of the pass type or is replacing it, and keeps
    others from both until this transaction ends."""
    # The row alone would not do: there may be none yet.
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        f"signing_identities/{tx.tenant_id}/{pass_type_identifier}",
    )
    await tx.execute(
        "SELECT FROM signing_identities"
        " WHERE tenant_id = $1 AND pass_type_identifier = $2 AND is_active FOR UPDATE",
        tx.tenant_id,
        pass_type_identifier,
    )


async def list_identities(
    tx: Transaction,
    *,
    expire_before: datetime | None,
    after: tuple[datetime, SigningIdentityId] | None,
    at_most: int,
) -> list[StoredIdentity]:
    """Identities, the first to expire first, those after `after` only: the expire time and id of
    the last one seen. `expire_before` leaves out those that expire then or later."""
    expire_time, signing_identity_id = after if after is not None else (None, None)
    rows = await tx.fetch(
        _SELECT + " WHERE tenant_id = $1"
        " AND ($2::timestamptz IS NULL OR expire_time < $2)"
        " AND ($3::timestamptz IS NULL OR (expire_time, signing_identity_id) > ($3, $4::bigint))"
        " ORDER BY expire_time, signing_identity_id LIMIT $5",
        tx.tenant_id,
        expire_before,
        expire_time,
        signing_identity_id,
        at_most,
    )
    return [_identity(row) for row in rows]


async def list_expiring(
    tx: Transaction, *, before: datetime
) -> list[tuple[TenantId, SigningIdentityId, datetime]]:
    """Active identities of any active tenant that end before this time, and when they do, the first
    first.

    For an operator's transaction: others see their own tenant's alone.
    """
    rows = await tx.fetch(
        "SELECT i.tenant_id, i.signing_identity_id, i.expire_time"
        " FROM signing_identities i JOIN tenants t USING (tenant_id)"
        " WHERE i.is_active AND i.expire_time < $1 AND t.state = $2 ORDER BY i.expire_time",
        before,
        TenantState.ACTIVE,
    )
    return [
        (
            TenantId(row["tenant_id"]),
            SigningIdentityId(row["signing_identity_id"]),
            row["expire_time"],
        )
        for row in rows
    ]


async def set_active(
    tx: Transaction, signing_identity_id: SigningIdentityId, *, pass_type_identifier: str
) -> None:
    """Makes this identity the one that signs its pass type, in place of the one before."""
    # One at a time for a pass type: two at once would both find the old one to replace.
    await lock_active(tx, pass_type_identifier)
    await tx.execute(
        "UPDATE signing_identities SET is_active = false"
        " WHERE tenant_id = $1 AND pass_type_identifier = $2 AND is_active",
        tx.tenant_id,
        pass_type_identifier,
    )
    await tx.execute(
        "UPDATE signing_identities SET is_active = true"
        " WHERE tenant_id = $1 AND signing_identity_id = $2",
        tx.tenant_id,
        signing_identity_id,
    )


async def find_other_team(
    tx: Transaction, *, pass_type_identifier: str, team_identifier: str
) -> str | None:
    """A team other than this one that published revisions of the pass type were made for."""
    team: str | None = await tx.fetch_value(
        "SELECT team_identifier FROM template_revisions"
        " WHERE tenant_id = $1 AND pass_type_identifier = $2 AND team_identifier <> $3 LIMIT 1",
        tx.tenant_id,
        pass_type_identifier,
        team_identifier,
    )
    return team


class IdentityReader:
    """Reads identities for `signing.identities.IdentityCache`, each in a transaction of its own."""

    __slots__ = ("_database",)

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, signing_identity_id: SigningIdentityId) -> StoredIdentity:
        """The identity. AppError NOT_FOUND."""
        async with self._database.transaction(caller, read_only=True) as tx:
            return await get_identity(tx, signing_identity_id)

    async def find_active(self, caller: Caller, pass_type_identifier: str) -> StoredIdentity | None:
        """The identity that signs this pass type."""
        async with self._database.transaction(caller, read_only=True) as tx:
            return await find_active_identity(tx, pass_type_identifier)


class CertificateReader:
    """Reads certificates for `signing.certificates.CertificateCache`, each pair in a transaction of
    its own."""

    __slots__ = ("_database",)

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def get_certificates(
        self, caller: Caller, signing_identity_id: SigningIdentityId
    ) -> CertificatePair:
        """The identity's certificates. AppError NOT_FOUND."""
        async with self._database.transaction(caller, read_only=True) as tx:
            return await get_certificates(tx, signing_identity_id)


def _identity(row: asyncpg.Record) -> StoredIdentity:
    return StoredIdentity(
        signing_identity_id=SigningIdentityId(row["signing_identity_id"]),
        pass_type_identifier=row["pass_type_identifier"],
        team_identifier=row["team_identifier"],
        fingerprint=row["fingerprint"],
        leaf_der=row["leaf_der"],
        intermediate_der=row["intermediate_der"],
        wrapped_key=row["wrapped_key"],
        valid_from=row["valid_from"],
        expire_time=row["expire_time"],
        is_active=row["is_active"],
        create_time=row["create_time"],
    )
