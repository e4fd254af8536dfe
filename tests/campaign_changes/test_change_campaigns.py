"""Campaigns that change passes, from the call that makes them to their end, served by a worker."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import (
    Campaign,
    CampaignAction,
    NotifyAction,
    Recipient,
    RecipientResult,
    RolloutPlan,
    Segment,
    UpdateAction,
    ValueCondition,
    VoidAction,
)
from passmill.v1.wallet_pass_pb2 import Pass, PassDraft, PassRef
from tests.support.bundles import verify
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.campaigns import named_recipient
from tests.support.refusals import refused
from tests.support.service import Club, Service, authority, by_id, meta
from tests.support.shards import card_with_news, issue_many
from tests.support.small_card import value
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service, rowing_club: Club) -> AsyncIterator[CampaignWorker]:
    """A worker for the club."""
    async with open_campaign_worker(service, rowing_club) as opened:
        yield opened


async def run(worker: CampaignWorker, campaign: Campaign) -> Campaign:
    """The campaign when nothing more is due."""
    await worker.start(campaign)
    await worker.serve_due()
    return await worker.get(campaign)


async def test_a_template_roll_out(worker: CampaignWorker) -> None:
    """A new revision goes to the holders a segment chooses, a canary first and the rest when it is
    resumed; one call takes all of it back."""
    club = worker.club
    issued = await issue_many(club, 8)
    number = await club.tenant.publish(club.template_id, card_with_news())
    update = UpdateAction(template_id=club.template_id, values={"news": value("New card")})
    campaign = await worker.campaigns.create(
        CampaignAction(update=update),
        segment=Segment(values=[ValueCondition(slot="points", at_least=value(2))]),
        rollout=RolloutPlan(canary_ppm=300_000),
    )
    told = await worker.stub.PreviewCampaign(
        pb.PreviewCampaignRequest(campaign_id=campaign.campaign_id)
    )
    assert (told.recipients, told.unchanged, len(told.previews)) == (6, 0, 6)
    messages = {each.key: each.lock_screen_message for each in told.changes}
    assert messages == {"points": "", "news": "News: New card!"}
    paused = await run(worker, campaign)
    assert (paused.state, paused.state_reason) == (Campaign.STATE_PAUSED, "canary")
    assert (paused.progress.total, paused.progress.succeeded) == (6, 1)
    await worker.resume(campaign)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 6)
    revisions = [(await club.get(each)).revision for each in issued]
    assert revisions == [1, 1, *[number] * 6]
    await void(club, issued[7])
    request = pb.RollBackCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
    back = (await worker.stub.RollBackCampaign(request)).campaign
    again = (await worker.stub.RollBackCampaign(request)).campaign
    assert back.rolls_back_campaign_id == campaign.campaign_id
    assert again.campaign_id == back.campaign_id
    await worker.serve_due()
    ended = await worker.get(back)
    assert ended.state == Campaign.STATE_PARTIALLY_FAILED
    assert (ended.progress.succeeded, ended.progress.failed) == (5, 1)
    [failed] = await worker.campaigns.results(back, failed_only=True)
    assert (failed.reason, failed.state) == ("ETAG_MISMATCH", RecipientResult.STATE_FAILED)
    revisions = [(await club.get(each)).revision for each in issued]
    assert revisions == [1] * 7 + [number]
    for each in issued:
        verify(await club.bundle(each), authority())


async def test_loaded_recipients_are_told_each(worker: CampaignWorker) -> None:
    """Recipients that name their passes by any reference are each told what became of them; what
    failed for a reason that has gone is served by a retry."""
    club = worker.club
    first, second, third = await issue_many(club, 3)
    await void(club, third)
    recipients = [
        Recipient(
            external_id="a",
            ref=PassRef(serial_number=first.serial_number),
            draft=PassDraft(values={"tier": value("Gold")}),
        ),
        Recipient(external_id="b", ref=PassRef(reference_id=second.reference_id)),
        Recipient(external_id="c", ref=by_id(third)),
        Recipient(external_id="a", ref=by_id(second)),
    ]
    update = UpdateAction(template_id=club.template_id, values={"note": value("Hi")})
    campaign = await worker.campaigns.create(CampaignAction(update=update))
    await worker.campaigns.load(campaign, recipients)
    ended = await run(worker, campaign)
    assert ended.state == Campaign.STATE_PARTIALLY_FAILED
    states = [(e.external_id, e.state, e.reason) for e in await worker.campaigns.results(campaign)]
    assert states == [
        ("a", RecipientResult.STATE_SUCCEEDED, ""),
        ("b", RecipientResult.STATE_SUCCEEDED, ""),
        ("c", RecipientResult.STATE_FAILED, "PASS_VOIDED"),
        ("a", RecipientResult.STATE_DUPLICATE, "DUPLICATE_RECIPIENT"),
    ]
    assert dict((await club.get(first)).values)["tier"] == value("Gold")
    await club.tenant.fetch("UPDATE passes SET state = 1 WHERE state = 2")
    assert (await worker.retry(campaign, "PASS_VOIDED")).count == 1
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 3)
    assert (await club.get(third)).values["note"] == value("Hi")


async def test_failures_of_a_segment_name_their_passes(worker: CampaignWorker) -> None:
    """Who was chosen by a segment and not served is listed with the pass and its numbers, whether
    all results are read or only the failed ones, in pages of any size; so are those of the
    campaign's roll-back."""
    club = worker.club
    issued = await issue_many(club, 5)
    update = UpdateAction(template_id=club.template_id, values={"note": value("Hi")})
    campaign = await worker.campaigns.create(CampaignAction(update=update), segment=Segment())
    await worker.start(campaign)
    [choosing] = await worker.jobs()
    await worker.serve(choosing)
    for each in issued[1:4]:
        await void(club, each)
    await worker.serve_due()
    request = pb.RollBackCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
    ended = await worker.get(campaign)
    assert (ended.progress.succeeded, ended.progress.failed) == (2, 3)
    known = {each.pass_id: (each.serial_number, each.reference_id) for each in issued}
    listed = await worker.campaigns.results(campaign)
    assert {e.pass_id: (e.serial_number, e.reference_id) for e in listed} == known
    failed = [each for each in listed if each.state == RecipientResult.STATE_FAILED]
    assert {each.pass_id for each in failed} == {each.pass_id for each in issued[1:4]}
    for page_size in (1, 500):
        found = await worker.campaigns.results(campaign, failed_only=True, page_size=page_size)
        assert found == failed
    await void(club, issued[0])
    back = (await worker.stub.RollBackCampaign(request)).campaign
    await worker.serve_due()
    [kept] = await worker.campaigns.results(back, failed_only=True)
    assert (kept.pass_id, kept.reason) == (issued[0].pass_id, "ETAG_MISMATCH")


