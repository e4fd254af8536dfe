"""The composition root: from settings to running parts. The only place where things are wired."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import REGISTRY, CollectorRegistry

from passmill import compose_passes
from passmill.compose_balances import balance_servicer
from passmill.compose_campaigns import campaign_servicer
from passmill.compose_claims import enrolment_servicer
from passmill.compose_counter import counter_services
from passmill.compose_devices import device_servicer, event_servicer
from passmill.compose_frame import Frame, open_frame
from passmill.compose_holders import holder_services
from passmill.domain.clock import Clock, SystemClock
from passmill.domain.keyring import Keyring
from passmill.rpc import (
    access_service,
    admin_service,
    balance_service,
    campaign_service,
    device_service,
    enrolment_service,
    event_service,
    pass_service,
    program_service,
    server,
    template_service,
)
from passmill.rpc.desks import Desks
from passmill.rpc.door import Authenticator, Door
from passmill.rpc.places import Places, RequestBytes
from passmill.rpc.status import RequestValidator
from passmill.settings import Settings
from passmill.store.database import Database
from passmill.telemetry.health import Readiness
from passmill.telemetry.metrics import Metrics
from passmill.usecases.activate_signing_identity import ActivateSigningIdentity
from passmill.usecases.archive_program import ArchiveProgram
from passmill.usecases.archive_template import ArchiveTemplate
from passmill.usecases.authenticate import Authenticate, AuthenticateOperator
from passmill.usecases.change_pass import ChangePass
from passmill.usecases.check_signing_identity import CheckSigningIdentity
from passmill.usecases.create_api_key import CreateApiKey
from passmill.usecases.create_program import CreateProgram
from passmill.usecases.create_template import CreateTemplate
from passmill.usecases.create_tenant import CreateTenant
from passmill.usecases.edit_pass import EditPass
from passmill.usecases.find_desk import FindDesk
from passmill.usecases.finish_signing import FinishSigning
from passmill.usecases.forget_answers import ForgetAnswers
from passmill.usecases.forget_devices import ForgetDevices
from passmill.usecases.forget_events import ForgetEvents
from passmill.usecases.forget_personalizations import ForgetPersonalizations
from passmill.usecases.preview_pass import PreviewPass
from passmill.usecases.publish_template import PublishTemplate
from passmill.usecases.reinstate_pass import ReinstatePass
from passmill.usecases.revoke_api_key import RevokeApiKey
from passmill.usecases.revoke_barcode_key import RevokeBarcodeKey
from passmill.usecases.rotate_barcode_key import RotateBarcodeKey
from passmill.usecases.set_tenant_state import SetTenantState
from passmill.usecases.update_pass import UpdatePass
from passmill.usecases.update_program import UpdateProgram
from passmill.usecases.update_template import UpdateTemplate
from passmill.usecases.upload_asset import UploadAsset
from passmill.usecases.upload_signing_identity import UploadSigningIdentity
from passmill.usecases.void_pass import VoidPass
from passmill.usecases.watch_identities import WatchIdentities


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The servicers of one process, each with its descriptor and rules, and its upkeep."""

    public: server.PublishedServices
    admin: server.PublishedServices
    keyring: Keyring
    validator: RequestValidator
    database: Database
    metrics: Metrics
    authenticate: Authenticate
    finish_signing: FinishSigning
    forget_answers: ForgetAnswers
    forget_personalizations: ForgetPersonalizations
    forget_devices: ForgetDevices
    forget_events: ForgetEvents
    watch_identities: WatchIdentities


@asynccontextmanager
async def open_services(
    settings: Settings, *, clock: Clock, registry: CollectorRegistry
) -> AsyncIterator[Services]:
    """Connects, checks and wires everything below the gRPC servers; undoes it in the end.

    Refuses to start as `open_frame`.
    """
    async with (
        open_frame(settings, clock=clock, registry=registry) as frame,
        asyncio.TaskGroup() as tasks,
    ):
        yield _services(frame, tasks)


