"""Phones in a table, a worker that pushes, and a stand-in for Apple's push service."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prometheus_client import CollectorRegistry

from passmill.compose_worker import WorkerServices, open_worker
from passmill.dev.fake_apns import FakeApns, FakeApnsCertificates, Script, Tokens
from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, TenantId
from passmill.domain.registrations import DeviceClaim, RemoveReason, Wallet
from passmill.settings import Push, RedisServer, Settings
from passmill.store.database import Database
from passmill.usecases.authenticate_pass import AuthenticPass
from passmill.usecases.register_device import RegisterDevice
from passmill.usecases.unregister_device import UnregisterDevice
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.service import PASS_TYPE, Club, Service, authority
from tests.support.small_card import value

WAIT_SECONDS = 30.0

_INSERT = """
WITH made AS (
    SELECT p.pass_id, get_byte(uuid_send(p.pass_id), 15) AS bucket,
        1 + (('x' || left(md5($2 || p.pass_id::text || n::text), 15))::bit(60)::bigint) AS number,
        encode(sha256(($2 || p.pass_id::text || n::text)::bytea), 'hex') AS token,
        v.template_id
    FROM passes p JOIN template_revisions v
        ON v.tenant_id = p.tenant_id AND v.revision_id = p.revision_id, generate_series(1, $3) AS n
    WHERE p.tenant_id = $1 AND p.pass_id = ANY($4)
), devices AS (
    INSERT INTO devices (tenant_id, device_number, pass_type_identifier,
        device_library_identifier, push_token, wallet, system_version, token_time, create_time,
        last_seen_time, listed_tag)
    SELECT $1, number, $5, md5(token), token, 1, 'Darwin/24.1.0', now(), now(), now(), 0 FROM made
)
INSERT INTO registrations (tenant_id, device_number, pass_id, bucket, tag, template_id, create_time)
SELECT $1, number, pass_id, bucket, pg_current_xact_id()::text::bigint, template_id, now()
FROM made
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """A club whose pushes go to `apns`."""

    club: Club
    apns: FakeApns
    worker: WorkerServices

    @property
    def tenant_id(self) -> TenantId:
        """The club's tenant."""
        return TenantId(int(self.club.tenant.tenant_id))

    @property
    def caller(self) -> Caller:
        """Somebody of the club, for half a minute."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        return internal_caller(self.tenant_id, deadline=deadline)

    @property
    def database(self) -> Database:
        """The worker's."""
        return self.worker.database

    async def register(
        self,
        wallet_pass: Pass,
        *,
        token: str | None = None,
        device: str | None = None,
        wallet: Wallet = Wallet.APPLE,
    ) -> str:
        """A device registers, as the edge has it done; gives its push token."""
        token = token or secrets.token_hex(32)
        register = RegisterDevice(database=self.database, clock=_Now())
        claim = DeviceClaim(
            device_library_identifier=device or secrets.token_hex(16),
            pass_type_identifier=PASS_TYPE,
            push_token=token,
            wallet=wallet,
            system_version="Darwin/24.1.0",
        )
        await register(self._authentic(wallet_pass), claim)
        return token

    async def unregister(self, wallet_pass: Pass, device: str) -> None:
        """A device does not want the pass any more."""
        unregister = UnregisterDevice(database=self.database, clock=_Now())
        await unregister(self._authentic(wallet_pass), device)

    async def register_many(self, pass_ids: Sequence[UUID], *, each: int = 1) -> int:
        """Devices with one pass and token each, written at once; gives how many."""
        async with self.database.transaction(self.caller) as tx:
            return await tx.execute(
                _INSERT, self.tenant_id, secrets.token_hex(4), each, pass_ids, PASS_TYPE
            )

    async def change(self, wallet_pass: Pass, points: int) -> None:
        """The pass changes for all to see."""
        await self.club.update(
            wallet_pass, "values.points", wanted=Pass(values={"points": value(points)})
        )

    async def tokens(self) -> Mapping[str, int]:
        """Device numbers of the club that are reached, by token."""
        rows = await self.club.tenant.fetch(
            "SELECT push_token, device_number FROM devices WHERE push_token <> ''"
        )
        return {row["push_token"]: row["device_number"] for row in rows}

    async def end_reasons(self) -> Counter[RemoveReason | None]:
        """How many registrations ended why; None: not at all."""
        rows = await self.club.tenant.fetch("SELECT remove_reason FROM registrations")
        return Counter(
            None if row["remove_reason"] is None else RemoveReason(row["remove_reason"])
            for row in rows
        )

    async def jobs_left(self) -> int:
        """Push jobs that are not done, those of later too."""
        [row] = await self.club.tenant.fetch(
            "SELECT count(*) FROM pgqueuer.pgqueuer WHERE entrypoint LIKE 'push%'"
        )
        return int(row[0])

    def pushed(self) -> Counter[str]:
        """How often each token's push was accepted."""
        return self.apns.log.accepted()

    async def all_pushed(self, tokens: Sequence[str], *, times: int = 1) -> None:
        """Waits until each of these was pushed so often."""
        await until(lambda: all(self.pushed()[token] >= times for token in tokens))

    async def all_done(self) -> None:
        """Waits until no push job is left."""
        async with asyncio.timeout(WAIT_SECONDS):
            while await self.jobs_left():  # noqa: ASYNC110 - done by the worker
                await asyncio.sleep(0.05)

    def _authentic(self, wallet_pass: Pass) -> AuthenticPass:
        return AuthenticPass(
            caller=self.caller,
            pass_id=PassId(UUID(wallet_pass.pass_id)),
            pass_type_identifier=PASS_TYPE,
            token_generation=0,
        )


