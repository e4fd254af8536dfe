"""Campaigns served shard by shard without a worker, on a real database: what a worker would call,
called by the test."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from prometheus_client import CollectorRegistry

from passmill.domain.campaigns import (
    Campaign,
    CampaignAction,
    CampaignState,
    Definition,
    Failure,
    NotifyAction,
    PinnedRevision,
    Priority,
    RecipientStream,
    RolloutPlan,
    Segment,
    Shard,
    ShardState,
    StreamState,
    UpdateAction,
)
from passmill.domain.clock import Clock, SystemClock
from passmill.domain.ids import CampaignId, RevisionId, StreamId, TemplateId, new_uuid
from passmill.domain.keyring import Keyring
from passmill.domain.recipients import RecipientColumns
from passmill.domain.templates import Field, FieldPosition, Slot, SlotType, TemplateContent
from passmill.domain.values import Value, values_to_json
from passmill.failpoints import Failpoints
from passmill.rpc.convert_template import ProtoTemplateCodec
from passmill.signing.identities import IdentityCache
from passmill.signing.revisions import RevisionCache
from passmill.signing.sealer import open_sealer
from passmill.store import campaigns, recipient_streams, shards
from passmill.store.database import Database
from passmill.store.recipient_streams import StoredChunk
from passmill.store.signing_identities import IdentityReader
from passmill.telemetry.metrics import Metrics
from passmill.usecases.barcode_keys import BarcodeKeys
from passmill.usecases.campaign_steps import begin
from passmill.usecases.campaign_view import CampaignView
from passmill.usecases.change_passes import ChangePasses
from passmill.usecases.choose_segment import ChooseSegment
from passmill.usecases.compare_recipients import CompareRecipients
from passmill.usecases.load_revision import LoadRevision, RevisionReader
from passmill.usecases.mutation import Mutation, Mutator
from passmill.usecases.pass_content import PassContents
from passmill.usecases.preview_campaign import PreviewCampaign
from passmill.usecases.roll_back_campaign import RollBackCampaign
from passmill.usecases.seal_barcodes import SealBarcodes
from passmill.usecases.shard_work import ShardAct, ShardWork
from passmill.usecases.tenant_numbers import TenantNumbers
from passmill.usecases.update_shard import UpdateShard
from passmill.usecases.void_shard import VoidShard
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.service import Club, Service
from tests.support.shard_faults import Interrupted, PickySealer
from tests.support.small_card import draft, small_card


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recipient of an update: its pass, what is set, and whose it is."""

    pass_id: str
    external_id: str = ""
    values: Mapping[str, Value] | None = None
    name: str | None = None
    phone: str | None = None
    expire_time: datetime | None = None
    holder_ids: Mapping[str, str] | None = None
    tags: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a shard did."""

    succeeded: int
    failed: int
    duplicate: int
    failures: Sequence[Failure]

    @property
    def reasons(self) -> dict[int, str]:
        """Why recipients were not served, by offset."""
        return {each.row_offset: each.reason.value for each in self.failures}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRunner:
    """A worker's acts in one tenant."""

    club: Club
    database: Database
    clock: Clock
    update: UpdateShard
    void: VoidShard
    choose: ChooseSegment
    compare: CompareRecipients
    preview: PreviewCampaign
    roll_back: RollBackCampaign

    async def pinned(self, number: int = 1) -> PinnedRevision:
        """A revision of the club's template."""
        [row] = await self.club.tenant.fetch(
            "SELECT revision_id FROM template_revisions WHERE template_id = $1 AND number = $2",
            uuid.UUID(self.club.template_id),
            number,
        )
        return PinnedRevision(
            template_id=TemplateId(uuid.UUID(self.club.template_id)),
            revision_id=RevisionId(row["revision_id"]),
            number=number,
        )

    async def update_action(self, number: int = 1, **values: Value) -> UpdateAction:
        """Moves passes to a revision and sets values."""
        return UpdateAction(revision=await self.pinned(number), values=values_to_json(values))

    async def notify_action(self, slot: str, message: str) -> NotifyAction:
        """Shows a message."""
        return NotifyAction(revision=await self.pinned(), slot=slot, message=message)

    async def draft(
        self,
        action: CampaignAction,
        rows: Sequence[Row] = (),
        *,
        segment: Segment | None = None,
        rollout: RolloutPlan | None = None,
    ) -> Campaign:
        """A campaign with its recipients, not begun."""
        campaign = Campaign(
            campaign_id=CampaignId(new_uuid()),
            display_name="Spring",
            definition=Definition(action=action, segment=segment, rollout=rollout or RolloutPlan()),
            state=CampaignState.DRAFT,
            state_reason="",
            priority=Priority.NORMAL,
            version=1,
            total=0,
            invalid=0,
            first_reference=0,
            void_issued=False,
            rolls_back=None,
            create_time=self.clock.now(),
            start_time=None,
            end_time=None,
        )
        stream = RecipientStream(
            stream_id=StreamId(new_uuid()),
            campaign_id=campaign.campaign_id,
            next_offset=0,
            writer_epoch=1,
            state=StreamState.OPEN,
            invalid_count=0,
        )
        columns = _columns(rows)
        async with self.database.transaction(self.club.tenant.caller) as tx:
            await campaigns.insert_campaign(tx, campaign)
            if segment is None:
                await recipient_streams.insert_stream(tx, stream, now=self.clock.now())
                for start in range(0, len(columns), 1000):
                    chunk = StoredChunk(
                        first_offset=start, recipients=columns.slice(start, start + 1000)
                    )
                    assert await recipient_streams.append_chunk(
                        tx, stream.stream_id, writer_epoch=1, chunk=chunk, failures=()
                    )
                await recipient_streams.write_stream(
                    tx, replace(stream, next_offset=len(columns), state=StreamState.FINALIZED)
                )
        return campaign

    async def begin(self, campaign: Campaign) -> Campaign:
        """The campaign as it is begun, with its shards unless they are yet to be chosen."""
        async with self.database.transaction(self.club.tenant.caller) as tx:
            locked = await campaigns.lock_campaign(tx, campaign.campaign_id)
            begun = await begin(tx, locked, now=self.clock.now())
        if campaign.definition.segment is not None or await self.shards(campaign):
            return begun
        tenant_id = self.club.tenant.caller.tenant_id
        await self.compare(tenant_id, campaign.campaign_id)
        async with self.database.transaction(self.club.tenant.caller) as tx:
            return await campaigns.get_campaign(tx, campaign.campaign_id)

    async def choose_all(self, campaign: Campaign) -> Campaign:
        """The campaign with the passes of its segment chosen and its shards planned."""
        await self.choose(self.club.tenant.caller.tenant_id, campaign.campaign_id)
        async with self.database.transaction(self.club.tenant.caller) as tx:
            return await campaigns.get_campaign(tx, campaign.campaign_id)

    async def shards(self, campaign: Campaign) -> list[Shard]:
        """The campaign's shards."""
        async with self.database.transaction(self.club.tenant.caller) as tx:
            return await shards.list_shards(tx, campaign.campaign_id)

    async def serve(
        self, campaign: Campaign, act: ShardAct | None = None, *, at_most: int | None = None
    ) -> Served:
        """What all of the campaign's shards did together after the open ones, or the first of
        them, were served, by `update` unless told."""
        serve: ShardAct = self.update if act is None else act
        open_shards = [
            each
            for each in await self.shards(campaign)
            if each.state in {ShardState.WAITING, ShardState.QUEUED}
        ]
        for shard in open_shards[:at_most]:
            await serve(ShardWork(caller=self.club.tenant.caller, campaign=campaign, shard=shard))
        return await self.served(campaign)

    async def served(self, campaign: Campaign) -> Served:
        """What the campaign's shards did."""
        [row] = await self.club.tenant.fetch(
            "SELECT sum(succeeded)::int AS succeeded, sum(failed)::int AS failed,"
            " sum(duplicate)::int AS duplicate FROM campaign_shards WHERE campaign_id = $1",
            campaign.campaign_id,
        )
        async with self.database.transaction(self.club.tenant.caller) as tx:
            streams = await recipient_streams.list_streams(tx, campaign.campaign_id)
            failures = [
                failure
                for stream in streams
                for failure in (
                    await recipient_streams.find_failures(
                        tx,
                        campaign.campaign_id,
                        stream.stream_id,
                        first_offset=0,
                        end_offset=stream.next_offset,
                    )
                ).values()
            ]
        return Served(
            succeeded=row["succeeded"],
            failed=row["failed"],
            duplicate=row["duplicate"],
            failures=failures,
        )

    async def change(self, action: CampaignAction, rows: Sequence[Row]) -> Served:
        """What a campaign with these recipients did, from its beginning to its end."""
        return await self.serve(await self.begin(await self.draft(action, rows)))

    async def take_back(self, campaign: Campaign) -> Campaign:
        """The campaign that takes another back, its passes chosen."""
        made: list[Campaign] = []

        def encode(view: CampaignView) -> bytes:
            made.append(view.campaign)
            return b""

        mutation = Mutation(
            caller=self.club.tenant.caller,
            method="RollBackCampaign",
            request_id=uuid.uuid4(),
            fingerprint=b"",
            validate_only=False,
            encode=encode,
        )
        await self.roll_back(mutation, campaign_id=str(campaign.campaign_id))
        return await self.choose_all(made[0])