def _services(frame: Frame, tasks: asyncio.TaskGroup) -> Services:
    rendering, find_pass = frame.rendering, frame.rendering.find_pass
    edit_pass = compose_passes.edit_pass(frame)
    find_desk = FindDesk(database=frame.database)
    desks = Desks(find_desk=find_desk)
    passes = _pass_servicer(frame, tasks, edit_pass)
    return Services(
        public={
            pass_service.SERVICE: (passes, pass_service.RULES),
            access_service.SERVICE: (
                access_service.AccessServicer(clock=frame.clock),
                access_service.RULES,
            ),
            program_service.SERVICE: (_program_servicer(frame), program_service.RULES),
            template_service.SERVICE: (_template_servicer(frame), template_service.RULES),
            campaign_service.SERVICE: (campaign_servicer(frame), campaign_service.RULES),
            device_service.SERVICE: (device_servicer(frame, find_pass), device_service.RULES),
            event_service.SERVICE: (event_servicer(frame), event_service.RULES),
            balance_service.SERVICE: (
                balance_servicer(frame, find_pass=find_pass, edit_pass=edit_pass, desks=desks),
                balance_service.RULES,
            ),
            enrolment_service.SERVICE: (enrolment_servicer(frame), enrolment_service.RULES),
            **counter_services(
                frame, find_pass=find_pass, edit_pass=edit_pass, find_desk=find_desk
            ),
            **holder_services(frame, find_pass=find_pass, edit_pass=edit_pass, desks=desks),
        },
        admin={
            admin_service.SERVICE: (
                _admin_servicer(frame),
                admin_service.RULES,
            )
        },
        keyring=frame.keyring,
        validator=frame.validator,
        database=frame.database,
        metrics=frame.metrics,
        authenticate=Authenticate(database=frame.database, clock=frame.clock),
        finish_signing=rendering.finish_signing,
        forget_answers=ForgetAnswers(database=frame.database, clock=frame.clock),
        forget_personalizations=ForgetPersonalizations(database=frame.database, clock=frame.clock),
        forget_devices=ForgetDevices(database=frame.database, clock=frame.clock),
        forget_events=ForgetEvents(
            database=frame.database,
            clock=frame.clock,
            kept=timedelta(days=frame.settings.events_kept_days),
        ),
        watch_identities=WatchIdentities(
            database=frame.database, clock=frame.clock, metrics=frame.metrics
        ),
    )


def _pass_servicer(
    frame: Frame, tasks: asyncio.TaskGroup, edit_pass: EditPass
) -> pass_service.PassServicer:
    rendering = frame.rendering
    change_pass = ChangePass(edit_pass=edit_pass)
    return pass_service.PassServicer(
        use_cases=pass_service.PassUseCases(
            issue_passes=compose_passes.issue_passes(frame, tasks),
            update_pass=UpdatePass(change_pass=change_pass),
            void_pass=VoidPass(change_pass=change_pass),
            reinstate_pass=ReinstatePass(change_pass=change_pass),
            find_pass=rendering.find_pass,
            get_pass_bundle=compose_passes.get_pass_bundle(frame),
            load_revision=frame.load_revision,
            contents=rendering.contents,
        ),
        database=frame.database,
        pages=frame.pages,
    )


def _program_servicer(frame: Frame) -> program_service.ProgramServicer:
    mutator, clock = frame.mutator, frame.clock
    return program_service.ProgramServicer(
        database=frame.database,
        pages=frame.pages,
        create_program=CreateProgram(mutator=mutator, clock=clock),
        update_program=UpdateProgram(mutator=mutator, clock=clock),
        archive_program=ArchiveProgram(
            mutator=mutator, clock=clock, load_revision=frame.load_revision
        ),
    )


def _template_servicer(frame: Frame) -> template_service.TemplateServicer:
    mutator, clock, codec = frame.mutator, frame.clock, frame.codec
    return template_service.TemplateServicer(
        database=frame.database,
        pages=frame.pages,
        codec=codec,
        validator=frame.validator,
        create_template=CreateTemplate(
            database=frame.database, mutator=mutator, clock=clock, codec=codec
        ),
        update_template=UpdateTemplate(
            database=frame.database, mutator=mutator, clock=clock, codec=codec
        ),
        publish_template=PublishTemplate(
            database=frame.database,
            mutator=mutator,
            clock=clock,
            codec=codec,
            load_revision=frame.load_revision,
            web_service_url=frame.settings.web_service_url,
        ),
        archive_template=ArchiveTemplate(
            mutator=mutator, clock=clock, codec=codec, load_revision=frame.load_revision
        ),
        upload_asset=UploadAsset(mutator=mutator, clock=clock),
        preview_pass=PreviewPass(
            database=frame.database, codec=codec, identities=frame.identities, clock=clock
        ),
    )


