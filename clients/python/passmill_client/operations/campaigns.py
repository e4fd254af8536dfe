"""CampaignService."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias, Unpack

from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import (
    Campaign,
    CampaignAction,
    IssueAction,
    NotifyAction,
    RecipientResult,
    RecipientStream,
    RolloutPlan,
    Segment,
    UpdateAction,
    VoidAction,
)
from passmill_client.call import (
    Call,
    ChangeOptions,
    Feed,
    Listing,
    ReadOptions,
    call_of,
    meta_of,
)
from passmill_client.values import to_timestamp

_SERVICE = pb.DESCRIPTOR.services_by_name["CampaignService"]

Action: TypeAlias = IssueAction | UpdateAction | VoidAction | NotifyAction
"""What a campaign does."""


def create_campaign(
    display_name: str,
    *,
    action: Action,
    segment: Segment | None = None,
    priority: Campaign.Priority.ValueType = Campaign.PRIORITY_UNSPECIFIED,
    rollout: RolloutPlan | None = None,
    **options: Unpack[ChangeOptions],
) -> Call[Campaign]:
    """Makes a campaign; its template revision is pinned here. Recipients come in by streams, unless
    a segment says which passes are meant. Scope: issue."""
    request = pb.CreateCampaignRequest(
        display_name=display_name,
        action=_action(action),
        segment=segment,
        priority=priority,
        rollout=rollout,
        meta=meta_of(options),
    )
    return call_of(
        _SERVICE, request, pb.CreateCampaignResponse, lambda answer: answer.campaign, options
    )


def get_campaign(campaign_id: str, **options: Unpack[ReadOptions]) -> Call[Campaign]:
    """Gives one campaign with its progress. Scope: read."""
    request = pb.GetCampaignRequest(campaign_id=campaign_id)
    return call_of(
        _SERVICE, request, pb.GetCampaignResponse, lambda answer: answer.campaign, options
    )


def list_campaigns(
    *,
    state: Campaign.State.ValueType = Campaign.STATE_UNSPECIFIED,
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[Campaign]:
    """Lists campaigns, newest first, page by page. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[Campaign], str]]:
        return call_of(
            _SERVICE,
            pb.ListCampaignsRequest(page_size=page_size, page_token=token, state=state),
            pb.ListCampaignsResponse,
            lambda answer: (answer.campaigns, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def create_recipient_stream(
    campaign_id: str, **options: Unpack[ChangeOptions]
) -> Call[RecipientStream]:
    """Opens a way for recipients to come in; the caller is its writer. Scope: issue."""
    request = pb.CreateRecipientStreamRequest(campaign_id=campaign_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.CreateRecipientStreamResponse, lambda answer: answer.stream, options
    )


def get_recipient_stream(stream_id: str, **options: Unpack[ReadOptions]) -> Call[RecipientStream]:
    """Gives a recipient stream: where its writer goes on. Scope: read."""
    request = pb.GetRecipientStreamRequest(stream_id=stream_id)
    return call_of(
        _SERVICE, request, pb.GetRecipientStreamResponse, lambda answer: answer.stream, options
    )


def claim_recipient_stream(
    stream_id: str, **options: Unpack[ChangeOptions]
) -> Call[RecipientStream]:
    """Makes the caller the stream's only writer, after a crash for instance; whoever wrote before
    is refused from now on. Scope: issue."""
    request = pb.ClaimRecipientStreamRequest(stream_id=stream_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.ClaimRecipientStreamResponse, lambda answer: answer.stream, options
    )


def append_recipient_chunk(
    chunk: pb.RecipientChunk, **options: Unpack[ReadOptions]
) -> Call[pb.AppendAck]:
    """Appends one chunk; its offset makes it safe to repeat. `append_recipients` makes chunks by
    itself, and does not wait for each. Scope: issue."""
    request = pb.AppendRecipientChunkRequest(chunk=chunk)
    return call_of(
        _SERVICE, request, pb.AppendRecipientChunkResponse, lambda answer: answer.ack, options
    )


def finalize_recipient_stream(
    stream: RecipientStream, *, expected_rows: int, **options: Unpack[ChangeOptions]
) -> Call[RecipientStream]:
    """Closes a stream, if it has as many recipients as its writer thinks. Scope: issue."""
    request = pb.FinalizeRecipientStreamRequest(
        stream_id=stream.stream_id,
        writer_epoch=stream.writer_epoch,
        expected_rows=expected_rows,
        meta=meta_of(options),
    )
    return call_of(
        _SERVICE, request, pb.FinalizeRecipientStreamResponse, lambda answer: answer.stream, options
    )


def preview_campaign(
    campaign_id: str, **options: Unpack[ReadOptions]
) -> Call[pb.PreviewCampaignResponse]:
    """Says what the campaign would do, and does none of it. Scope: read."""
    request = pb.PreviewCampaignRequest(campaign_id=campaign_id)
    return call_of(_SERVICE, request, pb.PreviewCampaignResponse, lambda answer: answer, options)


def start_campaign(
    campaign_id: str, *, start_time: datetime | None = None, **options: Unpack[ChangeOptions]
) -> Call[Campaign]:
    """Starts a campaign, now or at a time; its streams must be finalized. Scope: issue."""
    request = pb.StartCampaignRequest(
        campaign_id=campaign_id, start_time=to_timestamp(start_time), meta=meta_of(options)
    )
    return call_of(
        _SERVICE, request, pb.StartCampaignResponse, lambda answer: answer.campaign, options
    )


def pause_campaign(campaign_id: str, **options: Unpack[ChangeOptions]) -> Call[Campaign]:
    """Stops a campaign before its next shard. Scope: issue."""
    request = pb.PauseCampaignRequest(campaign_id=campaign_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.PauseCampaignResponse, lambda answer: answer.campaign, options
    )


def resume_campaign(campaign_id: str, **options: Unpack[ChangeOptions]) -> Call[Campaign]:
    """Lets a paused campaign go on. Scope: issue."""
    request = pb.ResumeCampaignRequest(campaign_id=campaign_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.ResumeCampaignResponse, lambda answer: answer.campaign, options
    )


def cancel_campaign(
    campaign_id: str, *, void_issued: bool = False, **options: Unpack[ChangeOptions]
) -> Call[Campaign]:
    """Ends a campaign before its time; `void_issued` voids the passes it has issued. Scope:
    issue."""
    request = pb.CancelCampaignRequest(
        campaign_id=campaign_id, void_issued=void_issued, meta=meta_of(options)
    )
    return call_of(
        _SERVICE, request, pb.CancelCampaignResponse, lambda answer: answer.campaign, options
    )


def roll_back_campaign(campaign_id: str, **options: Unpack[ChangeOptions]) -> Call[Campaign]:
    """Makes and starts the campaign that takes an update back: every pass it moved, and that nobody
    has moved since, returns to what it was. Scope: issue."""
    request = pb.RollBackCampaignRequest(campaign_id=campaign_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.RollBackCampaignResponse, lambda answer: answer.campaign, options
    )


def watch_campaign(campaign_id: str, **options: Unpack[ReadOptions]) -> Feed[Campaign]:
    """Gives the campaign with its progress at once, whenever it changes and at least every ten
    seconds, until it has ended. A connection that breaks is made again. Scope: read."""
    call: Call[Sequence[Campaign]] = call_of(
        _SERVICE,
        pb.WatchCampaignRequest(campaign_id=campaign_id),
        pb.WatchCampaignResponse,
        lambda answer: [answer.campaign],
        options,
    )
    return Feed(after=lambda last: call)


def list_recipients(
    campaign_id: str,
    *,
    failed_only: bool = False,
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[RecipientResult]:
    """Lists recipients and what became of them, in their order, page by page. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[RecipientResult], str]]:
        return call_of(
            _SERVICE,
            pb.ListRecipientsRequest(
                campaign_id=campaign_id,
                failed_only=failed_only,
                page_size=page_size,
                page_token=token,
            ),
            pb.ListRecipientsResponse,
            lambda answer: (answer.recipients, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def retry_recipients(
    campaign_id: str, *, reasons: Sequence[str] = (), **options: Unpack[ChangeOptions]
) -> Call[pb.RetryRecipientsResponse]:
    """Tries the failed recipients of an ended campaign again, all or those that failed for one of
    `reasons`; gives the campaign and how many they are. Scope: issue."""
    request = pb.RetryRecipientsRequest(
        campaign_id=campaign_id, reasons=reasons, meta=meta_of(options)
    )
    return call_of(_SERVICE, request, pb.RetryRecipientsResponse, lambda answer: answer, options)


def export_results(
    campaign_id: str, *, after: pb.ResultPlace | None = None, **options: Unpack[ReadOptions]
) -> Feed[RecipientResult]:
    """Gives all recipients and what became of them, in their order, from behind the place `after`;
    with their `claim_url` where the campaign makes links (`IssueAction.claim_links`). A connection
    that breaks is made again, and goes on behind the last one received. Scope: read, and issue to
    see links."""

    def call_after(last: RecipientResult | None) -> Call[Sequence[RecipientResult]]:
        place = after
        if last is not None:
            place = pb.ResultPlace(stream_id=last.stream_id, offset=last.offset)
        return call_of(
            _SERVICE,
            pb.ExportResultsRequest(campaign_id=campaign_id, after=place),
            pb.ExportResultsResponse,
            lambda answer: answer.results,
            options,
        )

    return Feed(after=call_after)


def _action(action: Action) -> CampaignAction:
    match action:
        case IssueAction():
            return CampaignAction(issue=action)
        case UpdateAction():
            return CampaignAction(update=action)
        case VoidAction():
            return CampaignAction(void=action)
        case NotifyAction():
            return CampaignAction(notify=action)
