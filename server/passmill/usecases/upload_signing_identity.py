"""Upload a signing identity: check that it holds together, then store it, the key wrapped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias, assert_never

import structlog

from passmill.domain.clock import Clock
from passmill.domain.ids import SigningIdentityId, new_number
from passmill.domain.keyring import Keyring
from passmill.domain.tenants import StoredIdentity
from passmill.errors import AppError, Reason
from passmill.signing.identities import refusal_of
from passmill.signing.native import InvalidIdentity, SigningIdentity
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.signing_identities import insert_identity
from passmill.store.tenants import get_tenant
from passmill.usecases.activate_signing_identity import activate
from passmill.usecases.mutation import Answer, Mutation, Mutator


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs12Source:
    """A PKCS#12 file and its password."""

    content: bytes = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PemSource:
    """A certificate and a private key as PEM; `password` is empty when the key has none."""

    certificate: bytes = field(repr=False)
    private_key: bytes = field(repr=False)
    password: str = field(repr=False)


IdentitySource: TypeAlias = Pkcs12Source | PemSource


class UploadSigningIdentity:
    """Stores identities for the tenant that the mutation's caller acts for."""

    __slots__ = ("_audit", "_clock", "_keyring", "_mutator")

    def __init__(self, *, mutator: Mutator, keyring: Keyring, clock: Clock) -> None:
        self._mutator = mutator
        self._keyring = keyring
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(
        self,
        mutation: Mutation[StoredIdentity],
        *,
        source: IdentitySource,
        intermediates: Sequence[bytes],
        is_activating: bool,
    ) -> Answer:
        """The identity, stored and, with `is_activating`, signing its pass type.

        AppError INVALID_SIGNING_IDENTITY or SIGNING_IDENTITY_EXPIRED with the signer's reason as
        `cause`, ALREADY_EXISTS when its certificate is stored, NOT_FOUND when there is no such
        tenant; nothing is stored then.
        """
        now = self._clock.now()
        # Before the transaction, as it takes long. A refusal is raised within, where a repeated
        # request finds its first answer first, even if the certificate has expired meanwhile.
        checked = await self._check(source, intermediates, now)

        async def work(tx: Transaction) -> StoredIdentity:
            if isinstance(checked, AppError):
                raise checked
            await get_tenant(tx, tx.tenant_id)
            if not await insert_identity(tx, checked):
                raise AppError(
                    reason=Reason.ALREADY_EXISTS,
                    message="This certificate is stored already. Activate the stored identity.",
                )
            await insert_event(
                tx,
                kind="signing_identity.uploaded",
                pass_ids=[],
                detail=json.dumps({"signing_identity_id": str(checked.signing_identity_id)}),
                now=now,
            )
            return await activate(tx, checked, now=now) if is_activating else checked

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only or isinstance(checked, AppError)):
            self._audit.info(
                "signing_identity.uploaded",
                tenant_id=mutation.caller.tenant_id,
                signing_identity_id=checked.signing_identity_id,
                pass_type_identifier=checked.pass_type_identifier,
                is_active=is_activating,
                by=mutation.caller.key_id,
            )
        return answer

    async def _check(
        self, source: IdentitySource, intermediates: Sequence[bytes], now: datetime
    ) -> StoredIdentity | AppError:
        def load() -> tuple[SigningIdentity, bytes]:
            identity = _load(source, intermediates, now=int(now.timestamp()))
            return identity, identity.wrap(wrapping_key=self._keyring.wrapping_key)

        try:
            identity, wrapped_key = await asyncio.to_thread(load)
        except InvalidIdentity as error:
            return refusal_of(error)
        certificate = identity.certificate
        return StoredIdentity(
            signing_identity_id=SigningIdentityId(new_number()),
            pass_type_identifier=certificate.pass_type_identifier,
            team_identifier=certificate.team_identifier,
            fingerprint=certificate.fingerprint_sha256,
            leaf_der=certificate.leaf_der,
            intermediate_der=certificate.intermediate_der,
            wrapped_key=wrapped_key,
            valid_from=datetime.fromtimestamp(certificate.not_before, UTC),
            expire_time=datetime.fromtimestamp(certificate.not_after, UTC),
            is_active=False,
            create_time=now,
        )


def _load(source: IdentitySource, intermediates: Sequence[bytes], *, now: int) -> SigningIdentity:
    match source:
        case Pkcs12Source():
            return SigningIdentity.from_pkcs12(
                source.content, password=source.password, intermediates=intermediates, now=now
            )
        case PemSource():
            return SigningIdentity.from_pem(
                source.certificate,
                source.private_key,
                password=source.password or None,
                intermediates=intermediates,
                now=now,
            )
        case _:
            assert_never(source)