@asynccontextmanager
async def open_runner(
    service: Service,
    club: Club,
    *,
    clock: Clock | None = None,
    before_writing: Callable[[], Awaitable[object]] | None = None,
    unsignable: str = "",
) -> AsyncIterator[ShardRunner]:
    """A worker's acts on the service's database. `before_writing`: happens whenever a shard is
    about to write. `unsignable`: serial number of a pass that the signer fails on."""
    clock = clock or SystemClock()
    database = service.services.database
    seen = database if before_writing is None else Interrupted(database, before_writing)
    keyring = Keyring(service.settings.master_key_bytes)
    metrics = Metrics(CollectorRegistry())
    codec = ProtoTemplateCodec()
    cache = RevisionCache(loader=RevisionReader(database=database, codec=codec))
    load_revision = LoadRevision(database=database, cache=cache)
    contents = PassContents(
        numbers=TenantNumbers(database=database),
        tokens=keyring.pass_tokens,
        seal_barcodes=SealBarcodes(
            keys=BarcodeKeys(database=database, keyring=keyring, clock=clock)
        ),
    )
    async with open_sealer(threads=2, metrics=metrics) as sealer:
        change_passes = ChangePasses(
            database=seen,
            load_revision=load_revision,
            identities=IdentityCache(
                loader=IdentityReader(database=database),
                wrapping_key=keyring.wrapping_key,
                clock=clock,
            ),
            contents=contents,
            sealer=PickySealer(sealer, unsignable) if unsignable else sealer,
            clock=clock,
            metrics=metrics,
            failpoints=Failpoints(),
        )
        yield ShardRunner(
            club=club,
            database=database,
            clock=clock,
            update=UpdateShard(
                database=database, load_revision=load_revision, change_passes=change_passes
            ),
            void=VoidShard(database=database, change_passes=change_passes),
            # A small window, so that a few passes take several pages.
            choose=ChooseSegment(database=database, codec=codec, clock=clock, window_passes=3),
            compare=CompareRecipients(database=database, clock=clock),
            preview=PreviewCampaign(
                database=database,
                load_revision=load_revision,
                contents=contents,
                codec=codec,
                clock=clock,
            ),
            roll_back=RollBackCampaign(
                mutator=Mutator(database=database, clock=clock, keyring=keyring), clock=clock
            ),
        )


