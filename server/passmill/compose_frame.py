"""What API processes and workers both stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from passmill.domain.callers import operator_caller
from passmill.domain.clock import Clock
from passmill.domain.keyring import Keyring
from passmill.domain.rates import Rates
from passmill.domain.template_life import TemplateCodec
from passmill.rpc.convert_template import ProtoTemplateCodec
from passmill.rpc.paging import Pages
from passmill.rpc.status import RequestValidator
from passmill.settings import Settings
from passmill.signing.freshness import require_fresh_signer
from passmill.signing.identities import IdentityCache
from passmill.signing.revisions import RevisionCache
from passmill.signing.sealer import Sealer, open_sealer
from passmill.store.database import Database, open_database
from passmill.store.deployment import check_master_key, keep_edge_key
from passmill.store.migrate import check_schema
from passmill.store.roles import check_application_role
from passmill.store.signing_identities import IdentityReader
from passmill.telemetry.campaign_metrics import CampaignMetrics
from passmill.telemetry.metrics import Metrics
from passmill.usecases.barcode_keys import BarcodeKeys
from passmill.usecases.find_pass import FindPass
from passmill.usecases.finish_signing import FinishSigning
from passmill.usecases.load_revision import LoadRevision, RevisionReader
from passmill.usecases.mutation import Mutator
from passmill.usecases.pass_content import PassContents
from passmill.usecases.seal_barcodes import SealBarcodes
from passmill.usecases.tenant_numbers import TenantNumbers

_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What every use case stands on."""

    settings: Settings
    database: Database
    clock: Clock
    keyring: Keyring
    metrics: Metrics
    campaign_metrics: CampaignMetrics
    mutator: Mutator
    pages: Pages
    validator: RequestValidator
    codec: TemplateCodec
    load_revision: LoadRevision
    identities: IdentityCache
    identity_reader: IdentityReader
    rendering: Rendering


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What finds, renders, signs and assembles."""

    sealer: Sealer
    numbers: TenantNumbers
    find_pass: FindPass
    contents: PassContents
    barcode_keys: BarcodeKeys
    finish_signing: FinishSigning


@asynccontextmanager
async def open_frame(
    settings: Settings, *, clock: Clock, registry: CollectorRegistry
) -> AsyncIterator[Frame]:
    """Connects and checks; undoes it in the end.

    Refuses to start (RoleRefused, MigrationRefused, WrongMasterKey, StaleSigner) where it could not
    keep its promises: a database role that sees past row-level security, a schema of another
    version, a native signer built from other sources.
    """
    require_fresh_signer()
    metrics = Metrics(registry)
    keyring = Keyring(settings.master_key_bytes)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            open_database(
                settings.database_url.get_secret_value(),
                min_connections=settings.database.min_connections,
                max_connections=settings.database.max_connections,
            )
        )
        await _check_database(database, keyring, require_durable=settings.database.require_durable)
        sealer = await stack.enter_async_context(
            open_sealer(threads=settings.limits.signing_threads, metrics=metrics)
        )
        codec = ProtoTemplateCodec()
        identity_reader = IdentityReader(database=database)
        load_revision = LoadRevision(
            database=database,
            cache=RevisionCache(
                loader=RevisionReader(database=database, codec=codec),
                capacity_bytes=settings.limits.revision_cache_bytes,
            ),
        )
        identities = IdentityCache(
            loader=identity_reader, wrapping_key=keyring.wrapping_key, clock=clock
        )
        numbers = TenantNumbers(database=database)
        barcode_keys = BarcodeKeys(database=database, keyring=keyring, clock=clock)
        contents = PassContents(
            numbers=numbers,
            tokens=keyring.pass_tokens,
            seal_barcodes=SealBarcodes(keys=barcode_keys),
        )
        yield Frame(
            settings=settings,
            database=database,
            clock=clock,
            keyring=keyring,
            metrics=metrics,
            campaign_metrics=CampaignMetrics(registry),
            mutator=Mutator(database=database, clock=clock, keyring=keyring),
            pages=Pages(keyring=keyring),
            validator=RequestValidator(),
            codec=codec,
            load_revision=load_revision,
            identities=identities,
            identity_reader=identity_reader,
            rendering=Rendering(
                sealer=sealer,
                numbers=numbers,
                find_pass=FindPass(
                    database=database,
                    numbers=numbers,
                    misses=Rates(
                        per_second=settings.counter.look_ups_per_second,
                        burst=settings.counter.look_up_burst,
                    ),
                ),
                contents=contents,
                barcode_keys=barcode_keys,
                finish_signing=FinishSigning(
                    database=database,
                    load_revision=load_revision,
                    identities=identities,
                    contents=contents,
                    sealer=sealer,
                    clock=clock,
                    metrics=metrics,
                ),
            ),
        )


async def _check_database(database: Database, keyring: Keyring, *, require_durable: bool) -> None:
    caller = operator_caller(deadline=asyncio.get_running_loop().time() + _START_SECONDS)
    async with database.transaction(caller) as tx:
        await check_application_role(tx, require_durable=require_durable)
        await check_schema(tx)
        await check_master_key(tx, keyring.check_value)
        await keep_edge_key(tx, keyring.pass_tokens.check_value)
