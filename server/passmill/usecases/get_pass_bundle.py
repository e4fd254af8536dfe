"""Give the signed bundle of a pass, assembled from its recipe; the private key is needed only for
what is unsigned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from passmill.domain.callers import Caller
from passmill.domain.passes import WalletPass
from passmill.errors import AppError, Reason
from passmill.signing.identities import IdentityCache
from passmill.signing.sealer import BundleMismatch, Sealer, Signed
from passmill.telemetry.metrics import Metrics
from passmill.usecases.find_pass import FindPass, PassRef
from passmill.usecases.finish_signing import FinishSigning
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import PassContents

# What a gRPC answer may hold; clients set their limit to it. Wallet itself takes 150 MB a
# .pkpasses.
MAX_BUNDLE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PassBundle:
    """A .pkpass, and the pass it is of."""

    wallet_pass: WalletPass
    content: bytes


class GetPassBundle:
    """Assembles bundles."""

    def __init__(
        self,
        *,
        find_pass: FindPass,
        load_revision: LoadRevision,
        identities: IdentityCache,
        contents: PassContents,
        sealer: Sealer,
        finish_signing: FinishSigning,
        metrics: Metrics,
    ) -> None:
        self._find_pass = find_pass
        self._load_revision = load_revision
        self._identities = identities
        self._contents = contents
        self._sealer = sealer
        self._finish_signing = finish_signing
        self._metrics = metrics
        self._log = structlog.get_logger("passmill.bundle")

    async def one(self, caller: Caller, ref: PassRef) -> PassBundle:
        """The bundle of a pass: the same bytes until its content changes.

        AppError: NOT_FOUND; NO_SIGNING_IDENTITY or SIGNING_IDENTITY_EXPIRED when it must be signed
        first and cannot.
        """
        listed = await self._find_pass(caller, ref)
        return await self._bundle(caller, listed.wallet_pass)

    async def many(self, caller: Caller, refs: Sequence[PassRef]) -> bytes:
        """Up to ten passes as one .pkpasses. AppError NOT_FOUND, BUNDLE_TOO_LARGE."""
        listed = await self._find_pass.many(caller, refs)
        bundles = [(await self._bundle(caller, each.wallet_pass)).content for each in listed]
        if sum(len(content) for content in bundles) > MAX_BUNDLE_BYTES:
            raise AppError(
                reason=Reason.BUNDLE_TOO_LARGE,
                message="Together these passes are over 32 MiB. Ask for fewer at once.",
            )
        return await self._sealer.pack(bundles)

    async def _bundle(self, caller: Caller, wallet_pass: WalletPass) -> PassBundle:
        if wallet_pass.signature is None:
            [wallet_pass] = await self._finish_signing(caller, [wallet_pass.pass_id])
        try:
            return await self._assemble(caller, wallet_pass)
        except BundleMismatch:
            # The recipe no longer gives what was signed, as after a change of the renderer: it is
            # signed anew, never served wrong.
            self._metrics.assembled("mismatch")
            self._log.warning("bundle.signed_anew", pass_id=str(wallet_pass.pass_id))
            renewed = await self._finish_signing.renew(caller, wallet_pass)
            return await self._assemble(caller, renewed)

    async def _assemble(self, caller: Caller, wallet_pass: WalletPass) -> PassBundle:
        loaded = await self._load_revision.by_id(caller, wallet_pass.revision_id)
        certificate = await self._identities.certificate(caller, wallet_pass.signing_identity_id)
        line = (await self._contents.of(caller)).encode(loaded, wallet_pass)
        content = await self._sealer.assemble(
            loaded.prepared(is_personalized=wallet_pass.is_personalized),
            certificate,
            line=line,
            signing_time=wallet_pass.signing_time,
            signed=Signed(digest=wallet_pass.digest, signature=wallet_pass.signature or b""),
        )
        self._metrics.assembled("served")
        return PassBundle(wallet_pass=wallet_pass, content=content)
