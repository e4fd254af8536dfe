"""The step that issues a shard, on a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.campaign_pb2 import Campaign, Recipient, RecipientResult
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.bundles import verify
from tests.support.campaign_worker import CampaignWorker
from tests.support.campaigns import bad_recipient, recipient
from tests.support.service import authority
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOSTILE = '"Ada" \\ </script> Ünal\u2028'


async def test_a_campaign_issues_a_pass_to_each_recipient(worker: CampaignWorker) -> None:
    """Every valid recipient has one pass, those refused keep their reason, the numbers add up, and
    the passes of a shard are told of by one event."""
    rows = [recipient(f"m{at}", name=f"Ada {at}", points=at) for at in range(40)]
    rows[7] = bad_recipient("m7")
    campaign = await worker.loaded(rows, streams=2)
    await worker.start(campaign)
    assert await worker.serve_due() == 2
    ended = await worker.get(campaign)
    assert ended.state == Campaign.STATE_PARTIALLY_FAILED
    progress = ended.progress
    assert (progress.total, progress.succeeded, progress.invalid, progress.failed) == (40, 39, 1, 0)
    assert (progress.shards, progress.shards_done) == (2, 2)
    assert await worker.count_passes() == 39
    assert await worker.club.tenant.count("signing_intents") == 0
    first, second = await worker.told()
    kept = {row["pass_id"] for row in await worker.club.tenant.fetch("SELECT pass_id FROM passes")}
    assert first | second == kept
    details = await worker.club.tenant.fetch(
        "SELECT detail FROM outbox WHERE kind = 'campaign.shard_done'"
    )
    assert json.loads(details[0]["detail"]) == {
        "campaign_id": campaign.campaign_id,
        "action": "issue",
    }


async def test_its_passes_are_like_any_other(worker: CampaignWorker) -> None:
    """What a campaign issued is found by its numbers, shows what its recipient's draft says, and
    its bundle verifies: it renders again to what was signed."""
    wanted = draft(HOSTILE, phone="+12065550123", crm="c-1", points=3, note="“Grüße”")
    wanted.expire_time.FromDatetime(datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC))
    campaign = await worker.loaded([Recipient(external_id="m0", draft=wanted), recipient("m1")])
    await worker.start(campaign)
    await worker.serve_due()
    first, _ = await worker.campaigns.results(campaign)
    assert first.state == RecipientResult.STATE_SUCCEEDED
    for ref in (
        PassRef(pass_id=first.pass_id),
        PassRef(serial_number=first.serial_number),
        PassRef(reference_id=first.reference_id),
    ):
        answer = await worker.club.passes.GetPass(pb.GetPassRequest(ref=ref))
        wallet_pass = answer.wallet_pass
        assert wallet_pass.pass_id == first.pass_id
        assert wallet_pass.holder == wanted.holder
        assert wallet_pass.values == wanted.values
        assert wallet_pass.expire_time == wanted.expire_time
    shown = verify(await worker.club.bundle(wallet_pass), authority())
    assert shown["serialNumber"] == first.serial_number
    assert HOSTILE in json.dumps(shown, ensure_ascii=False).replace('\\"', '"').replace(
        "\\\\", "\\"
    )
    assert shown["expirationDate"].startswith("2031-05-06T07:08:09")


async def test_serving_twice_makes_nothing_twice(worker: CampaignWorker) -> None:
    """A shard served again, after the first time and several times at once, writes once."""
    campaign = await worker.loaded(30, streams=2)
    await worker.start(campaign)
    await asyncio.gather(*(worker.serve_shard(campaign, 0) for _ in range(4)))
    await worker.serve_shard(campaign, 0)
    assert await worker.count_passes() == 15
    assert len(await worker.told()) == 1
    await asyncio.gather(*(worker.serve_shard(campaign, number) for number in (0, 1, 1, 0)))
    ended = await worker.get(campaign)
    assert ended.state == Campaign.STATE_SUCCEEDED
    assert (ended.progress.succeeded, await worker.count_passes()) == (30, 30)
    assert len(await worker.told()) == 2


async def test_a_worker_that_died_behind_its_commit(worker: CampaignWorker) -> None:
    """A shard that is done, but of which nobody told its campaign, is told of when its job is
    served again."""
    campaign = await worker.loaded(3)
    await worker.start(campaign)
    await worker.serve_due()
    await worker.club.tenant.fetch("UPDATE campaigns SET state = 3, end_time = NULL")
    await worker.serve_shard(campaign, 0)
    assert (await worker.get(campaign)).state == Campaign.STATE_SUCCEEDED
    assert await worker.count_passes() == 3


async def test_duplicates_within_a_shard(worker: CampaignWorker) -> None:
    """Of several recipients with one id the first is issued to, the others are duplicates, and the
    campaign has served all."""
    rows = [
        recipient("m0", name="First"),
        recipient("m1"),
        recipient("m0", name="Second"),
        recipient("m0", name="Third"),
    ]
    campaign = await worker.loaded(rows)
    await worker.start(campaign)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert ended.state == Campaign.STATE_SUCCEEDED
    assert (ended.progress.succeeded, ended.progress.duplicate) == (2, 2)
    results = await worker.campaigns.results(campaign)
    assert [each.state for each in results] == [
        RecipientResult.STATE_SUCCEEDED,
        RecipientResult.STATE_SUCCEEDED,
        RecipientResult.STATE_DUPLICATE,
        RecipientResult.STATE_DUPLICATE,
    ]
    assert {each.reason for each in results[2:]} == {"DUPLICATE_RECIPIENT"}
    names = await worker.club.tenant.fetch("SELECT holder_name FROM passes")
    assert sorted(row["holder_name"] for row in names) == ["Ada", "First"]


async def test_duplicates_between_shards(worker: CampaignWorker) -> None:
    """Two shards with recipients in common, served at once: each recipient has one pass, each other
    row is a duplicate, and no external id or event is there twice."""
    ids = [f"m{at}" for at in range(60)]
    rows = [recipient(each, crm=each) for each in (*ids, *reversed(ids))]
    campaign = await worker.loaded(rows, streams=2)
    await worker.start(campaign)
    await asyncio.gather(*(worker.serve_shard(campaign, number) for number in (0, 1)))
    ended = await worker.get(campaign)
    assert ended.state == Campaign.STATE_SUCCEEDED
    assert (ended.progress.succeeded, ended.progress.duplicate) == (60, 60)
    assert await worker.count_passes() == 60
    assert await worker.club.tenant.count("pass_external_ids") == 60
    assert sum(len(each) for each in await worker.told()) == 60


async def test_a_poison_row_is_found_by_halving(worker: CampaignWorker) -> None:
    """Rows that cannot be rendered fail alone, wherever they lie, with no detail told; put right,
    RetryRecipients issues to them and to nobody else."""
    campaign = await worker.loaded(50)
    poison = {0: '{"points":"x"}', 23: "not JSON", 24: '{"points":1e400}', 49: "{}"}
    before = await replace_values(worker, poison)
    await worker.start(campaign)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert ended.state == Campaign.STATE_PARTIALLY_FAILED
    assert (ended.progress.succeeded, ended.progress.failed) == (46, 4)
    assert [(each.reason, each.count) for each in ended.progress.failures] == [("INTERNAL", 4)]
    failed = await worker.campaigns.results(campaign, failed_only=True)
    assert [each.offset for each in failed] == sorted(poison)
    assert {each.state for each in failed} == {RecipientResult.STATE_FAILED}
    assert not any("points" in each.message for each in failed)

    assert (await worker.retry(campaign, "NO_SIGNING_IDENTITY")).count == 0
    await replace_values(worker, {**before, 49: "{}"})
    again = await worker.retry(campaign, "INTERNAL")
    assert (again.count, again.campaign.state) == (4, Campaign.STATE_RUNNING)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert ended.state == Campaign.STATE_PARTIALLY_FAILED
    assert (ended.progress.succeeded, ended.progress.failed) == (49, 1)
    assert await worker.count_passes() == 49
    await replace_values(worker, before)
    assert (await worker.retry(campaign)).count == 1
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 50)
    assert not ended.progress.failures
    assert (await worker.retry(campaign)).count == 0
    results = await worker.campaigns.results(campaign)
    assert {each.state for each in results} == {RecipientResult.STATE_SUCCEEDED}
    assert len({each.reference_id for each in results}) == 50


async def replace_values(worker: CampaignWorker, values: Mapping[int, str]) -> dict[int, str]:
    """Writes other values into the only chunk there is, as no call could; gives those before."""
    [row] = await worker.club.tenant.fetch("DELETE FROM recipient_chunks RETURNING *")
    content = json.loads(row["content"])
    before = {at: content["values"][at] for at in values}
    for at, text in values.items():
        content["values"][at] = text
    await worker.club.tenant.fetch(
        "INSERT INTO recipient_chunks VALUES ($1, $2, $3, $4, $5)",
        row["tenant_id"],
        row["stream_id"],
        row["first_offset"],
        row["row_count"],
        json.dumps(content),
    )
    return before
