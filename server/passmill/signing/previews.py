"""Sealing in one go, for what is not kept as a recipe."""

from __future__ import annotations

from datetime import datetime

from passmill import _signer
from passmill.signing.native import PreparedRevision, SigningIdentity


def seal_preview(
    prepared: PreparedRevision,
    line: bytes,
    identity: SigningIdentity,
    *,
    signing_time: datetime,
) -> bytes:
    """A .pkpass of the pass with this line, signed: some milliseconds, so off the loop.
    `signing_time` in whole seconds.

    Raises `_signer.SignerError` when the key cannot sign.
    """
    [bundle] = _signer.seal(prepared, line, identity, [int(signing_time.timestamp())])
    return bundle
