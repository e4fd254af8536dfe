"""Say what became of a campaign's recipients, by stream and offset.

A recipient that was served has no row of its own: it is one of a shard that is done, and is not
among those that were not served.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from passmill.domain.callers import Caller, Scope
from passmill.domain.campaigns import (
    Campaign,
    CampaignState,
    Failure,
    FailureKind,
    IssueAction,
    Shard,
    ShardKind,
    ShardState,
)
from passmill.domain.claim_tokens import ClaimTokens
from passmill.domain.ids import CampaignId, PassId, StreamId, campaign_pass_id
from passmill.domain.recipient_results import Place, RecipientResult, ResultState
from passmill.domain.reference_ids import ReferenceNumber
from passmill.errors import not_found
from passmill.store.campaigns import get_campaign
from passmill.store.claim_links import find_campaign_links
from passmill.store.database import Database, Transaction
from passmill.store.recipient_streams import (
    StoredChunk,
    find_failures,
    find_named_passes,
    find_pass_numbers,
    list_failures,
    list_streams,
    read_chunks,
)
from passmill.store.shards import list_shards

_STATE_OF_FAILURE: Final = {
    FailureKind.INVALID: ResultState.INVALID,
    FailureKind.FAILED: ResultState.FAILED,
    FailureKind.DUPLICATE: ResultState.DUPLICATE,
}
# Failed also, when it could not be voided in the course of cancelling.
_MAY_BE_ISSUED: Final = frozenset({ResultState.SUCCEEDED, ResultState.FAILED})


class ListRecipients:
    """Reads results, a page a call."""

    __slots__ = ("_claim_tokens", "_database")

    def __init__(self, *, database: Database, claim_tokens: ClaimTokens) -> None:
        self._database = database
        self._claim_tokens = claim_tokens

    async def __call__(
        self,
        caller: Caller,
        campaign_id: CampaignId,
        *,
        failed_only: bool,
        after: Place | None,
        at_most: int,
    ) -> list[RecipientResult]:
        """Up to `at_most` recipients behind the place `after`; with `failed_only` those that are
        invalid or failed. The tokens of claim links are for callers who may make links: with scope
        ISSUE. AppError NOT_FOUND, CAMPAIGN_STATE when all others are deleted."""
        async with self._database.transaction(caller, read_only=True) as tx:
            campaign = await get_campaign(tx, campaign_id)
            if not failed_only:  # these are kept
                campaign.require_remembered()
            streams = await list_streams(tx, campaign_id)
            if after is not None and after[0] not in {each.stream_id for each in streams}:
                raise not_found("recipient stream")
            if failed_only:
                return await _list_failed(tx, campaign, after, at_most)
            shards = await list_shards(tx, campaign_id, kind=ShardKind.ACT)
            results: list[RecipientResult] = []
            for stream in streams:
                start = 0
                if after is not None:
                    if stream.stream_id < after[0]:
                        continue
                    start = after[1] + 1 if stream.stream_id == after[0] else 0
                end = min(start + at_most - len(results), stream.next_offset)
                if start < end:
                    span = _Span(stream_id=stream.stream_id, start=start, end=end)
                    results += await _read(tx, campaign, shards, span)
                if len(results) >= at_most:
                    break
            action = campaign.definition.action
            if isinstance(action, IssueAction) and action.links and Scope.ISSUE in caller.scopes:
                results = await self._with_tokens(tx, results)
        return results

    async def _with_tokens(
        self, tx: Transaction, results: Sequence[RecipientResult]
    ) -> list[RecipientResult]:
        issued = [each.pass_id for each in results if each.pass_id is not None]
        linked = list(await find_campaign_links(tx, issued))
        tokens = self._claim_tokens.of_many(tx.tenant_id, [each.bytes for each in linked])
        token_of = dict(zip(linked, tokens, strict=True))
        return [
            replace(each, claim_token=token_of[each.pass_id]) if each.pass_id in token_of else each
            for each in results
        ]


async def _list_failed(
    tx: Transaction, campaign: Campaign, after: Place | None, at_most: int
) -> list[RecipientResult]:
    found = await list_failures(
        tx,
        campaign.campaign_id,
        kinds=(FailureKind.INVALID, FailureKind.FAILED),
        after=after,
        at_most=at_most,
    )
    places = [(each.stream_id, each.failure.row_offset) for each in found]
    named = await find_named_passes(tx, places)
    results = [
        _unserved(campaign, place, each.failure, named=named.get(place))
        for place, each in zip(places, found, strict=True)
    ]
    return await _with_numbers(tx, results)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """The recipients at `start` <= offset < `end` of a stream."""

    stream_id: StreamId
    start: int
    end: int


async def _read(
    tx: Transaction, campaign: Campaign, shards: Sequence[Shard], span: _Span
) -> list[RecipientResult]:
    bounds = {"first_offset": span.start, "end_offset": span.end}
    chunks = await read_chunks(tx, span.stream_id, **bounds)
    failures = await find_failures(tx, campaign.campaign_id, span.stream_id, **bounds)
    states = _ShardStates(campaign, [each for each in shards if each.stream_id == span.stream_id])
    results: list[RecipientResult] = []
    for chunk in chunks:
        for index, external_id in enumerate(chunk.recipients.external_ids):
            offset = chunk.first_offset + index
            place = (span.stream_id, offset)
            named = _named_pass(chunk, index)
            if (failure := failures.get(offset)) is not None:
                results.append(_unserved(campaign, place, failure, named=named))
                continue
            state = states.at(offset)
            results.append(
                RecipientResult(
                    place=place,
                    external_id=external_id,
                    state=state,
                    pass_id=_pass_of(campaign, external_id, state, named=named),
                )
            )
    return await _with_numbers(tx, results)


def _named_pass(chunk: StoredChunk, index: int) -> PassId | None:
    named = chunk.recipients.pass_ids[index]
    return None if named is None else PassId(UUID(hex=named))


def _pass_of(
    campaign: Campaign, external_id: str, state: ResultState, *, named: PassId | None
) -> PassId | None:
    """The pass that a recipient names, or that a segment chose; with issue the one that it was
    issued, or would have been."""
    if not isinstance(campaign.definition.action, IssueAction):
        return named
    # Without an id: of a holder who was erased since.
    if external_id and state in _MAY_BE_ISSUED:
        return campaign_pass_id(campaign.campaign_id, external_id)
    return None


async def _with_numbers(
    tx: Transaction, results: Sequence[RecipientResult]
) -> list[RecipientResult]:
    """The results with what their passes are known by. One that was not served, and whose pass
    there is not, has none."""
    known = [each.pass_id for each in results if each.pass_id is not None]
    if not known:
        return list(results)
    numbers = await find_pass_numbers(tx, pass_ids=known, references=[])
    return [_numbered(each, numbers) for each in results]


def _numbered(result: RecipientResult, numbers: dict[PassId, ReferenceNumber]) -> RecipientResult:
    if result.pass_id is None:
        return result
    if result.pass_id in numbers:
        return replace(result, reference_number=numbers[result.pass_id])
    return result if result.state is ResultState.SUCCEEDED else replace(result, pass_id=None)


def _unserved(
    campaign: Campaign, place: Place, failure: Failure, *, named: PassId | None
) -> RecipientResult:
    state = _STATE_OF_FAILURE[failure.kind]
    return RecipientResult(
        place=place,
        external_id=failure.external_id,
        state=state,
        pass_id=_pass_of(campaign, failure.external_id, state, named=named),
        reason=failure.reason.value,
        message=failure.message,
    )


class _ShardStates:
    """What became of the recipients of one stream that have no failure, by their shards."""

    def __init__(self, campaign: Campaign, shards: Sequence[Shard]) -> None:
        self._shards = sorted(shards, key=lambda each: each.first_offset)
        self._starts = [each.first_offset for each in self._shards]
        self._untried = (
            ResultState.SKIPPED
            if campaign.state is CampaignState.CANCELLED
            else ResultState.PENDING
        )

    def at(self, offset: int) -> ResultState:
        """Of the recipient at `offset`."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or offset >= self._shards[index].end_offset:
            return self._untried
        match self._shards[index].state:
            case ShardState.DONE:
                return ResultState.SUCCEEDED
            case ShardState.SKIPPED:
                return ResultState.SKIPPED
            case ShardState.WAITING | ShardState.QUEUED:
                return self._untried
