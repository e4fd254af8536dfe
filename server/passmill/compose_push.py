"""The composition root of pushes: from a change to the phones that hear of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import CollectorRegistry

from passmill.compose_frame import Frame
from passmill.compose_index import open_link
from passmill.jobs.worker import Worker
from passmill.push.apns import ApnsEndpoint, ApnsPools
from passmill.push.pace import PushPace
from passmill.push.redis_link import RedisLink
from passmill.push.registration_index import RegistrationIndex
from passmill.push.topic_places import TopicPlaces
from passmill.push.windows import PushWindows
from passmill.store.jobs import JobKind, open_job_queue
from passmill.store.push_jobs import PushPayload
from passmill.telemetry.push_metrics import PushMetrics
from passmill.usecases.guard_topics import GuardTopics
from passmill.usecases.judge_pushes import JudgePushes
from passmill.usecases.push_changes import PushChanges
from passmill.usecases.push_devices import ATTEMPTS_A_ROUND, PushDevices
from passmill.usecases.rebuild_index import RebuildIndex
from passmill.usecases.resolve_devices import ResolveDevices
from passmill.usecases.send_pushes import SendPushes
from passmill.usecases.watch_pushes import WatchPushes

# Jobs of many passes or devices that all workers do at a time, so that a single change finds a
# place.
_MANY_AT_ONCE = 4
_BATCH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PushServices:
    """What pushes."""

    worker: Worker[PushPayload]
    push_changes: PushChanges
    push_devices: PushDevices
    resolve: ResolveDevices
    rebuild: RebuildIndex
    watch: WatchPushes


@asynccontextmanager
async def open_push(frame: Frame, registry: CollectorRegistry) -> AsyncIterator[PushServices]:
    """Wires pushes on a frame; ends what is under way in the end. OSError when the file of APNs'
    roots cannot be read."""
    settings = frame.settings.push
    metrics = PushMetrics(registry)
    roots = settings.roots_file.read_bytes() if settings.roots_file else None
    pools = ApnsPools(
        ApnsEndpoint(host=settings.host, port=settings.port, roots=roots),
        clock=frame.clock,
        deadline_seconds=settings.deadline_seconds,
        connections=settings.connections,
        calls=settings.concurrent_jobs,
        attempts=ATTEMPTS_A_ROUND,
    )
    async with open_link(frame.settings, metrics) as link:
        try:
            yield _services(frame, link, pools, metrics)
        finally:
            await pools.close()


def _services(
    frame: Frame, link: RedisLink, pools: ApnsPools, metrics: PushMetrics
) -> PushServices:
    settings = frame.settings.push
    index = RegistrationIndex(link)
    rebuild = RebuildIndex(database=frame.database, index=index, metrics=metrics)
    resolve = ResolveDevices(database=frame.database, index=index, rebuild=rebuild, metrics=metrics)
    pace = PushPace(
        link, per_second=settings.per_second, share=1 / (frame.settings.worker.processes or 1)
    )
    places = TopicPlaces(places=settings.concurrent_jobs)
    guard = GuardTopics(
        database=frame.database,
        clock=frame.clock,
        probe_every=timedelta(seconds=settings.probe_seconds),
    )
    send = SendPushes(pusher=pools, places=places, clock=frame.clock, metrics=metrics)
    push_devices = PushDevices(
        database=frame.database,
        identities=frame.identities,
        send=send,
        judge=JudgePushes(
            database=frame.database,
            send=send,
            pace=pace,
            guard=guard,
            clock=frame.clock,
            metrics=metrics,
        ),
        windows=PushWindows(link, window=timedelta(seconds=settings.window_seconds)),
        pace=pace,
        places=places,
        guard=guard,
        clock=frame.clock,
        metrics=metrics,
    )
    push_changes = PushChanges(
        database=frame.database,
        resolve=resolve,
        push_devices=push_devices,
        finish_signing=frame.rendering.finish_signing,
        clock=frame.clock,
    )
    return PushServices(
        worker=Worker(
            open_queue=lambda: open_job_queue(frame.settings.database_url.get_secret_value()),
            decode=PushPayload.decode,
            handlers={JobKind.PUSH: push_changes, JobKind.PUSH_MANY: push_changes},
            give_up=_never,
            metrics=frame.campaign_metrics,
            concurrent_jobs=settings.concurrent_jobs,
            heartbeat_seconds=frame.settings.worker.heartbeat_seconds,
            batch_size=_BATCH,
            most_at_once={JobKind.PUSH_MANY: _MANY_AT_ONCE},
        ),
        push_changes=push_changes,
        push_devices=push_devices,
        resolve=resolve,
        rebuild=rebuild,
        watch=WatchPushes(database=frame.database, metrics=metrics),
    )


async def _never(_: PushPayload) -> bool:
    """A push is never given up: it is put back until somebody mends what is wrong with it."""
    return False
