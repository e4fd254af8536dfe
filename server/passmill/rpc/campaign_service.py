"""CampaignService: campaigns over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from passmill.domain.callers import Caller, Scope
from passmill.domain.campaigns import RecipientStream, UpdateAction
from passmill.domain.ids import CampaignId, StreamId, parse_uuid
from passmill.domain.recipient_results import RecipientResult
from passmill.domain.values import values_from_json
from passmill.errors import AppError
from passmill.rpc.convert_campaign import (
    action_from_proto,
    campaign_to_proto,
    preview_to_proto,
    priority_from_proto,
    rollout_from_proto,
    segment_from_proto,
    state_from_proto,
)
from passmill.rpc.convert_recipients import (
    ack_to_proto,
    chunk_from_proto,
    place_from_proto,
    result_to_proto,
    stream_id_from,
    stream_to_proto,
)
from passmill.rpc.convert_time import time_from
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.rpc.streams import Stream
from passmill.store.database import Database
from passmill.store.recipient_streams import get_stream
from passmill.usecases.append_recipients import AppendRecipients, CheckedChunk
from passmill.usecases.campaign_view import CampaignView
from passmill.usecases.cancel_campaign import CancelCampaign
from passmill.usecases.claim_recipient_stream import ClaimRecipientStream
from passmill.usecases.create_campaign import CreateCampaign
from passmill.usecases.create_recipient_stream import CreateRecipientStream
from passmill.usecases.export_results import ExportResults
from passmill.usecases.finalize_recipient_stream import FinalizeRecipientStream
from passmill.usecases.list_recipients import ListRecipients
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer
from passmill.usecases.pause_campaign import PauseCampaign
from passmill.usecases.preview_campaign import PreviewCampaign
from passmill.usecases.resume_campaign import ResumeCampaign
from passmill.usecases.retry_recipients import RetriedRecipients, RetryRecipients
from passmill.usecases.roll_back_campaign import RollBackCampaign
from passmill.usecases.show_campaigns import ShowCampaigns
from passmill.usecases.start_campaign import StartCampaign, parse_campaign_id
from passmill.usecases.tenant_numbers import TenantNumbers
from passmill.usecases.watch_campaign import WatchCampaign
from passmill.v1 import campaign_pb2
from passmill.v1 import campaign_service_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["CampaignService"]
RULES: Mapping[str, MethodRule] = {
    "CreateCampaign": MethodRule(scope=Scope.ISSUE, mutates=True),
    "GetCampaign": MethodRule(scope=Scope.READ),
    "ListCampaigns": MethodRule(scope=Scope.READ),
    "CreateRecipientStream": MethodRule(scope=Scope.ISSUE, mutates=True),
    "GetRecipientStream": MethodRule(scope=Scope.READ),
    "ClaimRecipientStream": MethodRule(scope=Scope.ISSUE, mutates=True),
    # A chunk's offset makes it safe to repeat: it needs no request id.
    "AppendRecipients": MethodRule(scope=Scope.ISSUE),
    "AppendRecipientChunk": MethodRule(scope=Scope.ISSUE),
    "FinalizeRecipientStream": MethodRule(scope=Scope.ISSUE, mutates=True),
    "PreviewCampaign": MethodRule(scope=Scope.READ),
    "StartCampaign": MethodRule(scope=Scope.ISSUE, mutates=True),
    "PauseCampaign": MethodRule(scope=Scope.ISSUE, mutates=True),
    "ResumeCampaign": MethodRule(scope=Scope.ISSUE, mutates=True),
    "CancelCampaign": MethodRule(scope=Scope.ISSUE, mutates=True),
    "WatchCampaign": MethodRule(scope=Scope.READ),
    "ListRecipients": MethodRule(scope=Scope.READ),
    "RetryRecipients": MethodRule(scope=Scope.ISSUE, mutates=True),
    "ExportResults": MethodRule(scope=Scope.READ),
    "RollBackCampaign": MethodRule(scope=Scope.ISSUE, mutates=True),
}

# So many messages of a writer wait, checked, while one is stored.
_CHECKED_AHEAD: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignUseCases:
    """What CampaignService calls."""

    create_campaign: CreateCampaign
    show_campaigns: ShowCampaigns
    create_recipient_stream: CreateRecipientStream
    claim_recipient_stream: ClaimRecipientStream
    append_recipients: AppendRecipients
    finalize_recipient_stream: FinalizeRecipientStream
    preview_campaign: PreviewCampaign
    start_campaign: StartCampaign
    pause_campaign: PauseCampaign
    resume_campaign: ResumeCampaign
    cancel_campaign: CancelCampaign
    watch_campaign: WatchCampaign
    list_recipients: ListRecipients
    retry_recipients: RetryRecipients
    export_results: ExportResults
    roll_back_campaign: RollBackCampaign
    load_revision: LoadRevision
    numbers: TenantNumbers


class CampaignServicer:
    """Decodes, calls one use case, encodes. `public_url`: where claim links lead, if anywhere."""

    def __init__(
        self,
        *,
        use_cases: CampaignUseCases,
        database: Database,
        pages: Pages,
        public_url: str | None,
    ) -> None:
        self._use_cases = use_cases
        self._database = database
        self._pages = pages
        self._public_url = public_url

    async def create_campaign(self, request: pb.CreateCampaignRequest, call: Call) -> Answer:
        """Makes a campaign."""
        segment = request.segment if request.HasField("segment") else None
        return await self._use_cases.create_campaign(
            call.mutation(request, _in(pb.CreateCampaignResponse)),
            display_name=request.display_name,
            action=action_from_proto(request.action),
            segment=None if segment is None else segment_from_proto(segment),
            priority=priority_from_proto(request.priority),
            rollout=rollout_from_proto(request.rollout),
        )

    async def get_campaign(self, request: pb.GetCampaignRequest, call: Call) -> Message:
        """Gives one campaign."""
        campaign_id = parse_campaign_id(request.campaign_id)
        view = await self._use_cases.show_campaigns.one(call.caller, campaign_id)
        return pb.GetCampaignResponse(campaign=await self._to_proto(call.caller, view))

    async def list_campaigns(self, request: pb.ListCampaignsRequest, call: Call) -> Message:
        """Gives a page of campaigns."""
        key = self._pages.key(request, request.page_token)
        size = self._pages.size(request.page_size)
        before = None if key is None else parse_uuid(str(key[0]))
        listed = await self._use_cases.show_campaigns.many(
            call.caller,
            state=state_from_proto(request.state),
            before=None if before is None else CampaignId(before),
            at_most=size + 1,
        )
        page, more = listed[:size], len(listed) > size
        return pb.ListCampaignsResponse(
            campaigns=[await self._to_proto(call.caller, each) for each in page],
            next_page_token=self._pages.token(request, [str(page[-1].campaign.campaign_id)])
            if more
            else "",
        )

    async def create_recipient_stream(
        self, request: pb.CreateRecipientStreamRequest, call: Call
    ) -> Answer:
        """Opens a recipient stream."""
        return await self._use_cases.create_recipient_stream(
            call.mutation(request, _stream_in(pb.CreateRecipientStreamResponse)),
            campaign_id=parse_campaign_id(request.campaign_id),
        )

    async def get_recipient_stream(
        self, request: pb.GetRecipientStreamRequest, call: Call
    ) -> Message:
        """Gives a recipient stream."""
        async with self._database.transaction(call.caller, read_only=True) as tx:
            stream = await get_stream(tx, stream_id_from(request.stream_id))
        return pb.GetRecipientStreamResponse(stream=stream_to_proto(stream))

    async def claim_recipient_stream(
        self, request: pb.ClaimRecipientStreamRequest, call: Call
    ) -> Answer:
        """Makes the caller a stream's only writer."""
        return await self._use_cases.claim_recipient_stream(
            call.mutation(request, _stream_in(pb.ClaimRecipientStreamResponse)),
            stream_id=stream_id_from(request.stream_id),
        )

    async def append_recipients(self, _: None, stream: Stream) -> None:
        """Appends chunks; while one is stored, the next ones are checked."""
        checked: asyncio.Queue[CheckedChunk | AppError | None] = asyncio.Queue(_CHECKED_AHEAD)
        async with asyncio.TaskGroup() as tasks:
            checking = tasks.create_task(self._check_chunks(stream, checked))
            try:
                await self._store_chunks(stream, checked)
            finally:
                checking.cancel()

    async def _check_chunks(
        self, stream: Stream, checked: asyncio.Queue[CheckedChunk | AppError | None]
    ) -> None:
        try:
            while (message := await stream.receive()) is not None:
                chunk = chunk_from_proto(_chunk_of(message))
                caller = await stream.caller()
                await checked.put(await self._use_cases.append_recipients.check(caller, chunk))
        except AppError as error:
            await checked.put(error)
        else:
            await checked.put(None)

    async def _store_chunks(
        self, stream: Stream, checked: asyncio.Queue[CheckedChunk | AppError | None]
    ) -> None:
        while (chunk := await checked.get()) is not None:
            try:
                if isinstance(chunk, AppError):
                    raise chunk
                ack = await self._use_cases.append_recipients.store(await stream.caller(), chunk)
            except AppError as error:
                await stream.send(pb.AppendRecipientsResponse(error=_append_error(error, stream)))
                return
            await stream.send(pb.AppendRecipientsResponse(ack=ack_to_proto(ack)))

    async def append_recipient_chunk(
        self, request: pb.AppendRecipientChunkRequest, call: Call
    ) -> Message:
        """Appends one chunk."""
        chunk = chunk_from_proto(request.chunk)
        ack = await self._use_cases.append_recipients(call.caller, chunk)
        return pb.AppendRecipientChunkResponse(ack=ack_to_proto(ack))

    async def finalize_recipient_stream(
        self, request: pb.FinalizeRecipientStreamRequest, call: Call
    ) -> Answer:
        """Closes a recipient stream."""
        return await self._use_cases.finalize_recipient_stream(
            call.mutation(request, _stream_in(pb.FinalizeRecipientStreamResponse)),
            stream_id=stream_id_from(request.stream_id),
            writer_epoch=request.writer_epoch,
            expected_rows=request.expected_rows,
        )

    async def preview_campaign(self, request: pb.PreviewCampaignRequest, call: Call) -> Message:
        """Says what a campaign would do."""
        preview = self._use_cases.preview_campaign
        return preview_to_proto(await preview(call.caller, campaign_id=request.campaign_id))

    async def start_campaign(self, request: pb.StartCampaignRequest, call: Call) -> Answer:
        """Starts a campaign."""
        return await self._use_cases.start_campaign(
            call.mutation(request, _in(pb.StartCampaignResponse)),
            campaign_id=request.campaign_id,
            start_time=time_from(request, "start_time"),
        )

    async def pause_campaign(self, request: pb.PauseCampaignRequest, call: Call) -> Answer:
        """Pauses a campaign."""
        return await self._use_cases.pause_campaign(
            call.mutation(request, _in(pb.PauseCampaignResponse)), campaign_id=request.campaign_id
        )

    async def resume_campaign(self, request: pb.ResumeCampaignRequest, call: Call) -> Answer:
        """Lets a campaign go on."""
        return await self._use_cases.resume_campaign(
            call.mutation(request, _in(pb.ResumeCampaignResponse)), campaign_id=request.campaign_id
        )

    async def cancel_campaign(self, request: pb.CancelCampaignRequest, call: Call) -> Answer:
        """Cancels a campaign."""
        return await self._use_cases.cancel_campaign(
            call.mutation(request, _in(pb.CancelCampaignResponse)),
            campaign_id=request.campaign_id,
            void_issued=request.void_issued,
        )

    async def watch_campaign(self, request: pb.WatchCampaignRequest, stream: Stream) -> None:
        """Tells how far a campaign is, until it has ended."""

        async def tell(view: CampaignView) -> None:
            campaign = await self._to_proto(await stream.caller(), view)
            await stream.send(pb.WatchCampaignResponse(campaign=campaign))

        await self._use_cases.watch_campaign(
            stream.caller, parse_campaign_id(request.campaign_id), tell=tell
        )

    async def list_recipients(self, request: pb.ListRecipientsRequest, call: Call) -> Message:
        """Gives a page of recipients."""
        key = self._pages.key(request, request.page_token)
        size = self._pages.size(request.page_size)
        after = None if key is None else parse_uuid(str(key[0]))
        listed = await self._use_cases.list_recipients(
            call.caller,
            parse_campaign_id(request.campaign_id),
            failed_only=request.failed_only,
            after=None if key is None or after is None else (StreamId(after), int(key[1])),
            at_most=size + 1,
        )
        page, more = listed[:size], len(listed) > size
        token = ""
        if more:
            stream_id, offset = page[-1].place
            token = self._pages.token(request, [str(stream_id), offset])
        return pb.ListRecipientsResponse(
            recipients=await self._results(call.caller, page), next_page_token=token
        )

    async def retry_recipients(self, request: pb.RetryRecipientsRequest, call: Call) -> Answer:
        """Tries failed recipients again."""

        def encode(retried: RetriedRecipients) -> Message:
            return pb.RetryRecipientsResponse(
                campaign=campaign_to_proto(retried.view), count=retried.count
            )

        return await self._use_cases.retry_recipients(
            call.mutation(request, encode),
            campaign_id=request.campaign_id,
            reasons=list(request.reasons),
        )

    async def export_results(self, request: pb.ExportResultsRequest, stream: Stream) -> None:
        """Gives all results."""

        async def give(results: Sequence[RecipientResult]) -> None:
            messages = await self._results(await stream.caller(), results)
            await stream.send(pb.ExportResultsResponse(results=messages))

        await self._use_cases.export_results(
            stream.caller,
            parse_campaign_id(request.campaign_id),
            after=place_from_proto(request.after) if request.HasField("after") else None,
            give=give,
        )

    async def roll_back_campaign(self, request: pb.RollBackCampaignRequest, call: Call) -> Answer:
        """Takes a roll-out back."""
        return await self._use_cases.roll_back_campaign(
            call.mutation(request, _in(pb.RollBackCampaignResponse)),
            campaign_id=request.campaign_id,
        )

    async def _to_proto(self, caller: Caller, view: CampaignView) -> campaign_pb2.Campaign:
        action = view.campaign.definition.action
        if not isinstance(action, UpdateAction) or action.values == "{}":
            return campaign_to_proto(view)
        # Which type a value is of, only its slot says.
        loaded = await self._use_cases.load_revision.by_id(caller, action.revision.revision_id)
        values = values_from_json(loaded.content.slots, action.values)
        return campaign_to_proto(view, values=values)

    async def _results(
        self, caller: Caller, results: Sequence[RecipientResult]
    ) -> list[campaign_pb2.RecipientResult]:
        serial_numbers = await self._use_cases.numbers.serial_numbers(caller)
        return [result_to_proto(each, serial_numbers, self._public_url) for each in results]


def _chunk_of(message: Message) -> pb.RecipientChunk:
    if not isinstance(message, pb.AppendRecipientsRequest):
        raise TypeError("AppendRecipients takes AppendRecipientsRequest")
    return message.chunk


def _append_error(error: AppError, stream: Stream) -> pb.AppendError:
    next_offset = int(error.metadata.get("next_offset", 0))
    return pb.AppendError(status=stream.told(error), next_offset=next_offset)


def _in(
    response: type[
        pb.CreateCampaignResponse
        | pb.StartCampaignResponse
        | pb.PauseCampaignResponse
        | pb.ResumeCampaignResponse
        | pb.CancelCampaignResponse
        | pb.RollBackCampaignResponse
    ],
) -> Callable[[CampaignView], Message]:
    """Puts a campaign in the response message of its method."""
    return lambda view: response(campaign=campaign_to_proto(view))


def _stream_in(
    response: type[
        pb.CreateRecipientStreamResponse
        | pb.ClaimRecipientStreamResponse
        | pb.FinalizeRecipientStreamResponse
    ],
) -> Callable[[RecipientStream], Message]:
    """Puts a recipient stream in the response message of its method."""
    return lambda stream: response(stream=stream_to_proto(stream))
