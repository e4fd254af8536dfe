"""Signing identities that end soon are counted and named."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from passmill.dev.authority import KeyType
from passmill.telemetry.metrics import Metrics
from passmill.usecases.watch_identities import EXPIRY_DAYS, WatchIdentities
from passmill.v1.admin_service_pb2 import SetTenantStateRequest, Tenant
from tests.support.postgres import Database
from tests.support.service import SetClock, authority, meta, open_service

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_ends_are_told_in_time(database: Database) -> None:
    """Only active identities of active tenants count, from sixty days before their end on; the log
    names one when it comes nearer, and not each time."""
    clock, registry = SetClock(), CollectorRegistry()
    async with open_service(database.url, clock=clock) as service:
        watch = WatchIdentities(
            database=service.services.database, clock=clock, metrics=Metrics(registry)
        )

        async def counted() -> list[float | None]:
            await watch()
            name = "passmill_signing_identities_expiring"
            return [
                registry.get_sample_value(name, {"within_days": str(days)}) for days in EXPIRY_DAYS
            ]

        tenants = [await service.add_tenant() for _ in range(2)]
        for tenant, days, is_active in (
            (tenants[0], 100, True),
            (tenants[0], 20, False),
            (tenants[1], 60, True),
        ):
            issued = authority().issue_pass_certificate(
                now=clock.now(), validity=timedelta(days=days, hours=1), key_type=KeyType.P256
            )
            await tenant.add_identity(issued, activate=is_active)
        assert await counted() == [0, 0, 0, 0, 0, 0]
        clock.advance(timedelta(hours=2))
        with capture_logs() as log:
            assert await counted() == [1, 0, 0, 0, 0, 0]
            assert await counted() == [1, 0, 0, 0, 0, 0]
        assert [each["tenant_id"] for each in log] == [tenants[1].tenant_id]
        clock.advance(timedelta(days=70))
        with capture_logs() as log:
            assert await counted() == [2, 2, 2, 1, 1, 1]
        assert [each["event"] for each in log] == ["signing_identity.expiring"] * 2
        await service.operator.SetTenantState(
            SetTenantStateRequest(
                tenant_id=tenants[1].tenant_id, state=Tenant.STATE_SUSPENDED, meta=meta()
            )
        )
        assert await counted() == [1, 1, 1, 0, 0, 0]