def _admin_servicer(frame: Frame) -> admin_service.AdminServicer:
    mutator, clock, keyring = frame.mutator, frame.clock, frame.keyring
    return admin_service.AdminServicer(
        database=frame.database,
        pages=frame.pages,
        use_cases=admin_service.AdminUseCases(
            create_tenant=CreateTenant(mutator=mutator, clock=clock),
            set_tenant_state=SetTenantState(mutator=mutator, clock=clock),
            create_api_key=CreateApiKey(mutator=mutator, clock=clock),
            revoke_api_key=RevokeApiKey(mutator=mutator, clock=clock),
            upload_signing_identity=UploadSigningIdentity(
                mutator=mutator, keyring=keyring, clock=clock
            ),
            check_signing_identity=CheckSigningIdentity(
                identities=frame.identity_reader, keyring=keyring, clock=clock
            ),
            activate_signing_identity=ActivateSigningIdentity(mutator=mutator, clock=clock),
            rotate_barcode_key=RotateBarcodeKey(
                mutator=mutator, keyring=keyring, keys=frame.rendering.barcode_keys, clock=clock
            ),
            revoke_barcode_key=RevokeBarcodeKey(
                mutator=mutator, keyring=keyring, keys=frame.rendering.barcode_keys, clock=clock
            ),
        ),
    )


async def run_api(
    settings: Settings, *, api_port: int, admin_port: int | None, stop: asyncio.Event
) -> None:
    """One API process, until `stop`; then drains. `admin_port` None: another process has it."""
    async with open_api(settings, api_port=api_port, admin_port=admin_port):
        await stop.wait()


@asynccontextmanager
async def open_api(
    settings: Settings,
    *,
    api_port: int,
    admin_port: int | None,
    clock: Clock | None = None,
    registry: CollectorRegistry = REGISTRY,
) -> AsyncIterator[Services]:
    """The gRPC servers of one process, and its upkeep; drains in the end.

    `clock`: the machine's when None. Raises as `open_services`, and OSError for a port that is
    taken.
    """
    async with (
        open_services(settings, clock=clock or SystemClock(), registry=registry) as services,
        AsyncExitStack() as stack,
    ):
        doors: list[tuple[server.PublishedServices, Authenticator, int, bool]] = [
            (services.public, services.authenticate, api_port, False)
        ]
        if admin_port is not None:
            operator = AuthenticateOperator(
                authenticate=services.authenticate, operator_key_hash=_operator_key_hash(settings)
            )
            doors.append((services.admin, operator, admin_port, True))
        states = [
            await stack.enter_async_context(
                _open(settings, services, published, authenticator, port=port, is_admin=is_admin)
            )
            for published, authenticator, port, is_admin in doors
        ]

        async def tell(is_ready: bool) -> None:
            for state in states:
                await state.set(is_ready)

        readiness = Readiness(
            checks={"database": services.database.ping}, metrics=services.metrics, on_change=tell
        )
        async with asyncio.TaskGroup() as upkeep:
            tasks = [
                upkeep.create_task(readiness.run()),
                upkeep.create_task(services.finish_signing.sweep_forever()),
                upkeep.create_task(services.forget_answers.run_forever()),
                upkeep.create_task(services.forget_personalizations.run_forever()),
                upkeep.create_task(services.forget_devices.run_forever()),
                upkeep.create_task(services.forget_events.run_forever()),
                upkeep.create_task(services.watch_identities.run_forever()),
            ]
            try:
                yield services
            finally:
                for task in tasks:
                    task.cancel()


def _open(
    settings: Settings,
    services: Services,
    published: server.PublishedServices,
    authenticator: Authenticator,
    *,
    port: int,
    is_admin: bool,
) -> AbstractAsyncContextManager[server.ServingState]:
    place = settings.admin if is_admin else settings.api
    limits = settings.limits
    door = Door(
        authenticator=authenticator,
        keyring=services.keyring,
        metrics=services.metrics,
        validator=services.validator,
        calls=Places(
            most=limits.max_calls,
            most_of_key=limits.max_calls_per_key or max(1, limits.max_calls // 4),
        ),
        streams=Places(most=limits.max_streams, most_of_key=limits.max_streams_per_key),
        request_bytes=RequestBytes(
            most=limits.max_request_bytes,
            most_of_key=max(limits.max_message_bytes, limits.max_request_bytes // 4),
        ),
        idle_seconds=limits.stream_idle_seconds,
    )
    return server.open_server(
        address=f"{place.host}:{port}",
        tls=server.credentials(place),
        limits=limits,
        door=door,
        services=published,
        is_for_operators=is_admin,
    )


def _operator_key_hash(settings: Settings) -> bytes:
    if settings.operator_key is None:
        return secrets.token_bytes(32)  # no key has this hash: only tenants' own keys open the door
    return hashlib.sha256(settings.operator_key.get_secret_value().encode()).digest()
