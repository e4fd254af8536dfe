"""Revoke a scanner, and its API key with it."""

from __future__ import annotations

import json

import structlog

from passmill.domain.clock import Clock
from passmill.domain.ids import parse_uuid
from passmill.domain.scanners import Scanner, ScannerId
from passmill.errors import not_found
from passmill.store.api_keys import revoke_api_key
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.scanners import revoke_scanner
from passmill.usecases.mutation import Answer, Mutation, Mutator


class RevokeScanner:
    """Ends scanners."""

    __slots__ = ("_audit", "_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(self, mutation: Mutation[Scanner], *, scanner_id: str) -> Answer:
        """The scanner, ended for good; all processes refuse it within five seconds. One revoked
        before is left as it is. AppError NOT_FOUND."""
        parsed = parse_uuid(scanner_id)
        if parsed is None:
            raise not_found("scanner")

        async def work(tx: Transaction) -> Scanner:
            now = self._clock.now()
            scanner = await revoke_scanner(tx, ScannerId(parsed), now=now)
            await revoke_api_key(tx, scanner.key_id, now=now)
            detail = {"scanner_id": str(scanner.scanner_id), "key_id": scanner.key_id}
            await insert_event(
                tx, kind="scanner.revoked", pass_ids=[], detail=json.dumps(detail), now=now
            )
            return scanner

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only):
            self._audit.info(
                "scanner.revoked",
                tenant_id=mutation.caller.tenant_id,
                scanner_id=scanner_id,
                by=mutation.caller.key_id,
            )
        return answer