class _Now:
    def now(self) -> datetime:
        return datetime.now(UTC)


async def until(is_so: Callable[[], bool]) -> None:
    """Waits until something is so. TimeoutError after half a minute."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens elsewhere
            await asyncio.sleep(0.02)


@asynccontextmanager
async def open_fake_apns(
    script: Script | None = None, *, tokens: Tokens | None = None
) -> AsyncIterator[FakeApns]:
    """A stand-in that takes the certificates of the tests' authority."""
    certificates = FakeApnsCertificates.issued_by(authority(), now=datetime.now(UTC))
    async with FakeApns(certificates, script, tokens=tokens) as apns:
        yield apns


def push_settings(
    settings: Settings,
    apns: FakeApns,
    folder: Path,
    *,
    redis_url: str,
    is_cluster: bool = False,
    **changed: object,
) -> Settings:
    """The settings of a worker that pushes there. `changed`: of the section `push`."""
    roots = folder / f"roots-{hashlib.sha256(authority().root_pem).hexdigest()[:8]}.pem"
    roots.write_bytes(authority().root_pem)
    push = {
        "host": "localhost",
        "port": apns.port,
        "roots_file": roots,
        "deadline_seconds": 5.0,
        "window_seconds": 0.0,
        "per_second": 100_000.0,
        "probe_seconds": 1.0,
        **changed,
    }
    return settings.model_copy(
        update={
            "redis_url": type(settings.redis_url)(redis_url),
            "redis": RedisServer(timeout_seconds=0.25, is_cluster=is_cluster),
            "push": Push.model_validate(push),
            "worker": settings.worker.model_copy(update={"heartbeat_seconds": 2.0, "processes": 1}),
        }
    )


@asynccontextmanager
async def open_fan_out(
    service: Service,
    club: Club,
    apns: FakeApns,
    settings: Settings,
    *,
    clock: Clock | None = None,
    is_running: bool = True,
) -> AsyncIterator[FanOut]:
    """A worker beside the service that does its push jobs, unless not `is_running`."""
    stop = asyncio.Event()
    async with (
        open_worker(settings, clock=clock, registry=CollectorRegistry()) as worker,
        asyncio.TaskGroup() as tasks,
    ):
        rebuild = tasks.create_task(worker.push.rebuild.run_forever())
        if is_running:
            tasks.create_task(worker.push.worker.run(stop))
        try:
            yield FanOut(club=club, apns=apns, worker=worker)
        finally:
            stop.set()
            rebuild.cancel()
