"""Signing and assembling off the event loop, in a few threads: the signer lets go of the GIL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from passmill import _signer
from passmill.signing.rides import Rides
from passmill.telemetry.metrics import Metrics

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRequest:
    """One pass to sign: its line (`encode_pass_data`) and the signing time (aware, whole
    seconds)."""

    line: bytes = field(repr=False)
    signing_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """SHA-1 of the pass.json (20 bytes) and the signature over the manifest that holds it."""

    digest: bytes
    signature: bytes


class BundleMismatch(Exception):
    """The recipe's digest or signature is not of what was rendered: never to be served."""


class Sealer:
    """Signs and assembles. Each call runs in a thread of its own pool; a burst queues, the loop
    stays free."""

    __slots__ = ("_executor", "_metrics", "_repaired", "_rides")

    def __init__(self, *, executor: ThreadPoolExecutor, metrics: Metrics) -> None:
        self._executor = executor
        self._metrics = metrics
        self._repaired = _signer.repaired_signatures()
        self._rides: Rides[SignRequest, Signed] = Rides(self._sign_together)

    async def sign(
        self,
        prepared: _signer.PreparedRevision,
        identity: _signer.SigningIdentity,
        requests: Sequence[SignRequest],
    ) -> list[Signed]:
        """Renders and signs passes of one revision with one identity, in their order; one alone
        rides along with others that are under way.

        Raises `_signer.SignerError` when the key cannot sign; nothing is returned unchecked: the
        signer verifies each signature with the public key.
        """
        if len(requests) == 1:
            return [await self._rides.sign(prepared, identity, requests[0])]
        return await self._sign_together(prepared, identity, requests)

    async def _sign_together(
        self,
        prepared: _signer.PreparedRevision,
        identity: _signer.SigningIdentity,
        requests: Sequence[SignRequest],
    ) -> list[Signed]:
        digests, signatures = await self.sign_lines(
            prepared,
            identity,
            b"".join(each.line for each in requests),
            signing_times=[int(each.signing_time.timestamp()) for each in requests],
        )
        return [
            Signed(digest=digest, signature=signature)
            for digest, signature in zip(digests, signatures, strict=True)
        ]

    async def sign_lines(
        self,
        prepared: _signer.PreparedRevision,
        identity: _signer.SigningIdentity,
        lines: bytes,
        *,
        signing_times: Sequence[int],
    ) -> tuple[list[bytes], list[bytes]]:
        """As `sign`, from one buffer of lines and a Unix second each: a column of digests and one
        of signatures."""
        count = len(signing_times)
        try:
            with self._metrics.signing(count):
                return await self._run(
                    lambda: _signer.sign_batch(
                        prepared, lines, identity, signing_times, threads=_threads(count)
                    )
                )
        finally:
            self._count_repaired()

    async def sign_token(
        self, identity: _signer.SigningIdentity, token: bytes, *, signing_time: datetime
    ) -> bytes:
        """The detached CMS over a device's sign-up token. Raises `_signer.InvalidToken` for what
        could be taken for a manifest, `_signer.SignerError` when the key cannot sign."""
        second = int(signing_time.timestamp())
        return await self._run(lambda: _signer.sign_token(identity, token, signing_time=second))

    async def assemble(
        self,
        prepared: _signer.PreparedRevision,
        certificate: _signer.SigningCertificate,
        *,
        line: bytes,
        signing_time: datetime,
        signed: Signed,
    ) -> bytes:
        """The .pkpass of a stored recipe, without the private key. BundleMismatch when it does not
        fit together."""
        try:
            return await self._run(
                lambda: _signer.assemble(
                    prepared,
                    line,
                    certificate,
                    signing_time=int(signing_time.timestamp()),
                    digest=signed.digest,
                    signature=signed.signature,
                )
            )
        except _signer.DigestMismatch as error:
            raise BundleMismatch from error

    async def pack(self, bundles: Sequence[bytes]) -> bytes:
        """Up to ten .pkpass files as one .pkpasses."""
        return await self._run(lambda: _signer.pack_passes(bundles))

    def _count_repaired(self) -> None:
        # The signer counts for the whole process.
        repaired = _signer.repaired_signatures()
        if repaired > self._repaired:
            self._metrics.repaired(repaired - self._repaired)
            self._repaired = repaired

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


@asynccontextmanager
async def open_sealer(*, threads: int, metrics: Metrics) -> AsyncIterator[Sealer]:
    """A sealer with its threads, which end with the block."""
    executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="sealer")
    try:
        yield Sealer(executor=executor, metrics=metrics)
    finally:
        await asyncio.to_thread(executor.shutdown)


def _threads(passes: int) -> int:
    # A thread more pays from some milliseconds of work on. Two at most: there is a process a core,
    # so more would only wait for each other.
    return 1 if passes < 32 else 2
