"""Certificates of both sides of a push."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from passmill._signer import SigningIdentity
from passmill.dev.authority import IssuedCertificate, ThrowawayAuthority
from passmill.dev.fake_apns import FakeApnsCertificates

TOPIC: Final = "pass.com.example.club"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushTrust:
    """An authority, an identity of its own for the topic, and a server's certificates."""

    authority: ThrowawayAuthority
    identity: SigningIdentity
    certificates: FakeApnsCertificates
    now: datetime

    @classmethod
    def made_at(cls, now: datetime) -> Self:
        """Everything new."""
        authority = ThrowawayAuthority(now=now)
        issued = authority.issue_pass_certificate(now=now, pass_type_identifier=TOPIC)
        return cls(
            authority=authority,
            identity=load(issued, now=now),
            certificates=FakeApnsCertificates.issued_by(authority, now=now),
            now=now,
        )

    @property
    def roots(self) -> bytes:
        """What a client must trust, PEM."""
        return self.authority.root_pem

    def another(self, topic: str = TOPIC) -> SigningIdentity:
        """A further identity, with a certificate of its own."""
        issued = self.authority.issue_pass_certificate(now=self.now, pass_type_identifier=topic)
        return load(issued, now=self.now)


def load(issued: IssuedCertificate, *, now: datetime) -> SigningIdentity:
    """The identity that a certificate makes."""
    return SigningIdentity.from_pem(
        issued.certificate_pem,
        issued.private_key_pem,
        password=None,
        intermediates=[issued.wwdr_pem],
        now=int(now.timestamp()),
    )
