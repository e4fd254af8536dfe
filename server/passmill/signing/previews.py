"""Sealing in one go, for what is not kept as a recipe."""

from __future__ import annotations

from datetime import datetime

from passmill import _signer
from passmill.signing.native import PreparedRevision, SigningIdentity


def seal_preview(
    prepared: PreparedRevision,
    pass_json: bytes,
    identity: SigningIdentity,
    *,
    signing_time: datetime,
) -> bytes:
    """A .pkpass, signed: some milliseconds, so off the loop. `signing_time` in whole seconds.

    Raises `_signer.SignerError` when the key cannot sign.
    """
    return _signer.seal(prepared, pass_json, identity, signing_time=int(signing_time.timestamp()))