async def test_what_was_rolled_back_is_not_retried(worker: CampaignWorker) -> None:
    """The failed recipients of a campaign that was rolled back are not tried again, as no roll-back
    would know of them; their passes stay as they are."""
    club = worker.club
    first, second = await issue_many(club, 2)
    await void(club, second)
    update = UpdateAction(template_id=club.template_id, values={"note": value("Hi")})
    campaign = await worker.campaigns.create(CampaignAction(update=update))
    rows = [named_recipient("a", first.pass_id), named_recipient("b", second.pass_id)]
    await worker.campaigns.load(campaign, rows)
    assert (await run(worker, campaign)).progress.failed == 1
    request = pb.RollBackCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
    back = (await worker.stub.RollBackCampaign(request)).campaign
    await worker.serve_due()
    assert (await worker.get(back)).state == Campaign.STATE_SUCCEEDED
    again = pb.RetryRecipientsRequest(campaign_id=campaign.campaign_id, meta=meta())
    refusal = await refused(worker.stub.RetryRecipients(again))
    assert refusal.reason == "CAMPAIGN_STATE"
    assert "rolled back" in refusal.message
    assert (await worker.get(campaign)).state == Campaign.STATE_PARTIALLY_FAILED
    assert "note" not in (await club.get(first)).values


