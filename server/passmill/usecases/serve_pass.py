"""Serve a pass to the device that holds it: whether it is newer, and its bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, RevisionId
from passmill.domain.passes import WalletPass
from passmill.errors import AppError, Reason, not_found
from passmill.signing.certificates import CertificateCache
from passmill.signing.native import SignerError
from passmill.signing.sealer import BundleMismatch, Sealer, Signed
from passmill.store import passes, served_passes
from passmill.store.database import Database
from passmill.store.served_passes import StoredVersion
from passmill.telemetry.metrics import Metrics
from passmill.usecases.authenticate_pass import AuthenticPass
from passmill.usecases.finish_signing import LEFT_BEHIND
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import PassContents
from passmill.usecases.read_together import ReadTogether

# By then a sweeper has signed what was queued, or a living process what it has just changed.
_SIGNED_SOON: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassVersion:
    """The content of a pass at the moment it was asked for. `last_modified`: whole seconds, another
    one for each content."""

    last_modified: datetime
    revision_id: RevisionId


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBundle:
    """A .pkpass, and which version it is of: a newer one than was seen before, if the pass has just
    changed."""

    content: bytes
    version: PassVersion


class ServePass:
    """Serves passes as they are, without a private key: what would have to be signed is queued for
    those who have one, and never served. Its tasks belong to the task group given."""

    def __init__(
        self,
        *,
        database: Database,
        load_revision: LoadRevision,
        certificates: CertificateCache,
        contents: PassContents,
        sealer: Sealer,
        clock: Clock,
        metrics: Metrics,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._database = database
        self._load_revision = load_revision
        self._certificates = certificates
        self._contents = contents
        self._sealer = sealer
        self._clock = clock
        self._metrics = metrics
        self._versions: ReadTogether[StoredVersion] = ReadTogether(self._read_versions, tasks=tasks)
        self._recipes: ReadTogether[WalletPass] = ReadTogether(self._read_recipes, tasks=tasks)
        self._log = structlog.get_logger("passmill.serve")

    async def version(self, authentic: AuthenticPass) -> PassVersion:
        """What there is now, for If-Modified-Since and HEAD.

        AppError NOT_FOUND when there is no such pass, of another pass type, or its tokens are of
        another generation; UNAVAILABLE, DEADLINE_EXCEEDED.
        """
        stored = await self._versions(authentic.caller, authentic.pass_id)
        if (
            stored is None
            or stored.token_generation != authentic.token_generation
            or stored.pass_type_identifier != authentic.pass_type_identifier
        ):
            raise not_found("pass")
        return PassVersion(last_modified=stored.signing_time, revision_id=stored.revision_id)

    async def bundle_of(self, caller: Caller, pass_id: PassId) -> ServedBundle:
        """The bundle for somebody who was let in without the pass's token, as whoever has claimed
        it. AppError as `bundle`."""
        wallet_pass = await self._recipes(caller, pass_id)
        if wallet_pass is None:
            raise not_found("pass")
        loaded = await self._load_revision.by_id(caller, wallet_pass.revision_id)
        return await self.bundle(
            AuthenticPass(
                caller=caller,
                pass_id=pass_id,
                pass_type_identifier=loaded.revision.pass_type_identifier,
                token_generation=wallet_pass.token_generation,
            )
        )

    async def bundle(self, authentic: AuthenticPass) -> ServedBundle:
        """The bundle to send: the same bytes until the pass changes.

        AppError as `version`; UNAVAILABLE with `retry_after` when the pass is not signed yet, or
        its recipe no longer gives what was signed: then it is queued, and signed by a process that
        can.
        """
        wallet_pass = await self._recipes(authentic.caller, authentic.pass_id)
        if wallet_pass is None or wallet_pass.token_generation != authentic.token_generation:
            raise not_found("pass")
        try:
            content = await self._assemble(authentic, wallet_pass)
        except (BundleMismatch, SignerError) as error:
            self._metrics.assembled("mismatch")
            self._log.warning("bundle.queued_for_signing", pass_id=str(authentic.pass_id))
            await self._queue(authentic, wallet_pass, does_not_fit=True)
            raise _not_signed() from error
        if content is None:
            self._metrics.assembled("unsigned")
            await self._queue(authentic, wallet_pass, does_not_fit=False)
            raise _not_signed()
        self._metrics.assembled("served")
        version = PassVersion(
            last_modified=wallet_pass.signing_time, revision_id=wallet_pass.revision_id
        )
        return ServedBundle(content=content, version=version)

    async def _assemble(self, authentic: AuthenticPass, wallet_pass: WalletPass) -> bytes | None:
        caller = authentic.caller
        loaded = await self._load_revision.by_id(caller, wallet_pass.revision_id)
        if loaded.revision.pass_type_identifier != authentic.pass_type_identifier:
            raise not_found("pass")
        if wallet_pass.signature is None:
            return None
        certificate = await self._certificates.certificate(caller, wallet_pass.signing_identity_id)
        return await self._sealer.assemble(
            loaded.prepared(is_personalized=wallet_pass.is_personalized),
            certificate,
            line=(await self._contents.of(caller)).encode(loaded, wallet_pass),
            signing_time=wallet_pass.signing_time,
            signed=Signed(digest=wallet_pass.digest, signature=wallet_pass.signature),
        )

    async def _queue(
        self, authentic: AuthenticPass, wallet_pass: WalletPass, *, does_not_fit: bool
    ) -> None:
        # For the next sweep: as old as what a sweep takes on.
        outstanding_since = self._clock.now() - LEFT_BEHIND
        async with self._database.statement(authentic.caller) as tx:
            if does_not_fit:
                await served_passes.queue_signing(
                    tx,
                    wallet_pass.pass_id,
                    version=wallet_pass.version,
                    outstanding_since=outstanding_since,
                )
            else:
                await served_passes.keep_intent(
                    tx, wallet_pass.pass_id, outstanding_since=outstanding_since
                )

    async def _read_versions(
        self, caller: Caller, pass_ids: Sequence[PassId]
    ) -> Mapping[PassId, StoredVersion]:
        async with self._database.statement(caller) as tx:
            return await served_passes.read_versions(tx, pass_ids)

    async def _read_recipes(
        self, caller: Caller, pass_ids: Sequence[PassId]
    ) -> Mapping[PassId, WalletPass]:
        async with self._database.statement(caller) as tx:
            found = await passes.find_passes(tx, pass_ids=pass_ids, references=())
        return {each.wallet_pass.pass_id: each.wallet_pass for each in found}


def _not_signed() -> AppError:
    return AppError(
        reason=Reason.UNAVAILABLE,
        message="The pass is being signed. Retry.",
        retry_after=_SIGNED_SOON,
    )
