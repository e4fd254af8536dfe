"""The native signer's types, for those who hold and pass on what they must not look into."""

from passmill._signer import (
    IdentityExpired,
    InvalidBundle,
    InvalidIdentity,
    InvalidToken,
    PreparedRevision,
    SignerError,
    SigningCertificate,
    SigningIdentity,
)

__all__ = [
    "IdentityExpired",
    "InvalidBundle",
    "InvalidIdentity",
    "InvalidToken",
    "PreparedRevision",
    "SignerError",
    "SigningCertificate",
    "SigningIdentity",
]
