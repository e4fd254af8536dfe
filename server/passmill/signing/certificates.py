"""The public halves of signing identities: enough to assemble what was signed, and to sign
nothing."""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias

from passmill._signer import SigningCertificate
from passmill.domain.callers import Caller
from passmill.domain.ids import SigningIdentityId, TenantId
from passmill.domain.recent import Recent
from passmill.domain.tenants import CertificatePair

MAX_CERTIFICATES: Final = 1_000

CertificateKey: TypeAlias = tuple[TenantId, SigningIdentityId]


class CertificateLoader(Protocol):
    """Reads certificates as they are stored (`store.signing_identities.CertificateReader`)."""

    async def get_certificates(
        self, caller: Caller, signing_identity_id: SigningIdentityId
    ) -> CertificatePair:
        """The identity's certificates. AppError NOT_FOUND."""
        ...


class CertificateCache:
    """Certificates of one process, kept while there is room: an identity's never change."""

    __slots__ = ("_certificates", "_loader")

    def __init__(self, *, loader: CertificateLoader, capacity: int = MAX_CERTIFICATES) -> None:
        self._loader = loader
        self._certificates: Recent[CertificateKey, SigningCertificate] = Recent(capacity=capacity)

    async def certificate(
        self, caller: Caller, signing_identity_id: SigningIdentityId
    ) -> SigningCertificate:
        """What the caller's identity is verified with, also after it expired. AppError
        NOT_FOUND."""
        key = (caller.tenant_id, signing_identity_id)
        certificate = self._certificates.find(key)
        if certificate is None:
            pair = await self._loader.get_certificates(caller, signing_identity_id)
            certificate = SigningCertificate.from_der(pair.leaf_der, pair.intermediate_der)
            self._certificates.keep(key, certificate)
        return certificate
