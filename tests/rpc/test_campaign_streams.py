"""Recipient streams: made, closed by their count, and only for drafts."""

import pytest
import pytest_asyncio

from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import Campaign, RecipientStream
from tests.support.campaigns import ClubCampaigns, chunk, recipient
from tests.support.refusals import Refusal, refusal_of_status, refused
from tests.support.service import Club, meta

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def campaigns(rowing_club: Club) -> ClubCampaigns:
    """The campaigns of a club of its own."""
    return ClubCampaigns(club=rowing_club)


@pytest_asyncio.fixture(loop_scope="session")
async def campaign(campaigns: ClubCampaigns) -> Campaign:
    """A draft that issues."""
    return await campaigns.create()


@pytest_asyncio.fixture(loop_scope="session")
async def stream(campaigns: ClubCampaigns, campaign: Campaign) -> RecipientStream:
    """An empty stream of the draft."""
    return await campaigns.open_stream(campaign)


async def finalize_refused(
    campaigns: ClubCampaigns, stream: RecipientStream, expected_rows: int
) -> Refusal:
    """How closing a stream is refused."""
    request = pb.FinalizeRecipientStreamRequest(
        stream_id=stream.stream_id,
        writer_epoch=stream.writer_epoch,
        expected_rows=expected_rows,
        meta=meta(),
    )
    return await refused(campaigns.club.campaigns.FinalizeRecipientStream(request))


async def test_a_stream_is_closed_by_its_count(
    campaigns: ClubCampaigns, stream: RecipientStream
) -> None:
    """A stream is closed by its writer, with the count it has; then it takes no more, but what is
    there is acknowledged, and closing it again the same way is no error."""
    await campaigns.append(chunk(stream, [recipient(each) for each in "012"]))
    for count in (0, 2, 4):
        refusal = await finalize_refused(campaigns, stream, count)
        assert (refusal.reason, refusal.metadata) == ("STREAM_STATE", {"next_offset": "3"})
    claimed = await campaigns.claim(stream)
    assert (await finalize_refused(campaigns, stream, 3)).reason == "WRITER_FENCED"
    closed = await campaigns.finalize(claimed, expected_rows=3)
    assert (closed.state, closed.next_offset) == (RecipientStream.STATE_FINALIZED, 3)
    assert await campaigns.finalize(claimed, expected_rows=3) == closed
    late = [recipient(each) for each in "123"]
    for offset in (1, 3, 5):
        [answer] = await campaigns.send([chunk(claimed, late, offset=offset)])
        assert refusal_of_status(answer.error.status).reason == "STREAM_STATE"
        assert answer.error.next_offset == 3
    assert (await campaigns.append(chunk(claimed, [recipient("1")], offset=1))).duplicate_count == 1
    claiming = pb.ClaimRecipientStreamRequest(stream_id=stream.stream_id, meta=meta())
    refusal = await refused(campaigns.club.campaigns.ClaimRecipientStream(claiming))
    assert refusal.reason == "STREAM_STATE"


async def test_only_a_draft_takes_recipients(
    campaigns: ClubCampaigns, campaign: Campaign, stream: RecipientStream
) -> None:
    """A campaign that was cancelled takes neither recipients nor streams nor writers."""
    cancel = pb.CancelCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
    await campaigns.club.campaigns.CancelCampaign(cancel)
    [answer] = await campaigns.send([chunk(stream, [recipient("0")])])
    assert refusal_of_status(answer.error.status).reason == "CAMPAIGN_STATE"
    making = pb.CreateRecipientStreamRequest(campaign_id=campaign.campaign_id, meta=meta())
    claiming = pb.ClaimRecipientStreamRequest(stream_id=stream.stream_id, meta=meta())
    for call in (
        campaigns.club.campaigns.CreateRecipientStream(making),
        campaigns.club.campaigns.ClaimRecipientStream(claiming),
    ):
        assert (await refused(call)).reason == "CAMPAIGN_STATE"
    assert await campaigns.stored(stream) == []
