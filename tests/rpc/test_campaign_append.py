"""AppendRecipients and its unary twin: each recipient once, in order, by one writer."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest
import pytest_asyncio

from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.api_scope_pb2 import API_SCOPE_ISSUE, API_SCOPE_READ
from passmill.v1.campaign_pb2 import Campaign, Recipient, RecipientStream
from tests.support.campaigns import (
    ClubCampaigns,
    bad_recipient,
    checksum,
    chunk,
    recipient,
)
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


def rows(*numbers: int) -> list[Recipient]:
    """Recipients named by numbers."""
    return [recipient(str(number)) for number in numbers]


def error_in(answer: pb.AppendRecipientsResponse) -> Refusal:
    """The refusal that an answer is."""
    assert answer.WhichOneof("outcome") == "error"
    return refusal_of_status(answer.error.status)


async def test_a_new_stream_is_its_makers(
    campaigns: ClubCampaigns, campaign: Campaign, stream: RecipientStream
) -> None:
    """A stream begins empty and open, its epoch the caller's, and is read as it was made."""
    assert stream.campaign_id == campaign.campaign_id
    assert (stream.next_offset, stream.writer_epoch, stream.invalid_count) == (0, 1, 0)
    assert stream.state == RecipientStream.STATE_OPEN
    assert await campaigns.read_stream(stream) == stream


async def test_chunks_are_acknowledged_in_order(
    campaigns: ClubCampaigns, stream: RecipientStream
) -> None:
    """Chunks sent without waiting are each answered, in their order, with where the stream goes on;
    what is stored is what was sent."""
    ids = [str(number) for number in range(2300)]
    sent = [
        chunk(stream, [recipient(each) for each in ids[at : at + 100]], offset=at)
        for at in range(0, 2300, 100)
    ]
    answers = await campaigns.send(sent)
    assert [each.ack.next_offset for each in answers] == list(range(100, 2400, 100))
    assert not any(each.ack.duplicate_count or each.ack.row_errors for each in answers)
    assert await campaigns.stored(stream) == ids
    assert (await campaigns.read_stream(stream)).next_offset == 2300


async def test_what_is_there_is_acknowledged_again(
    campaigns: ClubCampaigns, stream: RecipientStream
) -> None:
    """A chunk that was stored is acknowledged again, by either way, also when other recipients are
    said to be at its place: those that are there stay."""
    await campaigns.append(chunk(stream, rows(0, 1, 2)))
    await campaigns.append(chunk(stream, rows(3), offset=3))
    for again in (rows(0, 1, 2), rows(7, 8, 9), [bad_recipient("x")] * 3):
        ack = await campaigns.append(chunk(stream, again, offset=0))
        assert (ack.next_offset, ack.duplicate_count, len(ack.row_errors)) == (4, 3, 0)
        [answer] = await campaigns.send([chunk(stream, again, offset=0)])
        assert answer.ack == ack
    assert await campaigns.stored(stream) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("offset", [1, 2, 4])
async def test_an_overlap_adds_its_rest(
    campaigns: ClubCampaigns, stream: RecipientStream, offset: int
) -> None:
    """A chunk that begins before the stream's end and goes beyond it adds what is beyond, with its
    refused ones alone."""
    await campaigns.append(chunk(stream, [*rows(0, 1, 2, 3), bad_recipient("4")]))
    sent = [bad_recipient(str(number)) for number in range(offset, 7)]
    ack = await campaigns.append(chunk(stream, sent, offset=offset))
    assert (ack.next_offset, ack.duplicate_count) == (7, 5 - offset)
    assert [each.offset for each in ack.row_errors] == [5, 6]
    assert await campaigns.stored(stream) == [str(number) for number in range(7)]
    assert (await campaigns.read_stream(stream)).invalid_count == 3


async def test_a_gap_is_refused(campaigns: ClubCampaigns, stream: RecipientStream) -> None:
    """A chunk that begins behind the stream's end is refused with where it goes on, and ends the
    stream of messages: those after it are not looked at, also where they would fit."""
    sent = [
        chunk(stream, rows(0)),
        chunk(stream, rows(2), offset=2),
        chunk(stream, rows(1), offset=1),
    ]
    answers = await campaigns.send(sent)
    assert [each.WhichOneof("outcome") for each in answers] == ["ack", "error"]
    refusal = error_in(answers[1])
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.OUT_OF_RANGE, "OFFSET_GAP")
    assert refusal.metadata == {"next_offset": "1"}
    assert answers[1].error.next_offset == 1
    request = pb.AppendRecipientChunkRequest(chunk=chunk(stream, rows(2), offset=2))
    assert await refused(campaigns.club.campaigns.AppendRecipientChunk(request)) == refusal
    assert await campaigns.stored(stream) == ["0"]


