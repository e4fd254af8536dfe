"""Issue the passes of a shard: one idempotent step.

The ids come from the campaign and the recipient's external id, the reference numbers from the
recipient's position; so a shard that is served again makes the same passes, and writes none twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress
from time import perf_counter

from passmill.domain.api_keys import hash_secret
from passmill.domain.apple import encode_pass_columns
from passmill.domain.campaigns import (
    Campaign,
    Failure,
    FailureKind,
    IssueAction,
    Shard,
    ShardOutcome,
)
from passmill.domain.claim_tokens import ClaimTokens
from passmill.domain.clock import Clock
from passmill.domain.ids import SigningIdentityId, campaign_pass_ids
from passmill.domain.passes import next_signing_time
from passmill.domain.reference_ids import (
    ReferenceNumber,
    ReferencePermutation,
    format_reference_ids,
)
from passmill.errors import Reason
from passmill.failpoints import Failpoints
from passmill.signing.identities import IdentityCache, require_team
from passmill.signing.revisions import LoadedRevision
from passmill.store import recipient_streams, shards
from passmill.store.database import Database
from passmill.store.shard_passes import IssuedColumns, insert_shard_passes
from passmill.telemetry.metrics import Metrics
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import PassContents, TenantContent
from passmill.usecases.shard_work import (
    ShardDone,
    ShardRecipients,
    ShardWork,
    pick_recipients,
    shard_recipients,
)
from passmill.usecases.sign_shard import SignedColumns, SignShard
from passmill.usecases.tenant_numbers import TenantNumbers

_DUPLICATE_MESSAGE = "Its external_id came before in this campaign."
_FAILED_MESSAGE = "The pass could not be made. Retry, and tell your operator if it fails again."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    """What the tenant's numbers, barcodes and claim links are made with; `claim_tokens`: None where
    there are no links."""

    loaded: LoadedRevision
    content: TenantContent
    references: ReferencePermutation
    claim_tokens: ClaimTokens | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """Recipients in the order of their passes' ids, with all that their passes show."""

    recipients: ShardRecipients
    pass_ids: Sequence[bytes]
    reference_numbers: Sequence[ReferenceNumber]
    lines: Sequence[str] = field(repr=False)
    barcode_seals: Sequence[bytes] | None
    token_hashes: Sequence[bytes] | None
    duplicates: Sequence[Failure]


class IssueShard:
    """Issues shards."""

    def __init__(
        self,
        *,
        database: Database,
        load_revision: LoadRevision,
        identities: IdentityCache,
        numbers: TenantNumbers,
        contents: PassContents,
        claim_tokens: ClaimTokens,
        sign_shard: SignShard,
        clock: Clock,
        metrics: Metrics,
        failpoints: Failpoints,
    ) -> None:
        self._database = database
        self._load_revision = load_revision
        self._identities = identities
        self._numbers = numbers
        self._contents = contents
        self._claim_tokens = claim_tokens
        self._sign_shard = sign_shard
        self._clock = clock
        self._metrics = metrics
        self._failpoints = failpoints

    async def __call__(self, work: ShardWork) -> None:
        """Issues the shard's passes. ShardDone when somebody else did; AppError
        NO_SIGNING_IDENTITY, SIGNING_IDENTITY_EXPIRED, UNAVAILABLE, DEADLINE_EXCEEDED, with nothing
        written."""
        action = work.campaign.definition.action
        if not isinstance(action, IssueAction):
            raise TypeError("the campaign does not issue")
        start_time = self._clock.now()
        loaded = await self._load_revision.by_id(work.caller, action.revision.revision_id)
        identity_id, identity = await self._identities.active(
            work.caller, loaded.revision.pass_type_identifier
        )
        require_team(identity, loaded.revision.team_identifier)
        prepared = await self._prepare(work, loaded, has_links=action.links is not None)
        self._failpoints.reach("shard.read")

        began = perf_counter()
        signing_time = next_signing_time(start_time, previous=None)
        signed = await self._sign_shard(loaded, identity, prepared.lines, signing_time=signing_time)
        sign_seconds = perf_counter() - began
        self._failpoints.reach("shard.signed")
        await self._write(
            work,
            prepared,
            signed,
            identity_id=identity_id,
            start_time=start_time,
            signing_time=signing_time,
            sign_seconds=sign_seconds,
        )

    async def _prepare(
        self, work: ShardWork, loaded: LoadedRevision, *, has_links: bool
    ) -> _Prepared:
        shard = work.shard
        async with self._database.statement(work.caller) as tx:
            chunks = await recipient_streams.read_chunks(
                tx, shard.stream_id, first_offset=shard.first_offset, end_offset=shard.end_offset
            )
        numbers = _Numbers(
            loaded=loaded,
            content=await self._contents.to_make(work.caller, [loaded]),
            references=await self._numbers.references(work.caller),
            claim_tokens=self._claim_tokens if has_links else None,
        )
        recipients = shard_recipients(shard, chunks)
        # Some ten microseconds a recipient: too long for the loop, on which others' answers wait.
        return await asyncio.to_thread(_prepare, work.campaign, shard, recipients, numbers)

    async def _write(
        self,
        work: ShardWork,
        prepared: _Prepared,
        signed: SignedColumns,
        *,
        identity_id: SigningIdentityId,
        start_time: datetime,
        signing_time: datetime,
        sign_seconds: float,
    ) -> None:
        action = work.campaign.definition.action
        assert isinstance(action, IssueAction)  # noqa: S101 - asked before
        passes, failures = _split(prepared, signed)
        began = perf_counter()
        now = self._clock.now()
        async with self._database.transaction(work.caller) as tx:
            if not await shards.take_shard(tx, work.campaign.campaign_id, work.shard):
                raise ShardDone
            there = await insert_shard_passes(
                tx,
                passes,
                campaign_id=work.campaign.campaign_id,
                action=action,
                signing_identity_id=identity_id,
                signing_time=signing_time,
                now=now,
            )
            duplicates = [*prepared.duplicates, *_written_before(prepared, there)]
            outcome = ShardOutcome(
                succeeded=len(passes.pass_ids) - len(there),
                failed=len(failures),
                duplicate=len(duplicates),
                start_time=start_time,
                sign_seconds=sign_seconds,
                write_seconds=perf_counter() - began,
            )
            if not await shards.finish_shard(
                tx, work.campaign, work.shard, outcome, [*failures, *duplicates], now=now
            ):
                raise ShardDone
            self._failpoints.reach("shard.written")
        self._metrics.issued(outcome.succeeded)


