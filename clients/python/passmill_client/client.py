"""The clients. What each method does is said at its operation."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable
from typing import Unpack

from passmill.v1.pass_service_pb2 import BatchIssuePassesResponse
from passmill.v1.wallet_pass_pb2 import PassDraft
from passmill_client.awaiting import AsyncConnection, async_paging, awaiting
from passmill_client.batches import Batch, Batches, ManyOptions, Outcome
from passmill_client.blocking import Connection, Started, blocking, paging
from passmill_client.channel_settings import ChannelSettings, Variables
from passmill_client.errors import PassmillError
from passmill_client.operations import access, admin, passes, programs, templates

CHANNELS = 4
"""One process of the service answers a channel: a few reach several."""
TIMEOUT_SECONDS = 10.0

_API = Variables(address="PASSMILL_ADDRESS", key="PASSMILL_API_KEY")
_ADMIN = Variables(address="PASSMILL_ADMIN_ADDRESS", key="PASSMILL_OPERATOR_KEY")


class Client(Connection):
    """Programs, templates and passes of one tenant. Threads may share it; `with` closes it."""

    def __init__(
        self,
        address: str | None = None,
        api_key: str | None = None,
        *,
        channels: int = CHANNELS,
        timeout: float = TIMEOUT_SECONDS,
        root_certificates: bytes | None = None,
        client_certificate: tuple[bytes, bytes] | None = None,
        plaintext: bool = False,
    ) -> None:
        """`address`: host:port, or what the variable PASSMILL_ADDRESS says; `api_key`: likewise
        PASSMILL_API_KEY. `timeout`: seconds for a call with its retries, unless the call says.

        Beyond this machine calls are encrypted, unless `plaintext` says that something else does
        it. `root_certificates`: PEM, instead of the well-known ones. `client_certificate`: chain
        and private key, PEM. ValueError when address or key are not to be had.
        """
        settings = ChannelSettings(
            address=address,
            key=api_key,
            variables=_API,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            plaintext=plaintext,
        )
        super().__init__(settings, channels=channels, timeout=timeout)

    get_caller = blocking(access.get_caller)

    issue_pass = blocking(passes.issue_pass)
    batch_issue_passes = blocking(passes.batch_issue_passes)
    get_pass = blocking(passes.get_pass)
    list_passes = paging(passes.list_passes)
    update_pass = blocking(passes.update_pass)
    void_pass = blocking(passes.void_pass)
    reinstate_pass = blocking(passes.reinstate_pass)
    get_pass_bundle = blocking(passes.get_pass_bundle)
    get_passes_bundle = blocking(passes.get_passes_bundle)

    create_template = blocking(templates.create_template)
    update_template = blocking(templates.update_template)
    publish_template = blocking(templates.publish_template)
    archive_template = blocking(templates.archive_template)
    get_template = blocking(templates.get_template)
    list_templates = paging(templates.list_templates)
    get_template_revision = blocking(templates.get_template_revision)
    list_template_revisions = paging(templates.list_template_revisions)
    upload_asset = blocking(templates.upload_asset)
    preview_pass = blocking(templates.preview_pass)

    create_program = blocking(programs.create_program)
    update_program = blocking(programs.update_program)
    archive_program = blocking(programs.archive_program)
    get_program = blocking(programs.get_program)
    list_programs = paging(programs.list_programs)

    def issue_many(
        self,
        template_id: str,
        drafts: Iterable[PassDraft],
        **options: Unpack[ManyOptions],
    ) -> Generator[Outcome, None, None]:
        """Issues any number of passes in batches and gives the outcomes in the drafts' order.

        Reads drafts no faster than outcomes are taken. Left early, it cancels what is under way.
        """
        batches = Batches(template_id, options)
        waiting = batches.of(drafts)
        started: deque[tuple[Batch, Started[BatchIssuePassesResponse]]] = deque()
        try:
            while True:
                while len(started) < batches.concurrency and (batch := next(waiting, None)):
                    started.append((batch, self.start(batch.call)))
                if not started:
                    return
                batch, under_way = started[0]
                answer: BatchIssuePassesResponse | PassmillError
                try:
                    answer = self.finish(under_way)
                except PassmillError as error:
                    answer = error
                started.popleft()
                yield from batch.outcomes(answer)
        finally:
            for _, under_way in started:
                under_way.cancel()


class AsyncClient(AsyncConnection):
    """The same as `Client` for asyncio: made in the running loop, closed by `async with`."""

    def __init__(
        self,
        address: str | None = None,
        api_key: str | None = None,
        *,
        channels: int = CHANNELS,
        timeout: float = TIMEOUT_SECONDS,
        root_certificates: bytes | None = None,
        client_certificate: tuple[bytes, bytes] | None = None,
        plaintext: bool = False,
    ) -> None:
        """As `Client`."""
        settings = ChannelSettings(
            address=address,
            key=api_key,
            variables=_API,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            plaintext=plaintext,
        )
        super().__init__(settings, channels=channels, timeout=timeout)

    get_caller = awaiting(access.get_caller)

    issue_pass = awaiting(passes.issue_pass)
    batch_issue_passes = awaiting(passes.batch_issue_passes)
    get_pass = awaiting(passes.get_pass)
    list_passes = async_paging(passes.list_passes)
    update_pass = awaiting(passes.update_pass)
    void_pass = awaiting(passes.void_pass)
    reinstate_pass = awaiting(passes.reinstate_pass)
    get_pass_bundle = awaiting(passes.get_pass_bundle)
    get_passes_bundle = awaiting(passes.get_passes_bundle)

    create_template = awaiting(templates.create_template)
    update_template = awaiting(templates.update_template)
    publish_template = awaiting(templates.publish_template)
    archive_template = awaiting(templates.archive_template)
    get_template = awaiting(templates.get_template)
    list_templates = async_paging(templates.list_templates)
    get_template_revision = awaiting(templates.get_template_revision)
    list_template_revisions = async_paging(templates.list_template_revisions)
    upload_asset = awaiting(templates.upload_asset)
    preview_pass = awaiting(templates.preview_pass)

    create_program = awaiting(programs.create_program)
    update_program = awaiting(programs.update_program)
    archive_program = awaiting(programs.archive_program)
    get_program = awaiting(programs.get_program)
    list_programs = async_paging(programs.list_programs)

    async def issue_many(
        self,
        template_id: str,
        drafts: Iterable[PassDraft] | AsyncIterable[PassDraft],
        **options: Unpack[ManyOptions],
    ) -> AsyncGenerator[Outcome, None]:
        """Issues any number of passes in batches and gives the outcomes in the drafts' order.

        Reads drafts no faster than outcomes are taken. Left early, as by
        contextlib.aclosing, it cancels what is under way.
        """
        batches = Batches(template_id, options)
        waiting = _each(batches, drafts)
        # Not a TaskGroup: one must not be left open over a yield (PEP 789).
        started: deque[tuple[Batch, asyncio.Task[BatchIssuePassesResponse]]] = deque()
        try:
            while True:
                while len(started) < batches.concurrency:
                    batch = await anext(waiting, None)
                    if batch is None:
                        break
                    started.append((batch, asyncio.create_task(self.send(batch.call))))
                if not started:
                    return
                batch, under_way = started[0]
                answer: BatchIssuePassesResponse | PassmillError
                try:
                    answer = await under_way
                except PassmillError as error:
                    answer = error
                started.popleft()
                for outcome in batch.outcomes(answer):
                    yield outcome
        finally:
            for _, under_way in started:
                under_way.cancel()
            await asyncio.gather(*(task for _, task in started), return_exceptions=True)


class AdminClient(Connection):
    """Tenants, API keys and signing identities, on the admin port. With an operator's key it
    reaches every tenant; with an API key of scope admin its own, and `tenant_id` is left out."""

    def __init__(
        self,
        address: str | None = None,
        key: str | None = None,
        *,
        channels: int = 1,
        timeout: float = TIMEOUT_SECONDS,
        root_certificates: bytes | None = None,
        client_certificate: tuple[bytes, bytes] | None = None,
        plaintext: bool = False,
    ) -> None:
        """As `Client`; the variables are PASSMILL_ADMIN_ADDRESS and PASSMILL_OPERATOR_KEY."""
        settings = ChannelSettings(
            address=address,
            key=key,
            variables=_ADMIN,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            plaintext=plaintext,
        )
        super().__init__(settings, channels=channels, timeout=timeout)

    create_tenant = blocking(admin.create_tenant)
    set_tenant_state = blocking(admin.set_tenant_state)
    get_tenant = blocking(admin.get_tenant)
    list_tenants = paging(admin.list_tenants)
    create_api_key = blocking(admin.create_api_key)
    revoke_api_key = blocking(admin.revoke_api_key)
    list_api_keys = paging(admin.list_api_keys)
    upload_signing_identity = blocking(admin.upload_signing_identity)
    check_signing_identity = blocking(admin.check_signing_identity)
    list_signing_identities = paging(admin.list_signing_identities)
    activate_signing_identity = blocking(admin.activate_signing_identity)


async def _each(
    batches: Batches, drafts: Iterable[PassDraft] | AsyncIterable[PassDraft]
) -> AsyncIterator[Batch]:
    if isinstance(drafts, AsyncIterable):
        async for batch in batches.of_async(drafts):
            yield batch
    else:
        for batch in batches.of(drafts):
            yield batch