def card_with_news() -> TemplateContent:
    """A small card that tells of points and news."""
    card = small_card()
    news = Slot(name="news", type=SlotType.TEXT)
    fields = tuple(
        replace(each, change_message="You have %@ points") if each.key == "points" else each
        for each in card.fields
    )
    shown = Field(
        key="news", position=FieldPosition.BACK, value="{news}", change_message="News: %@!"
    )
    return replace(card, slots=(*card.slots, news), fields=(*fields, shown))


async def issue_many(club: Club, count: int) -> list[Pass]:
    """Passes with the points 0, 1, 2, …"""
    return list(
        await asyncio.gather(
            *(club.issue(draft(f"Ada {points}", points=points)) for points in range(count))
        )
    )


def rows_of(passes: Sequence[Pass], **values: Value) -> list[Row]:
    """A recipient a pass, all with the same values."""
    return [
        Row(pass_id=each.pass_id, external_id=f"r{at}", values=values)
        for at, each in enumerate(passes)
    ]


def _columns(rows: Sequence[Row]) -> RecipientColumns:
    return RecipientColumns(
        external_ids=[each.external_id for each in rows],
        names=[each.name for each in rows],
        phones=[each.phone for each in rows],
        expire_times=[
            None if each.expire_time is None else each.expire_time.isoformat() for each in rows
        ],
        holder_ids=[
            None if each.holder_ids is None else json.dumps(dict(each.holder_ids)) for each in rows
        ],
        values=[values_to_json(each.values or {}) for each in rows],
        pass_ids=[uuid.UUID(each.pass_id).hex for each in rows],
        tags=[None if each.tags is None else json.dumps(each.tags) for each in rows],
    )
