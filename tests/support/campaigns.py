"""Campaigns of a club in tests: made, filled, and what became of their recipients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c

from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import (
    Campaign,
    CampaignAction,
    IssueAction,
    Recipient,
    RecipientResult,
    RecipientStream,
)
from passmill.v1.wallet_pass_pb2 import PassDraft, PassRef
from tests.support.channels import CALL_SECONDS
from tests.support.service import Club, meta
from tests.support.small_card import draft

# A row that its template refuses: the card's points are required.
_NO_POINTS: Final = PassDraft()


def recipient(external_id: str, **options: Any) -> Recipient:
    """A recipient to issue a small card to. `options`: as of `draft`."""
    return Recipient(external_id=external_id, draft=draft(**options))


def bad_recipient(external_id: str) -> Recipient:
    """A recipient that is refused: a required value is missing."""
    return Recipient(external_id=external_id, draft=_NO_POINTS)


def named_recipient(external_id: str, pass_id: str) -> Recipient:
    """A recipient that names a pass."""
    return Recipient(external_id=external_id, ref=PassRef(pass_id=pass_id))


def checksum(recipients: Iterable[Recipient]) -> int:
    """What the protocol says of `crc32c`."""
    content = b"".join(each.SerializeToString(deterministic=True) for each in recipients)
    return int(google_crc32c.value(content))


def chunk(
    stream: RecipientStream,
    recipients: Sequence[Recipient],
    *,
    offset: int | None = None,
    writer_epoch: int | None = None,
    crc32c: int | None = None,
) -> pb.RecipientChunk:
    """A chunk of a stream's writer; its place is the stream's next unless told."""
    return pb.RecipientChunk(
        stream_id=stream.stream_id,
        writer_epoch=stream.writer_epoch if writer_epoch is None else writer_epoch,
        offset=stream.next_offset if offset is None else offset,
        recipients=recipients,
        crc32c=crc32c,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClubCampaigns:
    """The campaigns of a club."""

    club: Club

    def issue_action(self, *, revision: int = 0) -> CampaignAction:
        """Issue from the club's template."""
        issue = IssueAction(template_id=self.club.template_id, revision=revision)
        return CampaignAction(issue=issue)

    async def create(self, action: CampaignAction | None = None, /, **options: Any) -> Campaign:
        """A draft, which issues unless told. `options`: fields of CreateCampaignRequest."""
        request = pb.CreateCampaignRequest(
            display_name="Spring", action=action or self.issue_action(), meta=meta(), **options
        )
        return (await self.club.campaigns.CreateCampaign(request)).campaign

    async def open_stream(self, campaign: Campaign) -> RecipientStream:
        """A stream of the campaign, its writer the caller."""
        request = pb.CreateRecipientStreamRequest(campaign_id=campaign.campaign_id, meta=meta())
        return (await self.club.campaigns.CreateRecipientStream(request)).stream

    async def read_stream(self, stream: RecipientStream) -> RecipientStream:
        """The stream as it is now."""
        request = pb.GetRecipientStreamRequest(stream_id=stream.stream_id)
        return (await self.club.campaigns.GetRecipientStream(request)).stream

    async def claim(self, stream: RecipientStream) -> RecipientStream:
        """The stream, claimed."""
        request = pb.ClaimRecipientStreamRequest(stream_id=stream.stream_id, meta=meta())
        return (await self.club.campaigns.ClaimRecipientStream(request)).stream

    async def append(self, wanted: pb.RecipientChunk) -> pb.AppendAck:
        """Appends one chunk by itself."""
        request = pb.AppendRecipientChunkRequest(chunk=wanted)
        return (await self.club.campaigns.AppendRecipientChunk(request)).ack

    async def finalize(
        self, stream: RecipientStream, *, expected_rows: int | None = None
    ) -> RecipientStream:
        """Closes the stream, with as many recipients as it has unless told."""
        if expected_rows is None:
            expected_rows = (await self.read_stream(stream)).next_offset
        request = pb.FinalizeRecipientStreamRequest(
            stream_id=stream.stream_id,
            writer_epoch=stream.writer_epoch,
            expected_rows=expected_rows,
            meta=meta(),
        )
        return (await self.club.campaigns.FinalizeRecipientStream(request)).stream

    async def load(self, campaign: Campaign, recipients: Sequence[Recipient]) -> RecipientStream:
        """One more stream of the campaign, complete."""
        stream = await self.open_stream(campaign)
        for start in range(0, len(recipients), 1000):
            rows = recipients[start : start + 1000]
            await self.append(chunk(stream, rows, offset=start))
        return await self.finalize(stream)

    async def send(
        self, chunks: Iterable[pb.RecipientChunk], *, seconds: float | None = CALL_SECONDS
    ) -> list[pb.AppendRecipientsResponse]:
        """Sends chunks by one streaming call without waiting for answers; gives the answers."""

        async def requests() -> AsyncIterator[pb.AppendRecipientsRequest]:
            for each in chunks:
                yield pb.AppendRecipientsRequest(chunk=each)

        call = self.club.campaigns.AppendRecipients(requests(), timeout=seconds)
        return [answer async for answer in call]

    async def results(
        self, campaign: Campaign, *, failed_only: bool = False, page_size: int = 500
    ) -> list[RecipientResult]:
        """What became of all recipients, or of those invalid and failed, page by page."""
        request = pb.ListRecipientsRequest(
            campaign_id=campaign.campaign_id, failed_only=failed_only, page_size=page_size
        )
        found: list[RecipientResult] = []
        while True:
            answer = await self.club.campaigns.ListRecipients(request)
            found += answer.recipients
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token

    async def stored(self, stream: RecipientStream) -> list[str]:
        """The external ids that the database holds, by offset; it fails the test when one is
        missing or there twice."""
        rows = await self.club.tenant.fetch(
            "SELECT first_offset, row_count, content::jsonb -> 'external_ids' AS ids"
            " FROM recipient_chunks WHERE stream_id = $1::uuid ORDER BY first_offset",
            stream.stream_id,
        )
        found: list[str] = []
        for row in rows:
            ids = _json_list(row["ids"])
            assert (row["first_offset"], row["row_count"]) == (len(found), len(ids))
            found += ids
        return found


def _json_list(text: str) -> list[str]:
    loaded: list[str] = json.loads(text)
    return loaded
