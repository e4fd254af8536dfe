"""The composition root of the fan-out index: Redis, and what fills the index from PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from passmill.domain.callers import operator_caller
from passmill.push.redis_link import RedisLink, open_redis
from passmill.push.registration_index import RegistrationIndex
from passmill.settings import Settings
from passmill.store.database import open_database
from passmill.store.migrate import check_schema
from passmill.store.roles import check_application_role
from passmill.telemetry.push_metrics import PushMetrics
from passmill.usecases.rebuild_index import RebuildIndex

_START_SECONDS = 30.0


# Whoever rebuilds the index has nobody waiting, and nowhere else to go.
_PATIENT_SECONDS = 5.0


@asynccontextmanager
async def open_link(
    settings: Settings, metrics: PushMetrics, *, least_seconds: float = 0.0
) -> AsyncIterator[RedisLink]:
    """The settings' Redis. Nothing is asked of it yet. `least_seconds`: waited for an answer, if
    the settings say less."""
    async with open_redis(
        settings.redis_url.get_secret_value(),
        is_cluster=settings.redis.is_cluster,
        timeout_seconds=max(settings.redis.timeout_seconds, least_seconds),
        metrics=metrics,
    ) as link:
        yield link


@asynccontextmanager
async def open_rebuild(settings: Settings) -> AsyncIterator[RebuildIndex]:
    """What `passmill registrations rebuild` runs. Raises RoleRefused, MigrationRefused."""
    metrics = PushMetrics(CollectorRegistry())
    async with (
        open_database(
            settings.database_url.get_secret_value(),
            min_connections=1,
            max_connections=settings.database.max_connections,
        ) as database,
        open_link(settings, metrics, least_seconds=_PATIENT_SECONDS) as link,
    ):
        caller = operator_caller(deadline=asyncio.get_running_loop().time() + _START_SECONDS)
        async with database.transaction(caller) as tx:
            await check_application_role(tx, require_durable=settings.database.require_durable)
            await check_schema(tx)
        yield RebuildIndex(database=database, index=RegistrationIndex(link), metrics=metrics)