async def test_an_older_writer_is_fenced_off(
    campaigns: ClubCampaigns, stream: RecipientStream
) -> None:
    """After a claim the older epoch is refused whatever it sends, also what is there already; so is
    one that was never given. The new one goes on."""
    await campaigns.append(chunk(stream, rows(0, 1)))
    claimed = await campaigns.claim(stream)
    assert (claimed.next_offset, claimed.writer_epoch) == (2, 2)
    for epoch in (1, 3, 1 << 62):
        for offset in (0, 2, 9):
            sent = chunk(claimed, rows(offset), offset=offset, writer_epoch=epoch)
            [answer] = await campaigns.send([sent])
            assert error_in(answer).reason == "WRITER_FENCED"
            assert answer.error.next_offset == 2
    assert (await campaigns.append(chunk(claimed, rows(2)))).next_offset == 3
    assert await campaigns.stored(stream) == ["0", "1", "2"]


async def test_a_claim_is_made_once(campaigns: ClubCampaigns, stream: RecipientStream) -> None:
    """A claim that is sent again under its request id gives the same epoch; a new one the next."""
    request = pb.ClaimRecipientStreamRequest(stream_id=stream.stream_id, meta=meta())
    claim = campaigns.club.campaigns.ClaimRecipientStream
    assert await claim(request) == await claim(request)
    assert (await campaigns.claim(stream)).writer_epoch == 3


async def test_two_writers_at_once_of_one_epoch(
    campaigns: ClubCampaigns, stream: RecipientStream
) -> None:
    """Two that write the same recipients at once, in chunks of other sizes, leave each recipient
    once and in its place."""
    ids = [str(number) for number in range(600)]

    def cut(size: int) -> list[pb.RecipientChunk]:
        return [
            chunk(stream, [recipient(each) for each in ids[at : at + size]], offset=at)
            for at in range(0, len(ids), size)
        ]

    first, second, third = await asyncio.gather(
        campaigns.send(cut(7)), campaigns.send(cut(50)), campaigns.send(cut(31))
    )
    for answers in (first, second, third):
        assert all(each.HasField("ack") for each in answers)
        assert answers[-1].ack.next_offset == 600
    assert await campaigns.stored(stream) == ids
    added = sum(
        len(each) - answer.ack.duplicate_count
        for answers, size in ((first, 7), (second, 50), (third, 31))
        for each, answer in zip((c.recipients for c in cut(size)), answers, strict=True)
    )
    assert added == 600


async def test_two_writers_at_once_of_two_epochs(
    campaigns: ClubCampaigns, stream: RecipientStream
) -> None:
    """While one writes, another claims the stream and goes on: the first is refused from then on,
    and each recipient is there once, from one of the two."""

    def cut(wanted: RecipientStream, tag: str, start: int) -> list[pb.RecipientChunk]:
        return [
            chunk(wanted, [recipient(f"{tag}{number}") for number in range(at, at + 5)], offset=at)
            for at in range(start, 400, 5)
        ]

    async def take_over() -> list[pb.AppendRecipientsResponse]:
        for _ in range(10_000):
            if (await campaigns.read_stream(stream)).next_offset >= 40:
                break
        claimed = await campaigns.claim(stream)
        return await campaigns.send(cut(claimed, "b", claimed.next_offset))

    first, second = await asyncio.gather(campaigns.send(cut(stream, "a", 0)), take_over())
    assert error_in(first[-1]).reason == "WRITER_FENCED"
    kept = first[-2].ack.next_offset
    assert second[-1].ack.next_offset == 400
    expected = [f"{'a' if number < kept else 'b'}{number}" for number in range(400)]
    assert await campaigns.stored(stream) == expected


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_checksum_is_kept(
    campaigns: ClubCampaigns, stream: RecipientStream, *, streaming: bool
) -> None:
    """A chunk with the CRC-32C of its recipients is stored, one with another is refused and leaves
    nothing."""
    recipients = [recipient(str(at), crm=f"c{at}", tier="Gold") for at in range(50)]
    wrong = chunk(stream, recipients, crc32c=checksum(recipients) ^ 1)
    right = chunk(stream, recipients, crc32c=checksum(recipients))
    if streaming:
        [answer] = await campaigns.send([wrong])
        refusal = error_in(answer)
    else:
        request = pb.AppendRecipientChunkRequest(chunk=wrong)
        refusal = await refused(campaigns.club.campaigns.AppendRecipientChunk(request))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "CHECKSUM_MISMATCH",
    )
    assert (await campaigns.read_stream(stream)).next_offset == 0
    assert (await campaigns.append(right)).next_offset == 50


async def test_a_refused_recipient_keeps_its_place(
    campaigns: ClubCampaigns, campaign: Campaign, stream: RecipientStream
) -> None:
    """Recipients that their template refuses are told of with their offset, reason and fields, take
    their places all the same, and are listed."""
    await campaigns.append(chunk(stream, rows(0)))
    sent = [*rows(1), bad_recipient("2"), *rows(3), recipient("4", tier="x" * 600)]
    ack = await campaigns.append(chunk(stream, sent, offset=1))
    assert ack.next_offset == 5
    assert [(each.offset, each.reason, list(each.fields)) for each in ack.row_errors] == [
        (2, "INVALID_VALUES", ['values["points"]']),
        (4, "INVALID_VALUES", ['values["tier"]']),
    ]
    assert "required" in ack.row_errors[0].message
    assert (await campaigns.read_stream(stream)).invalid_count == 2
    listed = await campaigns.results(campaign, failed_only=True)
    assert [(each.offset, each.external_id, each.reason, each.message) for each in listed] == [
        (each.offset, str(each.offset), each.reason, each.message) for each in ack.row_errors
    ]


