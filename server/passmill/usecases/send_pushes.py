"""Send pushes to tokens of a pass type, and keep how they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Protocol
from uuid import UUID

from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.push_outcomes import PushOutcome
from passmill.domain.registrations import DeviceNumber
from passmill.push.topic_places import TopicPlaces
from passmill.signing.native import SigningIdentity
from passmill.store import devices
from passmill.store.database import Transaction
from passmill.store.push_counts import add_push_counts
from passmill.telemetry.push_metrics import PushMetrics


class Pusher(Protocol):
    """The push engine (`push.apns.ApnsPools`)."""

    async def push(
        self, tenant_id: TenantId, identity: SigningIdentity, tokens: Sequence[str]
    ) -> list[PushOutcome]:
        """How each push ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePush:
    """Whom to push, of one pass type. `targets`: device numbers by token, as they were at
    `read_time`. `push_id`, `rounds`, `is_trailing`: as of `store.push_jobs.PushPayload`."""

    tenant_id: TenantId
    topic: str
    targets: Mapping[bytes, Sequence[int]] = field(repr=False)
    read_time: datetime
    push_id: UUID
    rounds: int
    is_trailing: bool


class SendPushes:
    """Sends."""

    def __init__(
        self, *, pusher: Pusher, places: TopicPlaces, clock: Clock, metrics: PushMetrics
    ) -> None:
        self._pusher = pusher
        self._places = places
        self._clock = clock
        self._metrics = metrics

    async def __call__(
        self, wanted: DevicePush, identity: SigningIdentity, tokens: Sequence[bytes]
    ) -> dict[bytes, PushOutcome]:
        """How the push to each of these tokens ended, by token."""
        began = perf_counter()
        with self._places.pushing(wanted.tenant_id, wanted.topic):
            ended = await self._pusher.push(
                wanted.tenant_id, identity, [token.hex() for token in tokens]
            )
        counts = Counter((each.state.name.lower(), each.reason) for each in ended)
        self._metrics.pushed(counts, seconds=perf_counter() - began)
        return dict(zip(tokens, ended, strict=True))

    async def record(
        self, tx: Transaction, wanted: DevicePush, ended: Mapping[bytes, PushOutcome]
    ) -> None:
        """Keeps how the last push to each device ended, and counts them. For a transaction."""
        now = self._clock.now()
        await devices.record_pushes(
            tx,
            [
                devices.PushRecord(
                    device_number=DeviceNumber(number), state=outcome.state, reason=outcome.reason
                )
                for token, outcome in ended.items()
                for number in wanted.targets[token]
            ],
            now=now,
        )
        await add_push_counts(
            tx,
            wanted.topic,
            Counter((int(each.state), each.reason) for each in ended.values()),
            day=now.date(),
        )
