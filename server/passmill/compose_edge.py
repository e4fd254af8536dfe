"""The composition root of the edge: from settings to an open door. It holds no key but the one that
passes' tokens come from."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry

from passmill.compose_claims import claim_rooms, edge_enrolment, page_refusals
from passmill.domain.callers import operator_caller
from passmill.domain.clock import Clock, SystemClock
from passmill.domain.pass_tokens import PassTokens
from passmill.edge.claim_view import ClaimView
from passmill.edge.client_rates import ClientAddresses, ClientRates
from passmill.edge.connections import ConnectionWatch
from passmill.edge.door import EdgeDoor
from passmill.edge.open_files import allow_open_files
from passmill.edge.server import open_edge_server
from passmill.edge.web_service import WebService, WebServiceUseCases
from passmill.rpc.convert_template import ProtoTemplateCodec
from passmill.rpc.enrolment_service import PublicEnrolmentUseCases
from passmill.settings import MissingSetting, Settings
from passmill.signing.certificates import CertificateCache
from passmill.signing.freshness import require_fresh_signer
from passmill.signing.revisions import RevisionCache
from passmill.signing.sealer import open_sealer
from passmill.store.database import Database, open_database
from passmill.store.deployment import check_edge_key
from passmill.store.migrate import check_schema
from passmill.store.roles import check_application_role
from passmill.store.signing_identities import CertificateReader
from passmill.telemetry.edge_metrics import EdgeMetrics
from passmill.telemetry.health import Readiness
from passmill.telemetry.metrics import Metrics
from passmill.telemetry.sampling import Sampler
from passmill.usecases.authenticate_pass import AuthenticatePass
from passmill.usecases.list_updated_passes import ListUpdatedPasses
from passmill.usecases.load_revision import LoadRevision, RevisionReader
from passmill.usecases.note_device_logs import NoteDeviceLogs
from passmill.usecases.note_fetches import NoteFetches
from passmill.usecases.pass_content import PassContents
from passmill.usecases.pass_types import PassTypes
from passmill.usecases.personalize_pass import PersonalizePass
from passmill.usecases.register_device import RegisterDevice
from passmill.usecases.serve_pass import ServePass
from passmill.usecases.tenant_numbers import TenantNumbers
from passmill.usecases.unregister_device import UnregisterDevice

_START_SECONDS = 30.0
_LOGS_PER_SECOND = 5
_COLLECTOR_THRESHOLDS = (50_000, 20, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeServices:
    """What the edge serves, and its upkeep."""

    database: Database
    use_cases: WebServiceUseCases
    claims: PublicEnrolmentUseCases
    metrics: Metrics
    edge_metrics: EdgeMetrics


class Openness:
    """Whether load balancers should send requests to this process."""

    def __init__(self) -> None:
        self.is_ready = False

    async def set(self, is_ready: bool) -> None:
        """The last checks passed, or one did not."""
        self.is_ready = is_ready


async def run_edge(settings: Settings, *, port: int, stop: asyncio.Event) -> None:
    """One edge process, until `stop`; then drains. Raises as `open_edge`, and TooFewFiles."""
    allow_open_files(
        max_connections=settings.edge.max_connections,
        database_connections=settings.edge.database_connections,
    )
    async with open_edge(settings, port=port):
        _spare_the_collector()
        await stop.wait()


def _spare_the_collector() -> None:
    """What is there now stays for good, and requests leave no cycles behind: looking for them as
    often as Python does takes a tenth of the processor's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)


@asynccontextmanager
async def open_edge(
    settings: Settings,
    *,
    port: int,
    clock: Clock | None = None,
    registry: CollectorRegistry = REGISTRY,
) -> AsyncIterator[EdgeServices]:
    """The web service of one process on `port`, and its upkeep; drains in the end.

    `clock`: the machine's when None. Raises as `open_edge_services`, and OSError for a port that is
    taken.
    """
    clock = clock or SystemClock()
    async with (
        open_edge_services(settings, clock=clock, registry=registry) as services,
        asyncio.TaskGroup() as upkeep,
        AsyncExitStack() as stack,
    ):
        openness = Openness()
        readiness = Readiness(
            checks={"database": services.database.ping},
            metrics=services.metrics,
            on_change=openness.set,
        )
        place = settings.edge
        door = _door(settings, services, clock=clock, openness=openness)
        tasks = [upkeep.create_task(services.use_cases.note_fetches.run_forever())]
        stack.callback(lambda: [task.cancel() for task in tasks])
        await stack.enter_async_context(
            open_edge_server(
                door,
                place=place,
                port=port,
                watch=ConnectionWatch(
                    port=port,
                    idle_seconds=place.idle_seconds,
                    max_connections=place.max_connections,
                    metrics=services.edge_metrics,
                ),
                drain_seconds=settings.limits.drain_seconds,
            )
        )
        await readiness.check()
        checking = upkeep.create_task(readiness.run())
        stack.callback(checking.cancel)
        yield services


