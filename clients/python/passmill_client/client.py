"""The clients of a tenant. What each method does is said at its operation."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable
from typing import TypeVar, Unpack

from passmill.v1.campaign_pb2 import Recipient, RecipientStream
from passmill.v1.campaign_service_pb2 import AppendAck
from passmill.v1.pass_service_pb2 import BatchIssuePassesResponse
from passmill.v1.wallet_pass_pb2 import PassDraft
from passmill_client.appending import METHOD, RENEW_SECONDS, Appending, AppendOptions
from passmill_client.awaiting import (
    async_following,
    async_paging,
    awaiting,
)
from passmill_client.batches import Batch, Batches, ManyOptions, Outcome
from passmill_client.blocking import Started, blocking, following, paging
from passmill_client.channel_settings import ChannelSettings, Variables
from passmill_client.counter import AsyncCounter, Counter
from passmill_client.errors import PassmillError
from passmill_client.operations import (
    access,
    campaigns,
    claims,
    devices,
    events,
    passes,
    programs,
    templates,
)
from passmill_client.waiting import Patience

Item = TypeVar("Item")

CHANNELS = 4
"""One process of the service answers a channel: a few reach several."""
TIMEOUT_SECONDS = 10.0

_API = Variables(address="PASSMILL_ADDRESS", key="PASSMILL_API_KEY")


class Client(Counter):
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

    create_campaign = blocking(campaigns.create_campaign)
    get_campaign = blocking(campaigns.get_campaign)
    list_campaigns = paging(campaigns.list_campaigns)
    create_recipient_stream = blocking(campaigns.create_recipient_stream)
    get_recipient_stream = blocking(campaigns.get_recipient_stream)
    claim_recipient_stream = blocking(campaigns.claim_recipient_stream)
    append_recipient_chunk = blocking(campaigns.append_recipient_chunk)
    finalize_recipient_stream = blocking(campaigns.finalize_recipient_stream)
    preview_campaign = blocking(campaigns.preview_campaign)
    start_campaign = blocking(campaigns.start_campaign)
    pause_campaign = blocking(campaigns.pause_campaign)
    resume_campaign = blocking(campaigns.resume_campaign)
    cancel_campaign = blocking(campaigns.cancel_campaign)
    roll_back_campaign = blocking(campaigns.roll_back_campaign)
    watch_campaign = following(campaigns.watch_campaign)
    list_recipients = paging(campaigns.list_recipients)
    retry_recipients = blocking(campaigns.retry_recipients)
    export_results = following(campaigns.export_results)

    list_registrations = paging(devices.list_registrations)
    get_install_statistics = blocking(devices.get_install_statistics)
    get_push_statistics = blocking(devices.get_push_statistics)
    get_convergence = blocking(devices.get_convergence)
    request_push = blocking(devices.request_push)

    create_claim_link = blocking(claims.create_claim_link)
    batch_create_claim_links = blocking(claims.batch_create_claim_links)
    get_claim_link = blocking(claims.get_claim_link)
    list_claim_links = paging(claims.list_claim_links)
    revoke_claim_link = blocking(claims.revoke_claim_link)
    resolve_claim = blocking(claims.resolve_claim)
    claim_pass = blocking(claims.claim_pass)
    request_claim_recovery = blocking(claims.request_claim_recovery)

    watch_events = following(events.watch_events)
    list_events = paging(events.list_events)

    def append_recipients(
        self,
        stream: RecipientStream,
        recipients: Iterable[Recipient],
        **options: Unpack[AppendOptions],
    ) -> Generator[AppendAck, None, None]:
        """Appends any number of recipients to a stream, from its next_offset on, and gives the
        acknowledgements in order. Scope: issue.

        Reads recipients no faster than acknowledgements are taken. When the connection breaks it is
        made again and what was not acknowledged sent again; an acknowledgement with a
        duplicate_count then does not say again which of these were refused: list_recipients does.
        """
        appending = Appending(stream, options)
        chunks = appending.of(recipients)
        patience = Patience(appending.timeout)
        is_more = True
        while is_more or appending.unacknowledged:
            renew_at = time.monotonic() + RENEW_SECONDS
            try:
                with self.exchange(METHOD, timeout=RENEW_SECONDS + appending.timeout) as exchange:
                    for chunk in appending.unacknowledged:
                        exchange.send(chunk.message)
                    while True:
                        while is_more and appending.has_room and time.monotonic() < renew_at:
                            following_chunk = next(chunks, None)
                            if following_chunk is None:
                                is_more = False
                            else:
                                exchange.send(following_chunk.message)
                        if not appending.unacknowledged:
                            exchange.end()
                            exchange.receive()
                            break
                        yield appending.acknowledge(exchange.receive())
                        patience.progressed()
            except PassmillError as error:
                seconds = patience.seconds_before_reopening(error)
                if seconds is None:
                    raise
                time.sleep(seconds)

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


class AsyncClient(AsyncCounter):
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

    create_campaign = awaiting(campaigns.create_campaign)
    get_campaign = awaiting(campaigns.get_campaign)
    list_campaigns = async_paging(campaigns.list_campaigns)
    create_recipient_stream = awaiting(campaigns.create_recipient_stream)
    get_recipient_stream = awaiting(campaigns.get_recipient_stream)
    claim_recipient_stream = awaiting(campaigns.claim_recipient_stream)
    append_recipient_chunk = awaiting(campaigns.append_recipient_chunk)
    finalize_recipient_stream = awaiting(campaigns.finalize_recipient_stream)
    preview_campaign = awaiting(campaigns.preview_campaign)
    start_campaign = awaiting(campaigns.start_campaign)
    pause_campaign = awaiting(campaigns.pause_campaign)
    resume_campaign = awaiting(campaigns.resume_campaign)
    cancel_campaign = awaiting(campaigns.cancel_campaign)
    roll_back_campaign = awaiting(campaigns.roll_back_campaign)
    watch_campaign = async_following(campaigns.watch_campaign)
    list_recipients = async_paging(campaigns.list_recipients)
    retry_recipients = awaiting(campaigns.retry_recipients)
    export_results = async_following(campaigns.export_results)

    list_registrations = async_paging(devices.list_registrations)
    get_install_statistics = awaiting(devices.get_install_statistics)
    get_push_statistics = awaiting(devices.get_push_statistics)
    get_convergence = awaiting(devices.get_convergence)
    request_push = awaiting(devices.request_push)

    create_claim_link = awaiting(claims.create_claim_link)
    batch_create_claim_links = awaiting(claims.batch_create_claim_links)
    get_claim_link = awaiting(claims.get_claim_link)
    list_claim_links = async_paging(claims.list_claim_links)
    revoke_claim_link = awaiting(claims.revoke_claim_link)
    resolve_claim = awaiting(claims.resolve_claim)
    claim_pass = awaiting(claims.claim_pass)
    request_claim_recovery = awaiting(claims.request_claim_recovery)

    watch_events = async_following(events.watch_events)
    list_events = async_paging(events.list_events)

    async def append_recipients(
        self,
        stream: RecipientStream,
        recipients: Iterable[Recipient] | AsyncIterable[Recipient],
        **options: Unpack[AppendOptions],
    ) -> AsyncGenerator[AppendAck, None]:
        """As `Client.append_recipients`. Left early, as by contextlib.aclosing, it ends its
        call."""
        appending = Appending(stream, options)
        chunks = appending.of_async(_awaited(recipients))
        patience = Patience(appending.timeout)
        is_more = True
        while is_more or appending.unacknowledged:
            renew_at = time.monotonic() + RENEW_SECONDS
            try:
                async with self.exchange(
                    METHOD, timeout=RENEW_SECONDS + appending.timeout
                ) as exchange:
                    for chunk in appending.unacknowledged:
                        await exchange.send(chunk.message)
                    while True:
                        while is_more and appending.has_room and time.monotonic() < renew_at:
                            following_chunk = await anext(chunks, None)
                            if following_chunk is None:
                                is_more = False
                            else:
                                await exchange.send(following_chunk.message)
                        if not appending.unacknowledged:
                            await exchange.end()
                            await exchange.receive()
                            break
                        yield appending.acknowledge(await exchange.receive())
                        patience.progressed()
            except PassmillError as error:
                seconds = patience.seconds_before_reopening(error)
                if seconds is None:
                    raise
                await asyncio.sleep(seconds)

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
        waiting = batches.of_async(_awaited(drafts))
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


async def _awaited(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
