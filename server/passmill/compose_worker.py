"""The composition root of workers: from settings to jobs being served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import REGISTRY, CollectorRegistry

from passmill.compose_balances import (
    balance_worker,
    expire_balances,
    lower_tiers,
    show_balances,
)
from passmill.compose_claims import ClaimServices, open_claims
from passmill.compose_frame import Frame, open_frame
from passmill.compose_holders import complete_erasures
from passmill.compose_push import PushServices, open_push
from passmill.compose_sharing import SharingServices, open_sharing
from passmill.compose_sign_ups import sign_personalization, sign_up_worker
from passmill.domain.campaigns import ActionKind
from passmill.domain.clock import Clock, SystemClock
from passmill.failpoints import Failpoints
from passmill.jobs.worker import Worker
from passmill.settings import Settings
from passmill.store.balance_jobs import BalancesPayload
from passmill.store.database import Database
from passmill.store.jobs import JobKind, JobPayload, open_job_queue
from passmill.store.personalizations import PersonalizationPayload
from passmill.telemetry.balance_metrics import BalanceMetrics
from passmill.telemetry.health import Readiness
from passmill.usecases.change_passes import ChangePasses
from passmill.usecases.choose_segment import ChooseSegment
from passmill.usecases.compare_recipients import CompareRecipients
from passmill.usecases.complete_erasures import CompleteErasures
from passmill.usecases.expire_balances import ExpireBalances
from passmill.usecases.forget_recipients import ForgetRecipients
from passmill.usecases.issue_shard import IssueShard
from passmill.usecases.lower_tiers import LowerTiers
from passmill.usecases.serve_shard import ServeShard
from passmill.usecases.settle_campaign import SettleCampaign
from passmill.usecases.show_balances import ShowBalances
from passmill.usecases.sign_personalization import SignPersonalization
from passmill.usecases.sign_shard import SignShard
from passmill.usecases.start_campaign import BeginScheduled
from passmill.usecases.update_shard import UpdateShard
from passmill.usecases.void_shard import VoidShard
from passmill.usecases.watch_queue import WatchQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerServices:
    """What a worker runs."""

    database: Database
    worker: Worker[JobPayload]
    sign_ups: Worker[PersonalizationPayload]
    sign_personalization: SignPersonalization
    balances: Worker[BalancesPayload]
    show_balances: ShowBalances
    claims: ClaimServices
    serve_shard: ServeShard
    settle_campaign: SettleCampaign
    begin_scheduled: BeginScheduled
    choose_segment: ChooseSegment
    compare_recipients: CompareRecipients
    watch_queue: WatchQueue
    push: PushServices
    sharing: SharingServices
    forget_recipients: ForgetRecipients
    complete_erasures: CompleteErasures
    expire_balances: ExpireBalances
    lower_tiers: LowerTiers
    readiness: Readiness


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """One worker process, until `stop`; then finishes what it has begun."""
    async with open_worker(settings) as services, asyncio.TaskGroup() as upkeep:
        tasks = [
            upkeep.create_task(services.readiness.run()),
            upkeep.create_task(services.watch_queue.run_forever()),
            upkeep.create_task(services.push.watch.run_forever()),
            upkeep.create_task(services.push.rebuild.run_forever()),
            upkeep.create_task(services.forget_recipients.run_forever()),
            upkeep.create_task(services.complete_erasures.run_forever()),
            upkeep.create_task(services.expire_balances.run_forever()),
            upkeep.create_task(services.lower_tiers.run_forever()),
        ]
        # Pushes have places of their own, so that no campaign keeps a holder waiting.
        async with asyncio.TaskGroup() as working:
            working.create_task(services.worker.run(stop))
            working.create_task(services.push.worker.run(stop))
            working.create_task(services.sign_ups.run(stop))
            working.create_task(services.sharing.worker.run(stop))
            working.create_task(services.balances.run(stop))
            working.create_task(services.claims.worker.run(stop))
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def open_worker(
    settings: Settings, *, clock: Clock | None = None, registry: CollectorRegistry = REGISTRY
) -> AsyncIterator[WorkerServices]:
    """Connects, checks and wires a worker; nothing runs yet. `clock`: the machine's when None.
    Raises as `open_frame`."""
    async with (
        open_frame(settings, clock=clock or SystemClock(), registry=registry) as frame,
        open_push(frame, registry) as push,
        open_sharing(frame) as sharing,
        open_claims(frame) as claims,
    ):
        yield _services(frame, push, sharing, claims, BalanceMetrics(registry))


def _services(
    frame: Frame,
    push: PushServices,
    sharing: SharingServices,
    claims: ClaimServices,
    balance_metrics: BalanceMetrics,
) -> WorkerServices:
    settings = frame.settings
    settle = SettleCampaign(database=frame.database, clock=frame.clock)
    serve_shard = _serve_shard(frame, settle)
    begin_scheduled = BeginScheduled(database=frame.database, clock=frame.clock)
    sign = sign_personalization(frame)
    show = show_balances(frame)
    choose_segment = ChooseSegment(database=frame.database, codec=frame.codec, clock=frame.clock)
    compare_recipients = CompareRecipients(database=frame.database, clock=frame.clock)

    async def serve(payload: JobPayload) -> None:
        await serve_shard(payload.tenant_id, payload.campaign_id, payload.shard_number)

    async def begin(payload: JobPayload) -> None:
        await begin_scheduled(payload.tenant_id, payload.campaign_id)

    async def see_to(payload: JobPayload) -> None:
        await settle(payload.tenant_id, payload.campaign_id)

    async def choose(payload: JobPayload) -> None:
        await choose_segment(payload.tenant_id, payload.campaign_id)

    async def compare(payload: JobPayload) -> None:
        await compare_recipients(payload.tenant_id, payload.campaign_id)

    async def give_up(payload: JobPayload) -> bool:
        return await serve_shard.give_up(payload.tenant_id, payload.campaign_id)

    handlers: dict[JobKind, Callable[[JobPayload], Awaitable[None]]] = {
        JobKind.SHARD: serve,
        JobKind.START: begin,
        JobKind.SETTLE: see_to,
        JobKind.CHOOSE: choose,
        JobKind.COMPARE: compare,
    }
    return WorkerServices(
        database=frame.database,
        worker=Worker(
            open_queue=lambda: open_job_queue(settings.database_url.get_secret_value()),
            decode=JobPayload.decode,
            handlers=handlers,
            give_up=give_up,
            metrics=frame.campaign_metrics,
            concurrent_jobs=settings.worker.concurrent_shards,
            heartbeat_seconds=settings.worker.heartbeat_seconds,
        ),
        sign_ups=sign_up_worker(frame, sign),
        sign_personalization=sign,
        balances=balance_worker(frame, show),
        show_balances=show,
        claims=claims,
        serve_shard=serve_shard,
        settle_campaign=settle,
        begin_scheduled=begin_scheduled,
        choose_segment=choose_segment,
        compare_recipients=compare_recipients,
        watch_queue=WatchQueue(database=frame.database, metrics=frame.campaign_metrics),
        push=push,
        sharing=sharing,
        forget_recipients=ForgetRecipients(
            database=frame.database,
            clock=frame.clock,
            kept=timedelta(days=settings.worker.keep_recipients_days),
        ),
        complete_erasures=complete_erasures(frame),
        expire_balances=expire_balances(frame, balance_metrics),
        lower_tiers=lower_tiers(frame, balance_metrics),
        readiness=Readiness(
            checks={"database": frame.database.ping}, metrics=frame.metrics, on_change=_tell_nobody
        ),
    )


def _serve_shard(frame: Frame, settle: SettleCampaign) -> ServeShard:
    rendering = frame.rendering
    failpoints = Failpoints(frame.settings.fail_at)
    change_passes = ChangePasses(
        database=frame.database,
        load_revision=frame.load_revision,
        identities=frame.identities,
        contents=rendering.contents,
        sealer=rendering.sealer,
        clock=frame.clock,
        metrics=frame.metrics,
        failpoints=failpoints,
    )
    update = UpdateShard(
        database=frame.database, load_revision=frame.load_revision, change_passes=change_passes
    )
    void = VoidShard(database=frame.database, change_passes=change_passes)
    issue = IssueShard(
        database=frame.database,
        load_revision=frame.load_revision,
        identities=frame.identities,
        numbers=rendering.numbers,
        contents=rendering.contents,
        claim_tokens=frame.keyring.claim_tokens,
        sign_shard=SignShard(sealer=rendering.sealer),
        clock=frame.clock,
        metrics=frame.metrics,
        failpoints=failpoints,
    )
    return ServeShard(
        database=frame.database,
        acts={
            ActionKind.ISSUE: issue,
            ActionKind.UPDATE: update,
            ActionKind.NOTIFY: update,
            ActionKind.VOID: void,
        },
        void_issued=void,
        settle=settle,
        metrics=frame.campaign_metrics,
        failpoints=failpoints,
    )


async def _tell_nobody(_: bool) -> None:
    """No server's health hangs on a worker's readiness: metrics tell of it."""
