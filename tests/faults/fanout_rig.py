"""A whole service whose pushes go to a stand-in for Apple's, with a club in it: what the fan-out
scenario is played on."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from passmill.demo.club import publish_card
from passmill.dev import coffee_club
from passmill.dev.authority import ThrowawayAuthority
from passmill.dev.fake_apns import Accept, FakeApnsCertificates, FakeApnsProcess, Rule, Script
from passmill.dev.local_service import LocalService
from passmill.embedded import EmbeddedServers
from passmill_client import AdminClient, Client, messages
from tests.faults.scenario import plain_card
from tests.support.redis_servers import PrivateRedis

PASS_TYPE = coffee_club.PASS_TYPE_IDENTIFIER
HEARTBEAT_SECONDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How the service is set up. `window_seconds`, `per_second`: of pushes. `drop`: the share of
    pushes that the stand-in accepts and loses. `writers`: how many transactions are held open."""

    edges: int
    window_seconds: float
    per_second: float
    drop: float
    writers: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """The service and everything around it. `redis`: the one that the service uses."""

    service: LocalService
    apns: FakeApnsProcess
    redis: PrivateRedis
    club: Club

    @property
    def tls(self) -> ssl.SSLContext:
        """Trusts the edge."""
        return ssl.create_default_context(cafile=str(self.service.edge_root_file))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Processes that die are started again for as long as the block runs."""
        stop = threading.Event()
        watching = threading.Thread(target=self.service.supervisor.run, args=(stop,))
        watching.start()
        try:
            yield
        finally:
            stop.set()
            watching.join()

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """PostgreSQL as the owner of the tables, seeing the club's rows."""
        connection = await asyncpg.connect(self.service.database_owner_url, timeout=30)
        await connection.execute(f"SET passmill.tenant_id = '{self.club.tenant_id}'")
        return connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Club:
    """A tenant that can issue. `root_pem`: what its signatures lead to."""

    tenant_id: str
    owner_key: str = field(repr=False)
    issue_key: str = field(repr=False)
    template_id: str
    root_pem: bytes = field(repr=False)


@contextmanager
def open_rig(runner: asyncio.Runner, sizes: Sizes) -> Iterator[Rig]:
    """Starts everything; `runner`'s loop is where the Redis server is stopped and started."""
    now = datetime.now(UTC)
    authority = ThrowawayAuthority(now=now)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="passmill-fanout-")))
        runner.run(_keep_commit_times(folder / "data"))
        apns = stack.enter_context(
            FakeApnsProcess(FakeApnsCertificates.issued_by(authority, now=now), _script(sizes))
        )
        redis = PrivateRedis(folder / "redis")
        runner.run(redis.start())
        stack.callback(lambda: runner.run(redis.kill()))
        (folder / "roots.pem").write_bytes(authority.root_pem)
        service = stack.enter_context(
            LocalService(
                data_dir=folder / "data",
                processes=1,
                workers=2,
                edges=sizes.edges,
                durable=True,
                settings=_settings(sizes, apns, redis, folder / "roots.pem"),
            )
        )
        yield Rig(service=service, apns=apns, redis=redis, club=_set_up(service, authority, now))


def _script(sizes: Sizes) -> Script:
    if not sizes.drop:
        return Script()
    return Script(rules=(Rule(answer=Accept(is_lost=True), fraction=sizes.drop),), seed=sizes.seed)


def _settings(
    sizes: Sizes, apns: FakeApnsProcess, redis: PrivateRedis, roots: Path
) -> dict[str, str]:
    settings = {
        "PASSMILL_REDIS_URL": redis.url,
        "PASSMILL_PUSH__HOST": "localhost",
        "PASSMILL_PUSH__PORT": str(apns.port),
        "PASSMILL_PUSH__ROOTS_FILE": str(roots),
        "PASSMILL_PUSH__WINDOW_SECONDS": str(sizes.window_seconds),
        "PASSMILL_PUSH__PER_SECOND": str(sizes.per_second),
        "PASSMILL_EDGE__CLIENT_RATE": "0",  # all phones are behind one address
        "PASSMILL_WORKER__HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "PASSMILL_LOG__LEVEL": "error",
    }
    if sizes.writers:
        settings["PASSMILL_DATABASE__MAX_CONNECTIONS"] = str(sizes.writers + 10)
    return settings


async def _keep_commit_times(data: Path) -> None:
    """Has PostgreSQL remember when each transaction was committed: the checker's clock."""
    async with EmbeddedServers(data, durable=True) as servers:
        connection = await asyncpg.connect(servers.superuser_url, timeout=30)
        try:
            await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        finally:
            await connection.close(timeout=5)


def _set_up(service: LocalService, authority: ThrowawayAuthority, now: datetime) -> Club:
    certificate = authority.issue_pass_certificate(
        now=now,
        pass_type_identifier=PASS_TYPE,
        team_identifier=coffee_club.TEAM_IDENTIFIER,
    )
    scopes = {
        "owner": [messages.API_SCOPE_ADMIN, messages.API_SCOPE_READ],
        "campaign": [messages.API_SCOPE_ISSUE, messages.API_SCOPE_READ],
    }
    with AdminClient(service.admin_address, service.operator_key) as admin:
        tenant_id = admin.create_tenant(coffee_club.ORGANIZATION).tenant_id
        keys = {
            name: admin.create_api_key(name, tenant_id=tenant_id, scopes=some).secret_key
            for name, some in scopes.items()
        }
        admin.upload_signing_identity(
            messages.Pkcs12(content=certificate.pkcs12("password"), password="password"),
            intermediates=[authority.wwdr_pem],
            activate=True,
            tenant_id=tenant_id,
        )
    with Client(service.api_address, keys["owner"]) as client:
        template_id = publish_card(client, plain_card, lambda step: None)
    return Club(
        tenant_id=tenant_id,
        owner_key=keys["owner"],
        issue_key=keys["campaign"],
        template_id=template_id,
        root_pem=authority.root_pem,
    )


def publish_again(rig: Rig) -> int:
    """Publishes the card with another description: the number of the new revision."""
    with Client(rig.service.api_address, rig.club.owner_key) as client:
        changed = client.update_template(
            rig.club.template_id,
            update_mask=["content.description"],
            content=messages.TemplateContent(description="The card of the second year"),
        )
        published = client.publish_template(rig.club.template_id, etag=changed.template.etag)
    return published.revision.revision