def _prepare(
    campaign: Campaign, shard: Shard, recipients: ShardRecipients, numbers: _Numbers
) -> _Prepared:
    recipients, duplicates = _first_of_each(recipients)
    pass_ids = campaign_pass_ids(campaign.campaign_id, recipients.columns.external_ids)
    order = sorted(range(len(pass_ids)), key=pass_ids.__getitem__)
    pass_ids = [pass_ids[at] for at in order]
    recipients = pick_recipients(recipients, order)
    columns = recipients.columns
    first_index = campaign.first_reference + shard.first_position
    by_offset = numbers.references.numbers(first_index, shard.end_offset - shard.first_offset)
    reference_numbers = [
        by_offset[row_offset - shard.first_offset] for row_offset in recipients.row_offsets
    ]
    content, expire_times = numbers.content, [_moment(text) for text in columns.expire_times]
    slot_values = _texts(columns.values)
    barcodes, barcode_seals = content.barcodes_of_many(
        numbers.loaded, pass_ids, expire_times=expire_times, slot_values=slot_values
    )
    return _Prepared(
        recipients=recipients,
        pass_ids=pass_ids,
        reference_numbers=reference_numbers,
        lines=encode_pass_columns(
            serial_numbers=content.serial_numbers.of_many(pass_ids),
            authentication_tokens=content.tokens.first_of_many(content.tenant_id, pass_ids),
            reference_ids=format_reference_ids(reference_numbers),
            holder_names=_texts(columns.names),
            holder_phones=_texts(columns.phones),
            expire_times=expire_times,
            slot_values=slot_values,
            barcodes=barcodes,
        ),
        barcode_seals=barcode_seals,
        token_hashes=None
        if numbers.claim_tokens is None
        else [
            hash_secret(token)
            for token in numbers.claim_tokens.of_many(content.tenant_id, pass_ids)
        ],
        duplicates=duplicates,
    )


def _first_of_each(recipients: ShardRecipients) -> tuple[ShardRecipients, list[Failure]]:
    """The first recipient with each external id; the others are duplicates."""
    external_ids = recipients.columns.external_ids
    if len(set(external_ids)) == len(external_ids):
        return recipients, []
    seen: set[str] = set()
    first: list[int] = []
    duplicates: list[Failure] = []
    for at, external_id in enumerate(external_ids):
        if external_id in seen:
            duplicates.append(_duplicate(recipients, at))
        else:
            seen.add(external_id)
            first.append(at)
    return pick_recipients(recipients, first), duplicates


def _texts(column: Sequence[str | None]) -> list[str]:
    return [text or "" for text in column]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _split(prepared: _Prepared, signed: SignedColumns) -> tuple[IssuedColumns, list[Failure]]:
    """The passes that are signed, and the recipients whose pass could not be made."""
    failed = set(signed.failed)
    failures = [
        Failure(
            row_offset=prepared.recipients.row_offsets[at],
            kind=FailureKind.FAILED,
            external_id=prepared.recipients.columns.external_ids[at],
            reason=Reason.INTERNAL,
            message=_FAILED_MESSAGE,
        )
        for at in signed.failed
    ]
    kept = [at not in failed for at in range(len(prepared.pass_ids))]
    columns, seals = prepared.recipients.columns, prepared.barcode_seals
    hashes = prepared.token_hashes
    return (
        IssuedColumns(
            pass_ids=list(compress(prepared.pass_ids, kept)),
            reference_numbers=list(compress(prepared.reference_numbers, kept)),
            expire_times=list(compress(columns.expire_times, kept)),
            holder_names=_texts(list(compress(columns.names, kept))),
            holder_phones=_texts(list(compress(columns.phones, kept))),
            holder_ids=list(compress(columns.holder_ids, kept)),
            tags=list(compress(columns.tags, kept)),
            slot_values=_texts(list(compress(columns.values, kept))),
            digests=list(compress(signed.digests, kept)),
            signatures=list(compress(signed.signatures, kept)),
            barcode_seals=None if seals is None else list(compress(seals, kept)),
            token_hashes=None if hashes is None else list(compress(hashes, kept)),
        ),
        failures,
    )


def _written_before(prepared: _Prepared, there: set[bytes]) -> list[Failure]:
    if not there:
        return []
    return [
        _duplicate(prepared.recipients, at)
        for at, pass_id in enumerate(prepared.pass_ids)
        if pass_id in there
    ]


def _duplicate(recipients: ShardRecipients, at: int) -> Failure:
    return Failure(
        row_offset=recipients.row_offsets[at],
        kind=FailureKind.DUPLICATE,
        external_id=recipients.columns.external_ids[at],
        reason=Reason.DUPLICATE_RECIPIENT,
        message=_DUPLICATE_MESSAGE,
    )
