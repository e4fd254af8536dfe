"""Jobs of the queue (PgQueuer, in its own schema of the same database): made in the transaction of
the change they belong to, so that there is no change without its jobs and no job without its
change."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.adapters.persistence import qb
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.tm import TaskManager
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel
from pgqueuer.ports.driver import Driver, NotifyCallback

from passmill.domain.ids import CampaignId, TenantId
from passmill.store.database import Transaction

# The queue's priorities are 32 bits wide.
_LAST_TURN: Final = (1 << 31) - 1
_CONNECTIONS: Final = 4  # one listens, the others take, beat and end jobs
_STATEMENT_SECONDS: Final = 20.0


class JobKind(StrEnum):
    """What a job asks for; PgQueuer's entry points."""

    SHARD = "campaign_shard"
    START = "campaign_start"
    SETTLE = "campaign_settle"
    CHOOSE = "campaign_choose"
    COMPARE = "campaign_compare"
    PUSH = "push"
    PUSH_MANY = "push_many"
    PERSONALIZE = "pass_personalize"
    REISSUE = "pass_reissue"
    SHOW_BALANCES = "balance_show"
    CLAIM = "pass_claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPayload:
    """What a campaign's job is about. `shard_number`: 0 where it is about all of it."""

    tenant_id: TenantId
    campaign_id: CampaignId
    shard_number: int = 0

    def encode(self) -> bytes:
        """As the queue keeps it."""
        return json.dumps([self.tenant_id, str(self.campaign_id), self.shard_number]).encode()

    @classmethod
    def decode(cls, payload: bytes | None) -> Self:
        """What `encode` wrote. ValueError for anything else."""
        tenant_id, campaign_id, shard_number = json.loads(payload or b"null")
        return cls(
            tenant_id=TenantId(tenant_id),
            campaign_id=CampaignId(UUID(campaign_id)),
            shard_number=shard_number,
        )

    def log_fields(self) -> dict[str, str]:
        """What the log says of it."""
        return {"campaign_id": str(self.campaign_id), "shard_number": str(self.shard_number)}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """How full the queue is: jobs that wait and may begin, and how long the oldest has waited."""

    waiting: int
    oldest_seconds: float


async def enqueue_jobs(
    tx: Transaction,
    kind: JobKind,
    payloads: Sequence[bytes],
    *,
    priority: int,
    delay: timedelta = timedelta(),
) -> None:
    """Queues jobs of one kind, to begin after `delay`; the highest priority goes first."""
    count = len(payloads)
    if count:
        await _queries(_TransactionDriver(tx)).enqueue(
            [kind.value] * count, list(payloads), [priority] * count, [delay] * count
        )


async def enqueue_shards(
    tx: Transaction,
    campaign_id: CampaignId,
    shard_numbers: Sequence[int],
    *,
    turns: Sequence[int],
) -> None:
    """Queues shards of a campaign, each at its turn: the smallest turn of all tenants' is next."""
    count = len(shard_numbers)
    if not count:
        return
    await _queries(_TransactionDriver(tx)).enqueue(
        [JobKind.SHARD.value] * count,
        [
            JobPayload(
                tenant_id=tx.tenant_id, campaign_id=campaign_id, shard_number=number
            ).encode()
            for number in shard_numbers
        ],
        [-min(turn, _LAST_TURN) for turn in turns],
    )


async def enqueue_campaign_job(
    tx: Transaction,
    campaign_id: CampaignId,
    kind: JobKind,
    *,
    delay: timedelta = timedelta(),
) -> None:
    """Queues a job about a whole campaign, to begin after `delay`, before any shard."""
    payload = JobPayload(tenant_id=tx.tenant_id, campaign_id=campaign_id)
    await _queries(_TransactionDriver(tx)).enqueue(
        kind.value,
        payload.encode(),
        priority=_LAST_TURN,
        execute_after=max(delay, timedelta()),
    )


async def queue_turn(tx: Transaction) -> int:
    """The turn that the queue is at: that of its next shard, 0 when none waits."""
    turn = await tx.fetch_value(
        "SELECT -priority FROM pgqueuer.pgqueuer WHERE status = 'queued' AND entrypoint = $1"
        " ORDER BY priority DESC LIMIT 1",
        JobKind.SHARD.value,
    )
    return int(turn or 0)


