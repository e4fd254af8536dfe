"""The passes a shard is about, with what its recipients say of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from passmill.domain.campaigns import Campaign, Failure, FailureKind, Shard
from passmill.domain.ids import PassId, campaign_pass_id
from passmill.domain.pass_undo import PassUndo
from passmill.errors import Reason
from passmill.store import chosen_streams
from passmill.store.database import Transaction
from passmill.store.recipient_streams import find_failures, read_chunks
from passmill.store.repeated_recipients import DUPLICATE_MESSAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One recipient and its pass. The rest as in `RecipientColumns`: None where it stays as it is.
    `undo`: to what it shall go back, with a roll-back."""

    row_offset: int
    external_id: str
    pass_id: PassId
    values: str = "{}"
    name: str | None = None
    phone: str | None = None
    expire_time: str | None = None
    holder_ids: str | None = None
    tags: str | None = None
    undo: PassUndo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Each pass once; `duplicates`: the recipients whose id or pass came before."""

    targets: Sequence[Target]
    duplicates: Sequence[Failure]


async def read_targets(tx: Transaction, campaign: Campaign, shard: Shard) -> Targets:
    """The shard's recipients that were not refused; with a retry those it is about. Those marked
    before as duplicates of recipients in other shards are among the duplicates."""
    bounds = {"first_offset": shard.first_offset, "end_offset": shard.end_offset}
    chunks = await read_chunks(tx, shard.stream_id, **bounds)
    failures = await find_failures(tx, campaign.campaign_id, shard.stream_id, **bounds)
    marked = {at: each for at, each in failures.items() if each.kind is FailureKind.DUPLICATE}
    targets = [
        Target(
            row_offset=chunk.first_offset + at,
            external_id=chunk.recipients.external_ids[at],
            pass_id=PassId(UUID(hex=pass_id)),
            values=values,
            name=chunk.recipients.names[at],
            phone=chunk.recipients.phones[at],
            expire_time=chunk.recipients.expire_times[at],
            holder_ids=chunk.recipients.holder_ids[at],
            tags=chunk.recipients.tags[at],
        )
        for chunk in chunks
        for at, (values, pass_id) in enumerate(
            zip(chunk.recipients.values, chunk.recipients.pass_ids, strict=True)
        )
        if values is not None and pass_id is not None and chunk.first_offset + at not in marked
    ]
    found = _first_of_each(_retried(shard, targets))
    if not marked or shard.row_offsets is not None:
        return found
    return Targets(targets=found.targets, duplicates=[*marked.values(), *found.duplicates])


async def read_undo_targets(tx: Transaction, shard: Shard) -> Targets:
    """As `read_targets`, of a campaign that takes another back."""
    undo = await chosen_streams.read_undo(
        tx, shard.stream_id, first_offset=shard.first_offset, end_offset=shard.end_offset
    )
    targets = [
        Target(row_offset=offset, external_id=each.external_id, pass_id=each.pass_id, undo=each)
        for offset, each in enumerate(undo, shard.first_offset)
    ]
    return _first_of_each(_retried(shard, targets))


async def read_issued_targets(tx: Transaction, campaign: Campaign, shard: Shard) -> Targets:
    """The passes that a campaign that issues gave to the shard's recipients. Who was not served is
    left out: a duplicate's pass is that of the recipient who came before."""
    bounds = {"first_offset": shard.first_offset, "end_offset": shard.end_offset}
    chunks = await read_chunks(tx, shard.stream_id, **bounds)
    unserved = await find_failures(tx, campaign.campaign_id, shard.stream_id, **bounds)
    targets = [
        Target(
            row_offset=chunk.first_offset + at,
            external_id=external_id,
            pass_id=campaign_pass_id(campaign.campaign_id, external_id),
            values=values,
            name=chunk.recipients.names[at],
            phone=chunk.recipients.phones[at],
            expire_time=chunk.recipients.expire_times[at],
            holder_ids=chunk.recipients.holder_ids[at],
        )
        for chunk in chunks
        for at, (external_id, values) in enumerate(
            zip(chunk.recipients.external_ids, chunk.recipients.values, strict=True)
        )
        if values is not None and chunk.first_offset + at not in unserved
    ]
    return _first_of_each(targets)


def _retried(shard: Shard, targets: Sequence[Target]) -> Sequence[Target]:
    if shard.row_offsets is None:
        return targets
    wanted = frozenset(shard.row_offsets)
    return [each for each in targets if each.row_offset in wanted]


def _first_of_each(targets: Sequence[Target]) -> Targets:
    """As `mark_repeated` says, for what one shard holds."""
    by_id, again = _first_by(targets, lambda target: target.external_id)
    first, same_pass = _first_by(by_id, lambda target: target.pass_id)
    return Targets(targets=first, duplicates=[_duplicate(each) for each in (*again, *same_pass)])


def _first_by(
    targets: Sequence[Target], key: Callable[[Target], str | PassId]
) -> tuple[list[Target], list[Target]]:
    """Those whose key comes first, and the others. An empty key is nobody's: a segment's passes
    have no external id."""
    seen: set[str | PassId] = set()
    first: list[Target] = []
    again: list[Target] = []
    for target in targets:
        found = key(target)
        (again if found != "" and found in seen else first).append(target)
        seen.add(found)
    return first, again


def _duplicate(target: Target) -> Failure:
    return Failure(
        row_offset=target.row_offset,
        kind=FailureKind.DUPLICATE,
        external_id=target.external_id,
        reason=Reason.DUPLICATE_RECIPIENT,
        message=DUPLICATE_MESSAGE,
    )
