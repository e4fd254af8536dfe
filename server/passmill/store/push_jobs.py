"""Jobs that push: made in the transaction of the change that phones are to hear of."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self
from uuid import UUID

from passmill.domain.ids import PassId, TenantId, new_uuid
from passmill.domain.registrations import DeviceNumber
from passmill.store.database import Transaction
from passmill.store.jobs import JobKind, enqueue_jobs

MOST_DEVICES: Final = 5_000
"""Devices or passes that one job names itself."""

# A holder waits for the first of these, nobody for the last.
_CHANGE, _LATER, _MANY = 2, 1, 0
# What goes out in one turn of the usual pace: a job of more keeps its place for longer.
_FEW: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPayload:
    """Whom to push: those who hold the passes of an event of the outbox, or these passes, or these
    devices.

    `push_id`: names the job for good, also when it is done again after its worker died.
    `rounds`: how often these devices were pushed in vain already; 0 for a change's first push. Of
    passes: how often they were not signed yet.
    `is_trailing`: it stands for changes within the window of an earlier push.
    """

    tenant_id: TenantId
    push_id: UUID
    event_id: UUID | None = None
    pass_ids: Sequence[PassId] = ()
    device_numbers: Sequence[DeviceNumber] = ()
    rounds: int = 0
    is_trailing: bool = False

    def encode(self) -> bytes:
        """As the queue keeps it: a line of JSON, then the passes' and devices' bytes."""
        head = json.dumps(
            [
                self.tenant_id,
                self.push_id.hex,
                self.event_id.hex if self.event_id else None,
                len(self.pass_ids),
                self.rounds,
                self.is_trailing,
            ]
        )
        passes = b"".join([each.bytes for each in self.pass_ids])
        devices = struct.pack(f">{len(self.device_numbers)}q", *self.device_numbers)
        return head.encode() + b"\n" + passes + devices

    @classmethod
    def decode(cls, payload: bytes | None) -> Self:
        """What `encode` wrote. ValueError for anything else."""
        head, _, body = (payload or b"").partition(b"\n")
        tenant_id, push_id, event_id, passes, rounds, is_trailing = json.loads(head)
        devices = body[16 * passes :]
        return cls(
            tenant_id=TenantId(tenant_id),
            push_id=UUID(hex=push_id),
            event_id=UUID(hex=event_id) if event_id else None,
            pass_ids=[PassId(UUID(bytes=body[at : at + 16])) for at in range(0, 16 * passes, 16)],
            device_numbers=[
                DeviceNumber(each) for each in struct.unpack(f">{len(devices) // 8}q", devices)
            ],
            rounds=rounds,
            is_trailing=is_trailing,
        )

    def log_fields(self) -> dict[str, str]:
        """What the log says of it."""
        return {"push_id": str(self.push_id), "tenant_id": str(self.tenant_id)}


async def enqueue_push(tx: Transaction, event_id: UUID, *, is_many: bool = False) -> None:
    """Queues the push to all who hold the passes of an event that this transaction writes.

    `is_many`: thousands of passes (a campaign's), for which no holder of a single change waits.
    """
    payload = PushPayload(tenant_id=tx.tenant_id, push_id=event_id, event_id=event_id)
    kind, priority = (JobKind.PUSH_MANY, _MANY) if is_many else (JobKind.PUSH, _CHANGE)
    await enqueue_jobs(tx, kind, [payload.encode()], priority=priority)


async def enqueue_pass_push(
    tx: Transaction,
    pass_ids: Sequence[PassId],
    *,
    delay: timedelta = timedelta(),
    rounds: int = 0,
) -> None:
    """Queues pushes to all who hold these passes, after `delay`. `rounds`: how often they were not
    signed yet. No holder of a single change waits for more than a hundred."""
    parts = [
        PushPayload(
            tenant_id=tx.tenant_id,
            push_id=new_uuid(),
            pass_ids=pass_ids[start : start + MOST_DEVICES],
            rounds=rounds,
        )
        for start in range(0, len(pass_ids), MOST_DEVICES)
    ]
    await _enqueue_parts(tx, parts, delay=delay)


async def enqueue_device_push(
    tx: Transaction,
    device_numbers: Sequence[DeviceNumber],
    *,
    delay: timedelta = timedelta(),
    rounds: int = 0,
    is_trailing: bool = False,
) -> None:
    """Queues pushes to these devices, by the tokens they have then, after `delay`. No holder of a
    single change waits for more than a hundred."""
    parts = [
        PushPayload(
            tenant_id=tx.tenant_id,
            push_id=new_uuid(),
            device_numbers=device_numbers[start : start + MOST_DEVICES],
            rounds=rounds,
            is_trailing=is_trailing,
        )
        for start in range(0, len(device_numbers), MOST_DEVICES)
    ]
    await _enqueue_parts(tx, parts, delay=delay)


async def _enqueue_parts(
    tx: Transaction, parts: Sequence[PushPayload], *, delay: timedelta
) -> None:
    few: list[bytes] = []
    many: list[bytes] = []
    for part in parts:
        size = len(part.pass_ids) + len(part.device_numbers)
        (few if size <= _FEW else many).append(part.encode())
    await enqueue_jobs(tx, JobKind.PUSH, few, priority=_LATER, delay=delay)
    await enqueue_jobs(tx, JobKind.PUSH_MANY, many, priority=_LATER, delay=delay)