async def read_queue_state(tx: Transaction, *kinds: JobKind) -> QueueState:
    """Of the jobs of these kinds that wait."""
    row = await tx.fetch_one(
        "SELECT count(*) AS waiting,"
        "  coalesce(extract(epoch FROM now() - min(execute_after)), 0)::float8 AS oldest_seconds"
        " FROM pgqueuer.pgqueuer"
        " WHERE status = 'queued' AND entrypoint = ANY($1) AND execute_after <= now()",
        [kind.value for kind in kinds],
    )
    assert row is not None  # noqa: S101 - an aggregate has one row
    return QueueState(waiting=row["waiting"], oldest_seconds=row["oldest_seconds"])


async def requeue_failed_jobs(tx: Transaction) -> int:
    """Lets jobs begin again that were put aside because even putting them back failed; gives how
    many. What they are about is idempotent, and says itself when it is over."""
    return await tx.execute(
        "UPDATE pgqueuer.pgqueuer SET status = 'queued', updated = now(), execute_after = now(),"
        " queue_manager_id = NULL WHERE id IN"
        " (SELECT id FROM pgqueuer.pgqueuer WHERE status = 'failed' FOR UPDATE SKIP LOCKED)"
    )


async def forget_ended_jobs(tx: Transaction, *, older_than: timedelta) -> int:
    """Deletes the queue's record of jobs that ended before; gives how many lines."""
    deleted = await tx.execute(
        "DELETE FROM pgqueuer.pgqueuer_log WHERE created < now() - $1::interval", older_than
    )
    await tx.execute(
        "DELETE FROM pgqueuer.pgqueuer_statistics WHERE created < now() - $1::interval", older_than
    )
    return deleted


@asynccontextmanager
async def open_job_queue(url: str) -> AsyncIterator[Queries]:
    """The queue as its worker sees it, with connections of its own, so that no shard's work keeps a
    heartbeat waiting. `url`: as the application's role; not through a pooler, for it listens."""
    pool = await asyncpg.create_pool(
        url,
        min_size=2,
        max_size=_CONNECTIONS,
        command_timeout=_STATEMENT_SECONDS,
        server_settings={
            "application_name": "passmill queue",
            "jit": "off",
            "enable_seqscan": "off",  # as in `store.database`: a plan made when the queue was empty
        },
    )
    try:
        yield _queries(_QueueDriver(pool))
    finally:
        pool.terminate()


class _QueueDriver(AsyncpgPoolDriver):
    """Notifies nobody before it listens itself. PgQueuer probes its listener from the start on,
    over another connection; a probe that overtakes LISTEN is never heard, and the queue given up
    ten seconds later."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(pool)
        self._is_listening = asyncio.Event()

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        await super().add_listener(channel, callback)
        self._is_listening.set()

    async def notify(self, channel: str, payload: str) -> None:
        await self._is_listening.wait()
        await super().notify(channel, payload)


def _queries(driver: Driver) -> Queries:
    settings = _settings()
    return Queries(
        driver,
        qbe=qb.QueryBuilderEnvironment(settings),
        qbq=qb.QueryQueueBuilder(settings),
        qbs=qb.QuerySchedulerBuilder(settings),
    )


@functools.cache
def _settings() -> DBSettings:
    # Every name is given, as PgQueuer takes those that are not from the environment.
    return DBSettings(
        prefix="",
        db_schema="pgqueuer",
        channel=Channel("ch_pgqueuer"),
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.durable,
        widen_id=True,
    )


class _TransactionDriver(Driver):
    """Lets PgQueuer write inside an open transaction of ours, which bears the deadline."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return [dict(row) for row in await self._tx.fetch(query, *args)]

    async def execute(self, query: str, *args: object) -> str:
        return f"DONE {await self._tx.execute(query, *args)}"

    async def notify(self, channel: str, payload: str) -> None:
        await self._tx.execute("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        raise NotImplementedError("a transaction does not listen")

    @property
    def shutdown(self) -> asyncio.Event:
        return asyncio.Event()

    @property
    def tm(self) -> TaskManager:
        return TaskManager()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None
