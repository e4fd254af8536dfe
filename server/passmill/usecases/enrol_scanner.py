"""Enrol a scanner: a device that brings a code gets a name, a venue and an API key of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from passmill.domain.api_keys import NewKey, new_api_key
from passmill.domain.callers import Caller, Scope
from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import TenantId, new_uuid
from passmill.domain.rates import Rates
from passmill.domain.scanners import Scanner, ScannerId, scanner_code_hash
from passmill.domain.tenants import ApiKey, TenantState
from passmill.domain.venues import Venue
from passmill.errors import AppError, Reason
from passmill.store.api_keys import insert_api_key
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event
from passmill.store.scanners import find_code_tenant, insert_scanner, use_code
from passmill.store.tenants import get_tenant
from passmill.store.venues import get_venue
from passmill.usecases.mutation import Answer, Mutation, Mutator

_EVERYBODY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledScanner:
    """The scanner, where it is, and its whole API key to be shown this once; empty in a dry run."""

    scanner: Scanner
    venue: Venue
    api_key: str = field(repr=False)


class EnrolScanner:
    """Enrols scanners. Whoever has a code may call it: there is no other credential."""

    __slots__ = ("_audit", "_clock", "_database", "_guesses", "_key_life", "_mutator")

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        guesses: Rates,
        key_life: timedelta,
        clock: Clock,
    ) -> None:
        """`guesses`: how often codes may be tried that are none, by everybody together. `key_life`:
        how long a scanner's key is good, used or not: then the device is enrolled anew."""
        self._database = database
        self._mutator = mutator
        self._guesses = guesses
        self._key_life = key_life
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(
        self,
        caller: Caller,
        mutation_within: Callable[[TenantId], Mutation[EnrolledScanner]],
        *,
        code: str,
        display_name: str,
    ) -> Answer:
        """A scanner with the code's venue and rights; the answer holds its key, so the mutation's
        `holds_secret` must be set. `mutation_within`: the call's mutation, inside the tenant that
        the code turns out to be of.

        AppError NOT_FOUND for a code that is unknown, used or over; RATE_LIMITED, INVALID_FIELD,
        TENANT_SUSPENDED.
        """
        name = admit_display_name(display_name, path="display_name")
        wait = self._guesses.wait(_EVERYBODY)
        if wait > 0:
            raise AppError(
                reason=Reason.RATE_LIMITED,
                message="Too many codes were tried that are none. Wait a little.",
                retry_after=timedelta(seconds=wait),
            )
        code_hash = scanner_code_hash(code)
        tenant_id = None if code_hash is None else await self._find_tenant(caller, code_hash)
        if code_hash is None or tenant_id is None:
            self._guesses.charge(_EVERYBODY)
            raise _no_code()
        mutation = mutation_within(tenant_id)
        if not mutation.holds_secret:
            raise ValueError("An answer with a secret must be stored sealed.")
        new_key = new_api_key()

        async def work(tx: Transaction) -> EnrolledScanner:
            await _require_active(tx, tenant_id)
            now = self._clock.now()
            return await _enrol(
                tx,
                code_hash,
                name,
                new_key,
                now=now,
                expire_time=now + self._key_life,
                is_dry=mutation.validate_only,
            )

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only):
            self._audit.info("scanner.enrolled", tenant_id=tenant_id, key_id=new_key.key_id)
        return answer

    async def _find_tenant(self, caller: Caller, code_hash: bytes) -> TenantId | None:
        async with self._database.transaction(
            caller, read_only=True, presented_secret=code_hash
        ) as tx:
            return await find_code_tenant(tx, code_hash)


async def _require_active(tx: Transaction, tenant_id: TenantId) -> None:
    if (await get_tenant(tx, tenant_id)).state is TenantState.SUSPENDED:
        raise AppError(
            reason=Reason.TENANT_SUSPENDED,
            message="The tenant of this code is suspended. Ask the service's operator.",
        )


async def _enrol(
    tx: Transaction,
    code_hash: bytes,
    name: str,
    new_key: NewKey,
    *,
    now: datetime,
    expire_time: datetime,
    is_dry: bool,
) -> EnrolledScanner:
    used = await use_code(tx, code_hash, now=now)
    if used is None:
        raise _no_code()
    venue_id, rights = used
    scanner = Scanner(
        scanner_id=ScannerId(new_uuid()),
        venue_id=venue_id,
        display_name=name,
        rights=rights,
        key_id=new_key.key_id,
        enrol_time=now,
        revoke_time=None,
        expire_time=expire_time,
    )
    await insert_api_key(
        tx,
        ApiKey(
            tenant_id=tx.tenant_id,
            key_id=new_key.key_id,
            secret_hash=new_key.secret_hash,
            display_name=name,
            scopes=frozenset({Scope.REDEEM}),
            create_time=now,
            expire_time=expire_time,
            revoke_time=None,
        ),
    )
    await insert_scanner(tx, scanner)
    detail = {
        "scanner_id": str(scanner.scanner_id),
        "venue_id": str(venue_id),
        "key_id": new_key.key_id,
    }
    await insert_event(tx, kind="scanner.enrolled", pass_ids=[], detail=json.dumps(detail), now=now)
    return EnrolledScanner(
        scanner=scanner,
        venue=await get_venue(tx, venue_id),
        api_key="" if is_dry else new_key.text,
    )


def _no_code() -> AppError:
    return AppError(
        reason=Reason.NOT_FOUND,
        message="No such code: it was used, is over, or never was. Make a new one.",
    )
