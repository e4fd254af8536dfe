"""The passes that a segment chooses, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from passmill.domain.campaigns import Definition, IssueAction, RecipientStream, VoidAction
from passmill.domain.ids import CampaignId, PassId, campaign_pass_id
from passmill.domain.segments import type_conditions
from passmill.domain.template_life import TemplateCodec
from passmill.store.database import Transaction
from passmill.store.recipient_streams import list_streams, read_chunks
from passmill.store.segments import WINDOW_PASSES, SegmentQuery, read_ladders, read_revision_slots

_ISSUED_AT_ONCE: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPage:
    """Passes of a page. `resume_after`: what the next page needs to be told; None when this was
    the last."""

    pass_ids: Sequence[PassId]
    resume_after: str | None


class SegmentPages(Protocol):
    """Passes in pages, each of one transaction; a page may well be empty and not the last."""

    async def read(self, tx: Transaction, resume_after: str | None) -> SegmentPage:
        """The page behind the one that gave `resume_after`; the first one for None."""
        ...


async def open_segment(
    tx: Transaction,
    definition: Definition,
    *,
    codec: TemplateCodec,
    now: datetime,
    created_until: datetime | None = None,
    window_passes: int = WINDOW_PASSES,
) -> SegmentPages:
    """The passes that the definition's segment chooses, not those issued after `created_until`,
    with the tiers that they have `now`; `window_passes` are looked at for a page. An update or a
    notice is about the passes of its template alone."""
    segment = definition.segment
    if segment is None:
        raise ValueError("This campaign takes recipients.")
    template_id = segment.template_id
    if not isinstance(definition.action, VoidAction | IssueAction):
        pinned = definition.action.revision.template_id
        if template_id not in {None, pinned}:
            return _NoPasses()
        template_id = pinned
    conditions = [each for each in segment.values if each.any_of or each.at_least or each.less_than]
    narrowing = (template_id, segment.program_id, segment.revision)
    is_narrowed = bool(conditions) or any(each is not None for each in narrowing)
    revisions = (
        await read_revision_slots(
            tx,
            program_id=segment.program_id,
            template_id=template_id,
            number=segment.revision,
            codec=codec,
        )
        if is_narrowed
        else {}
    )
    query = SegmentQuery(
        segment,
        revision_ids=list(revisions) if is_narrowed else None,
        conditions=type_conditions(conditions, revisions),
        ladders=await read_ladders(
            tx, segment.tiers, program_id=segment.program_id, template_id=template_id
        ),
        created_until=created_until,
        now=now,
        window_passes=window_passes,
    )
    if segment.campaign_id is not None:
        return _IssuedPages(query, segment.campaign_id)
    return _AllPages(query)


class _NoPasses:
    async def read(self, tx: Transaction, resume_after: str | None) -> SegmentPage:
        del tx, resume_after
        return SegmentPage(pass_ids=(), resume_after=None)


class _AllPages:
    """Windows of all of the tenant's passes."""

    def __init__(self, query: SegmentQuery) -> None:
        self._query = query

    async def read(self, tx: Transaction, resume_after: str | None) -> SegmentPage:
        after = None if resume_after is None else PassId(UUID(resume_after))
        window = await self._query.look(tx, after=after)
        return SegmentPage(
            pass_ids=window.chosen, resume_after=None if window.last is None else str(window.last)
        )


class _IssuedPages:
    """The passes that a campaign issued: their ids follow from its recipients'."""

    def __init__(self, query: SegmentQuery, campaign_id: CampaignId) -> None:
        self._query = query
        self._campaign_id = campaign_id

    async def read(self, tx: Transaction, resume_after: str | None) -> SegmentPage:
        streams = await list_streams(tx, self._campaign_id)
        stream_hex, _, offset_text = (resume_after or "").partition("/")
        begun = [each for each in streams if each.stream_id.hex >= stream_hex]
        if not begun:
            return SegmentPage(pass_ids=(), resume_after=None)
        stream = begun[0]
        first_offset = int(offset_text) if stream.stream_id.hex == stream_hex else 0
        end_offset = first_offset + _ISSUED_AT_ONCE
        chunks = await read_chunks(
            tx, stream.stream_id, first_offset=first_offset, end_offset=end_offset
        )
        pass_ids = [
            campaign_pass_id(self._campaign_id, external_id)
            for chunk in chunks
            for external_id, values in zip(
                chunk.recipients.external_ids, chunk.recipients.values, strict=True
            )
            if values is not None
        ]
        chosen = (await self._query.look_at(tx, pass_ids)).chosen if pass_ids else ()
        return SegmentPage(pass_ids=chosen, resume_after=_behind(stream, end_offset, begun))


def _behind(
    stream: RecipientStream, end_offset: int, streams: Sequence[RecipientStream]
) -> str | None:
    if end_offset < stream.next_offset:
        return f"{stream.stream_id.hex}/{end_offset}"
    return f"{streams[1].stream_id.hex}/0" if len(streams) > 1 else None