async def test_a_notice_and_a_void(worker: CampaignWorker) -> None:
    """A notice puts its message on each pass, a void campaign takes the passes of its segment out
    of use with its reason."""
    club = worker.club
    await club.tenant.publish(club.template_id, card_with_news())
    issued = await issue_many(club, 4)
    notify = NotifyAction(template_id=club.template_id, slot="news", message="Regatta on Sunday")
    notice = await worker.campaigns.create(CampaignAction(notify=notify))
    await worker.campaigns.load(
        notice, [named_recipient(f"m{at}", each.pass_id) for at, each in enumerate(issued)]
    )
    assert (await run(worker, notice)).state == Campaign.STATE_SUCCEEDED
    assert "Regatta on Sunday" in str(verify(await club.bundle(issued[0]), authority()))
    voiding = await worker.campaigns.create(
        CampaignAction(void=VoidAction(reason="season over")),
        segment=Segment(values=[ValueCondition(slot="points", less_than=value(3))]),
    )
    ended = await run(worker, voiding)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 3)
    found = [await club.get(each) for each in issued]
    assert [each.void_reason for each in found] == ["season over"] * 3 + [""]


async def test_what_a_cancelled_campaign_issued_is_voided(worker: CampaignWorker) -> None:
    """Cancelled with the wish to void, a campaign's issued passes are voided and counted; the rest
    of its recipients is skipped."""
    campaign = await worker.loaded(10, rollout=RolloutPlan(canary_ppm=400_000))
    await run(worker, campaign)
    assert (await worker.get(campaign)).progress.succeeded == 4
    await worker.cancel(campaign, void_issued=True)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert ended.state == Campaign.STATE_CANCELLED
    assert (ended.progress.voided, ended.progress.skipped) == (4, 6)
    rows = await worker.club.tenant.fetch("SELECT pass_id::text, state FROM passes")
    assert [row["state"] for row in rows] == [2] * 4
    for row in rows:
        assert verify(await worker.club.bundle(Pass(pass_id=row["pass_id"])), authority())["voided"]


async def test_a_campaign_without_passes_ends(worker: CampaignWorker) -> None:
    """A segment that chooses nobody makes a campaign that ends at once, and so does its
    roll-back."""
    update = UpdateAction(template_id=worker.club.template_id)
    campaign = await worker.campaigns.create(CampaignAction(update=update), segment=Segment())
    ended = await run(worker, campaign)
    assert (ended.state, ended.progress.total) == (Campaign.STATE_SUCCEEDED, 0)
    request = pb.RollBackCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
    back = (await worker.stub.RollBackCampaign(request)).campaign
    await worker.serve_due()
    assert (await worker.get(back)).state == Campaign.STATE_SUCCEEDED


async def test_segments_that_choose_nothing_sensible_are_refused(worker: CampaignWorker) -> None:
    """A condition on a slot that is not there, or of another type, is refused when the campaign is
    made, by its place."""
    update = UpdateAction(template_id=worker.club.template_id)
    for condition in (
        ValueCondition(slot="pionts", at_least=value(1)),
        ValueCondition(slot="tier", at_least=value("a")),
        ValueCondition(slot="points", any_of=[value("a")]),
    ):
        refusal = await refused(
            worker.stub.CreateCampaign(
                pb.CreateCampaignRequest(
                    display_name="x",
                    action=CampaignAction(update=update),
                    segment=Segment(values=[condition]),
                    meta=meta(),
                )
            )
        )
        assert refusal.reason == "INVALID_CAMPAIGN"
        assert next(iter(refusal.fields)).startswith("segment.values[0]")