async def test_a_bad_message_comes_after_the_good_ones(
    campaigns: ClubCampaigns, stream: RecipientStream
) -> None:
    """A message that breaks a rule of the protocol is answered in its turn, by name, and is the
    last."""
    good = [chunk(stream, rows(at), offset=at) for at in range(5)]
    for bad in (
        pb.RecipientChunk(stream_id=stream.stream_id, writer_epoch=1),
        chunk(stream, rows(*range(1001)), offset=5),
        chunk(stream, rows(5), offset=-1),
        chunk(stream, rows(5), offset=5, writer_epoch=0),
    ):
        answers = await campaigns.send([*good, bad, *good])
        assert [each.WhichOneof("outcome") for each in answers] == ["ack"] * 5 + ["error"]
        assert error_in(answers[-1]).reason == "INVALID_FIELD"


async def test_one_call_may_feed_several_streams(
    campaigns: ClubCampaigns, campaign: Campaign
) -> None:
    """Messages of one call go to the streams they name."""
    streams = [await campaigns.open_stream(campaign) for _ in range(3)]
    sent = [
        chunk(each, [recipient(f"{index}-{at}")], offset=at)
        for at in range(4)
        for index, each in enumerate(streams)
    ]
    answers = await campaigns.send(sent)
    assert [each.ack.next_offset for each in answers] == [at + 1 for at in range(4) for _ in "abc"]
    for index, each in enumerate(streams):
        assert await campaigns.stored(each) == [f"{index}-{at}" for at in range(4)]


async def test_a_writer_that_dies_comes_back(
    campaigns: ClubCampaigns, stream: RecipientStream
) -> None:
    """A writer whose call is cut in the middle claims the stream, goes on where it stands, and
    nothing is lost or there twice."""
    ids = [str(number) for number in range(300)]
    current, lives = stream, 0
    while current.next_offset < len(ids):
        call = campaigns.club.campaigns.AppendRecipients()
        start = current.next_offset
        places = range(start, len(ids), 10)
        for at in places:
            wanted = [recipient(each) for each in ids[at : at + 10]]
            await call.write(pb.AppendRecipientsRequest(chunk=chunk(current, wanted, offset=at)))
        for _ in range(min(lives % 4, len(places))):  # a message each, and no more answers
            await call.read()
        call.cancel()
        lives += 1
        current = await campaigns.claim(stream)
        assert await campaigns.stored(stream) == ids[: current.next_offset]
        assert lives < 200
    assert await campaigns.stored(stream) == ids


async def test_a_cancelled_call_leaves_whole_chunks(
    campaigns: ClubCampaigns, stream: RecipientStream
) -> None:
    """Whenever a call is cancelled, what is there is a run of whole chunks: with all recipients,
    all their failures and the count."""
    for pause in (0.0, 0.001, 0.003, 0.01, 0.02, 0.05):
        current = await campaigns.claim(stream)
        sent = [
            [*rows(*range(at, at + 9)), bad_recipient(str(at + 9))]
            for at in range(current.next_offset, current.next_offset + 100, 10)
        ]
        requests = [chunk(current, each, offset=int(each[0].external_id)) for each in sent]
        sending = asyncio.ensure_future(campaigns.send(requests))
        await asyncio.sleep(pause)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        after = await campaigns.claim(current)  # waits for a chunk that is just being written
        stored = await campaigns.stored(stream)
        assert stored == [str(number) for number in range(after.next_offset)]
        assert after.next_offset % 10 == 0
        assert after.invalid_count == after.next_offset // 10
        assert await campaigns.club.tenant.count("recipient_failures") == after.invalid_count


async def test_appending_needs_the_right(campaigns: ClubCampaigns, stream: RecipientStream) -> None:
    """A key that may only read opens no stream to write; one that may issue does."""
    service = campaigns.club.tenant.service
    for scopes, is_open in (([API_SCOPE_READ], False), ([API_SCOPE_ISSUE], True)):
        key = await service.add_key(campaigns.club.tenant.tenant_id, scopes)
        call = service.member(key).campaigns.AppendRecipients()
        if not is_open:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            continue
        await call.write(pb.AppendRecipientsRequest(chunk=chunk(stream, rows(0))))
        answer = await call.read()
        assert isinstance(answer, pb.AppendRecipientsResponse)
        assert answer.ack.next_offset == 1
        call.cancel()


async def test_a_call_without_messages_ends_well(campaigns: ClubCampaigns) -> None:
    """Nothing sent is nothing answered."""
    none: Sequence[pb.RecipientChunk] = ()
    assert await campaigns.send(none) == []
