"""Render and sign the passes of a shard as one batch; what cannot be signed is found by halving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from passmill.signing.identities import refusal_of
from passmill.signing.native import IdentityExpired, SignerError, SigningIdentity
from passmill.signing.revisions import LoadedRevision
from passmill.signing.sealer import Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedColumns:
    """Digest and signature of each pass of a batch, in order. `failed`: the places of those that
    could not be made, where both are empty."""

    digests: Sequence[bytes]
    signatures: Sequence[bytes]
    failed: Sequence[int]


class SignShard:
    """Signs many passes of one revision at one time."""

    __slots__ = ("_log", "_sealer")

    def __init__(self, *, sealer: Sealer) -> None:
        self._sealer = sealer
        self._log = structlog.get_logger("passmill.campaign")

    async def __call__(
        self,
        loaded: LoadedRevision,
        identity: SigningIdentity,
        lines: Sequence[str],
        *,
        signing_time: datetime,
    ) -> SignedColumns:
        """Signs the new passes with these lines (`encode_pass_columns`), in their order. One that
        cannot be made, whatever the cause, keeps none of the others from it.

        AppError SIGNING_IDENTITY_EXPIRED when the identity is not valid at `signing_time`.
        """
        second = int(signing_time.timestamp())
        failed: list[int] = []
        digests: list[bytes] = []
        signatures: list[bytes] = []
        # Ranges still to be signed, the first at the end.
        pending = [(0, len(lines))] if lines else []
        prepared = loaded.prepared(is_personalized=False)
        while pending:
            start, end = pending.pop()
            batch = "".join(lines[start:end]).encode()
            try:
                signed = await self._sealer.sign_lines(
                    prepared, identity, batch, signing_times=[second] * (end - start)
                )
            except IdentityExpired as error:
                raise refusal_of(error) from error
            except SignerError as error:
                middle = (start + end) // 2
                if end - start > 1:
                    pending += [(middle, end), (start, middle)]
                    continue
                self._log.error("campaign.pass_not_signed", reason=error.reason)
                failed.append(start)
                signed = ([b""], [b""])
            digests += signed[0]
            signatures += signed[1]
        return SignedColumns(digests=digests, signatures=signatures, failed=failed)