@asynccontextmanager
async def open_edge_services(
    settings: Settings, *, clock: Clock, registry: CollectorRegistry
) -> AsyncIterator[EdgeServices]:
    """Connects, checks and wires what stands behind the door; undoes it in the end.

    Refuses to start (MissingSetting, RoleRefused, MigrationRefused, WrongEdgeKey, StaleSigner)
    where it could not keep its promises.
    """
    edge_key = settings.edge_key_bytes
    if edge_key is None or settings.master_key is not None:
        raise MissingSetting(
            "An edge process is given PASSMILL_EDGE_KEY, and never the master key."
        )
    require_fresh_signer()
    tokens = PassTokens(edge_key)
    metrics = Metrics(registry)
    async with (
        open_database(
            settings.database_url.get_secret_value(),
            min_connections=min(
                settings.database.min_connections, settings.edge.database_connections
            ),
            max_connections=settings.edge.database_connections,
        ) as database,
        open_sealer(threads=settings.limits.signing_threads, metrics=metrics) as sealer,
        asyncio.TaskGroup() as tasks,
    ):
        await _check_database(database, tokens, require_durable=settings.database.require_durable)
        numbers = TenantNumbers(database=database)
        pass_types = PassTypes(database=database)
        edge_metrics = EdgeMetrics(registry)
        load_revision = LoadRevision(
            database=database,
            cache=RevisionCache(
                loader=RevisionReader(database=database, codec=ProtoTemplateCodec()),
                capacity_bytes=settings.limits.revision_cache_bytes,
            ),
        )
        contents = PassContents(numbers=numbers, tokens=tokens)
        serve_pass = ServePass(
            database=database,
            load_revision=load_revision,
            certificates=CertificateCache(loader=CertificateReader(database=database)),
            contents=contents,
            sealer=sealer,
            clock=clock,
            metrics=metrics,
            tasks=tasks,
        )
        yield EdgeServices(
            database=database,
            metrics=metrics,
            edge_metrics=edge_metrics,
            claims=edge_enrolment(
                database=database,
                load_revision=load_revision,
                clock=clock,
                edge_key=edge_key,
                serve_pass=serve_pass,
                place=settings.edge,
            ),
            use_cases=WebServiceUseCases(
                authenticate_pass=AuthenticatePass(
                    pass_types=pass_types, numbers=numbers, tokens=tokens
                ),
                register_device=RegisterDevice(database=database, clock=clock),
                unregister_device=UnregisterDevice(database=database, clock=clock),
                list_updated_passes=ListUpdatedPasses(
                    database=database, pass_types=pass_types, numbers=numbers, clock=clock
                ),
                serve_pass=serve_pass,
                note_fetches=NoteFetches(database=database, clock=clock),
                personalize_pass=PersonalizePass(
                    database=database,
                    pass_types=pass_types,
                    numbers=numbers,
                    load_revision=load_revision,
                    clock=clock,
                ),
                note_device_logs=NoteDeviceLogs(
                    metrics=edge_metrics, sampler=Sampler(per_second=_LOGS_PER_SECOND)
                ),
            ),
        )


def _door(
    settings: Settings, services: EdgeServices, *, clock: Clock, openness: Openness
) -> EdgeDoor:
    place = settings.edge
    # Behind a proxy of ours that encrypts, too.
    is_encrypted = place.has_tls or settings.web_service_url is not None
    view = ClaimView()
    return EdgeDoor(
        web_service=WebService(
            use_cases=services.use_cases, clock=clock, metrics=services.edge_metrics
        ),
        pages=claim_rooms(
            settings,
            services.claims,
            serve_pass=services.use_cases.serve_pass,
            view=view,
            is_encrypted=is_encrypted,
            is_ready=lambda: openness.is_ready,
        ),
        page_refusals=page_refusals(settings, view=view),
        addresses=ClientAddresses(trusted_proxies=place.trusted_proxies),
        rates=ClientRates(per_second=place.client_rate, burst=place.client_burst)
        if place.client_rate
        else None,
        metrics=services.edge_metrics,
        refusals=Sampler(per_second=_LOGS_PER_SECOND),
        max_requests=place.max_requests,
        deadline_seconds=place.request_seconds,
        is_encrypted=is_encrypted,
    )


async def _check_database(database: Database, tokens: PassTokens, *, require_durable: bool) -> None:
    caller = operator_caller(deadline=asyncio.get_running_loop().time() + _START_SECONDS)
    async with database.transaction(caller) as tx:
        await check_application_role(tx, require_durable=require_durable)
        await check_schema(tx)
        await check_edge_key(tx, tokens.check_value)
