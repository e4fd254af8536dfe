"""How every change is made once: claim the request id, do the work, keep the answer, in one
transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.keyring import Keyring
from passmill.errors import AppError, Reason
from passmill.store import answers
from passmill.store.answers import StoredAnswer
from passmill.store.database import Database, Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation(Generic[T]):
    """One intended change, as its caller identified it.

    `method`: the RPC's name. `fingerprint`: tells this request's body from another's. `encode`:
    turns the result into the answer's bytes. `holds_secret`: the answer must not be stored in the
    clear.
    """

    caller: Caller
    method: str
    request_id: UUID
    fingerprint: bytes
    validate_only: bool
    encode: Callable[[T], bytes]
    holds_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer's bytes, and whether they were given before."""

    content: bytes
    is_replayed: bool


class _DryRunEnds(Exception):
    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class Mutator:
    """Runs mutations exactly once."""

    __slots__ = ("_clock", "_database", "_keyring")

    def __init__(self, *, database: Database, clock: Clock, keyring: Keyring) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring

    async def run(
        self, mutation: Mutation[T], work: Callable[[Transaction], Awaitable[T]]
    ) -> Answer:
        """The answer of `work`, or the one kept from the first time.

        What `work` raises leaves nothing behind.
        AppError REQUEST_ID_REUSED when the request id belongs to another request.
        """
        try:
            async with self._database.transaction(mutation.caller) as tx:
                kept = await answers.claim_request(
                    tx,
                    request_id=mutation.request_id,
                    method=mutation.method,
                    fingerprint=mutation.fingerprint,
                    now=self._clock.now(),
                )
                if kept is not None:
                    return Answer(content=self._replay(mutation, kept), is_replayed=True)
                answer = mutation.encode(await work(tx))
                if mutation.validate_only:
                    raise _DryRunEnds(answer)  # noqa: TRY301 - by way of the rollback
                stored = (
                    self._keyring.seal_answer(answer, context=mutation.request_id.bytes)
                    if mutation.holds_secret
                    else answer
                )
                await answers.keep_answer(tx, request_id=mutation.request_id, answer=stored)
        except _DryRunEnds as end:
            return Answer(content=end.answer, is_replayed=False)
        return Answer(content=answer, is_replayed=False)

    async def replay(self, mutation: Mutation[T]) -> Answer | None:
        """What was answered to this request before, None when it is new.

        For use cases that prepare outside the transaction: what was done stays done, even if the
        same request would be refused today.
        """
        async with self._database.transaction(mutation.caller, read_only=True) as tx:
            found = await answers.find_answers(tx, [mutation.request_id])
        kept = found.get(mutation.request_id)
        if kept is None:
            return None
        return Answer(content=self._replay(mutation, kept), is_replayed=True)

    def _replay(self, mutation: Mutation[T], kept: StoredAnswer) -> bytes:
        require_same_request(kept, method=mutation.method, fingerprint=mutation.fingerprint)
        if mutation.holds_secret:
            return self._keyring.open_answer(kept.answer, context=mutation.request_id.bytes)
        return kept.answer


def require_same_request(kept: StoredAnswer, *, method: str, fingerprint: bytes) -> None:
    """AppError REQUEST_ID_REUSED when the kept answer belongs to another request."""
    if kept.method != method or kept.fingerprint != fingerprint:
        raise AppError(
            reason=Reason.REQUEST_ID_REUSED,
            message="This request_id was used with another request. Make a new one.",
        )
