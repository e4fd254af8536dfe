"""Do a push job: find whom it is about, wait until there is something to fetch, and push."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, TenantId
from passmill.domain.registrations import DeviceNumber
from passmill.errors import AppError
from passmill.store import fan_out, push_targets
from passmill.store.database import Database
from passmill.store.push_jobs import PushPayload, enqueue_device_push, enqueue_pass_push
from passmill.store.push_targets import PushTargets
from passmill.usecases.finish_signing import FinishSigning
from passmill.usecases.push_devices import PushDevices
from passmill.usecases.resolve_devices import ResolveDevices
from passmill.usecases.send_pushes import DevicePush

_SECONDS: Final = 30.0
# Whoever made the change signs it, a few milliseconds after it is committed.
_LOOKS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
# What cannot be signed now (its certificate expired, say) is looked at after so long, and then
# after twice as long each time, as it may be so for days.
_UNSIGNED_DELAY: Final = timedelta(seconds=30)
# What is changed again and again is unsigned for a while each time.
_CHANGING_DELAY: Final = timedelta(seconds=2)
_LONGEST_DELAY: Final = timedelta(hours=1)
_MOST_DOUBLED: Final = 20


@dataclass(frozen=True, slots=True)
class _Later:
    """Passes that are not signed, and when to look again."""

    pass_ids: Sequence[PassId]
    delay: timedelta


class PushChanges:
    """Serves push jobs."""

    def __init__(
        self,
        *,
        database: Database,
        resolve: ResolveDevices,
        push_devices: PushDevices,
        finish_signing: FinishSigning,
        clock: Clock,
    ) -> None:
        self._database = database
        self._resolve = resolve
        self._push_devices = push_devices
        self._finish_signing = finish_signing
        self._clock = clock
        self._log = structlog.get_logger("passmill.push")

    async def __call__(self, payload: PushPayload) -> None:
        """Every device the job is about has been pushed, or is in another job. Idempotent but for
        pushes made twice. AppError UNAVAILABLE, DEADLINE_EXCEEDED, RATE_LIMITED: do it
        again."""
        read_time = self._clock.now()
        later: _Later | None = None
        if payload.device_numbers:
            topics = await self._devices_of(payload)
        else:
            topics, later = await self._holders_of(payload)
        if len(topics) > 1:
            # A topic that is stopped must not make the others' pushes go out again and again.
            await self._queue(payload, topics.values(), later)
            return
        for topic, targets in topics.items():
            await self._push_devices(
                DevicePush(
                    tenant_id=payload.tenant_id,
                    topic=topic,
                    targets=targets,
                    read_time=read_time,
                    push_id=payload.push_id,
                    rounds=payload.rounds if payload.device_numbers else 0,
                    is_trailing=payload.is_trailing,
                )
            )
        # Last: what is put back before this is done again with all its passes, signed or not.
        await self._queue(payload, (), later)

    async def _devices_of(self, payload: PushPayload) -> dict[str, dict[bytes, list[int]]]:
        async with self._database.statement(_inside(payload.tenant_id)) as tx:
            found = await fan_out.read_tokens_of_devices(tx, payload.device_numbers)
        topics: dict[str, dict[bytes, list[int]]] = {}
        for topic, rows in found.items():
            targets = topics.setdefault(topic, {})
            for number, token in rows:
                targets.setdefault(bytes.fromhex(token), []).append(number)
        return topics

    async def _holders_of(
        self, payload: PushPayload
    ) -> tuple[dict[str, dict[bytes, list[int]]], _Later | None]:
        targets, delay = await self._signed(payload)
        unsigned = [PassId(UUID(bytes=each)) for some in targets for each in some.unsigned]
        caller = _inside(payload.tenant_id)
        topics = {
            some.pass_type_identifier: await self._resolve(caller, some.signed)
            for some in targets
            if some.signed
        }
        return topics, _Later(unsigned, delay) if unsigned else None

    async def _signed(self, payload: PushPayload) -> tuple[list[PushTargets], timedelta]:
        """The passes, once they are signed or cannot be; and when to look again at those that are
        not."""
        factor = 2 ** min(payload.rounds, _MOST_DOUBLED)
        delay = _CHANGING_DELAY * factor
        targets = await self._read(payload)
        # Nobody is just about to sign what a job of passes names.
        for seconds in _LOOKS if payload.event_id is not None else ():
            if not any(some.unsigned for some in targets):
                return targets, delay
            await asyncio.sleep(seconds)
            targets = await self._read(payload)
        for some in targets:
            if not some.unsigned:
                continue
            try:
                await self._finish_signing(
                    _inside(payload.tenant_id), [PassId(UUID(bytes=each)) for each in some.unsigned]
                )
            except AppError as error:
                self._log.warning("push.not_signed", reason=error.reason.value)
                delay = _UNSIGNED_DELAY * factor
        return await self._read(payload), min(delay, _LONGEST_DELAY)

    async def _read(self, payload: PushPayload) -> list[PushTargets]:
        async with self._database.statement(_inside(payload.tenant_id)) as tx:
            if payload.event_id is not None:
                return await push_targets.read_event_targets(tx, payload.event_id)
            return await push_targets.read_pass_targets(tx, payload.pass_ids)

    async def _queue(
        self,
        payload: PushPayload,
        topics: Collection[Mapping[bytes, Sequence[int]]],
        later: _Later | None,
    ) -> None:
        if not topics and later is None:
            return
        async with self._database.transaction(_inside(payload.tenant_id)) as tx:
            for targets in topics:
                await enqueue_device_push(
                    tx,
                    [DeviceNumber(number) for some in targets.values() for number in some],
                    rounds=payload.rounds if payload.device_numbers else 0,
                    is_trailing=payload.is_trailing,
                )
            if later is not None:
                await enqueue_pass_push(
                    tx, later.pass_ids, delay=later.delay, rounds=payload.rounds + 1
                )


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _SECONDS
    return internal_caller(tenant_id, deadline=deadline)
