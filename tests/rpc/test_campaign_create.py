"""CreateCampaign, GetCampaign, ListCampaigns: what is pinned, what is refused, what is shown."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.domain.templates import TemplateContent
from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import (
    Campaign,
    CampaignAction,
    NotifyAction,
    RolloutPlan,
    Segment,
    UpdateAction,
    ValueCondition,
    VoidAction,
)
from passmill.v1.template_service_pb2 import ArchiveTemplateRequest
from tests.support.campaigns import ClubCampaigns, bad_recipient, recipient
from tests.support.refusals import Refusal, refused
from tests.support.service import Club, Service, meta
from tests.support.small_card import SINCE, small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")


def telling_card() -> TemplateContent:
    """The small card; what changes of its note is shown on the lock screen."""
    card = small_card()
    fields = tuple(
        replace(each, change_message="%@") if each.key == "note" else each for each in card.fields
    )
    return replace(card, fields=fields)


@pytest_asyncio.fixture(loop_scope="session")
async def campaigns(service: Service) -> ClubCampaigns:
    """The campaigns of a club of its own."""
    return ClubCampaigns(club=await service.add_club(telling_card()))


def update(club: Club, **options: Any) -> CampaignAction:
    """Change passes of the club's template."""
    return CampaignAction(update=UpdateAction(template_id=club.template_id, **options))


def notify(club: Club, slot: str, message: str = "Hello") -> CampaignAction:
    """Show a message by a slot of the club's template."""
    return CampaignAction(
        notify=NotifyAction(template_id=club.template_id, slot=slot, message=message)
    )


async def create_refused(
    campaigns: ClubCampaigns, action: CampaignAction, **options: Any
) -> Refusal:
    """How a campaign is refused; nothing of it stays."""
    count = await campaigns.club.tenant.count("campaigns")
    request = pb.CreateCampaignRequest(display_name="x", action=action, meta=meta(), **options)
    refusal = await refused(campaigns.club.campaigns.CreateCampaign(request))
    assert await campaigns.club.tenant.count("campaigns") == count
    return refusal


async def get(campaigns: ClubCampaigns, campaign: Campaign) -> Campaign:
    """The campaign as it is now."""
    request = pb.GetCampaignRequest(campaign_id=campaign.campaign_id)
    return (await campaigns.club.campaigns.GetCampaign(request)).campaign


async def test_a_campaign_is_shown_as_it_was_made(campaigns: ClubCampaigns) -> None:
    """A draft holds what it was made of, each action with its own, and shows it whole."""
    club = campaigns.club
    rollout = RolloutPlan(
        canary_ppm=10_000,
        canary_seconds=60,
        recipients_per_minute=500,
        halt_above_failed_ppm=50_000,
    )
    values = {
        "tier": value("Gold"),
        "points": value(5),
        "since": value(SINCE),
        "is_founder": value(True),
    }
    segment = Segment(
        program_id=club.program_id,
        template_id=club.template_id,
        revision=1,
        create_time_from=Timestamp(seconds=5),
        create_time_before=Timestamp(seconds=1_900_000_000),
        external_id_system="crm",
        values=[ValueCondition(slot="points", at_least=value(3), less_than=value(9))],
    )
    for action, where in (
        (campaigns.issue_action(revision=1), None),
        (update(club, revision=1, values=values), segment),
        (CampaignAction(void=VoidAction(reason="Season over")), segment),
        (notify(club, "note"), segment),
    ):
        made = await campaigns.create(
            action, segment=where, rollout=rollout, priority=Campaign.PRIORITY_HIGH
        )
        found = await get(campaigns, made)
        assert found.action == action
        assert found.HasField("segment") == (where is not None)
        assert where is None or found.segment == where
        assert found.rollout == rollout
        assert (found.state, found.priority) == (Campaign.STATE_DRAFT, Campaign.PRIORITY_HIGH)
        assert (found.display_name, found.etag) == ("Spring", "v1")
        assert not found.HasField("start_time")
        assert made.campaign_id == found.campaign_id
    plain = await campaigns.create()
    assert (plain.priority, plain.HasField("rollout")) == (Campaign.PRIORITY_NORMAL, False)


async def test_the_revision_is_pinned(campaigns: ClubCampaigns) -> None:
    """The newest revision is meant when none is named; what is published later changes nothing."""
    first = await campaigns.create()
    assert first.action.issue.revision == 1
    number = await campaigns.club.tenant.publish(campaigns.club.template_id, telling_card())
    assert (await get(campaigns, first)).action.issue.revision == 1
    second = await campaigns.create()
    assert second.action.issue.revision == number == 2
    refusal = await create_refused(campaigns, campaigns.issue_action(revision=9))
    assert refusal.reason == "REVISION_NOT_PUBLISHED"


async def test_it_is_made_once(campaigns: ClubCampaigns) -> None:
    """The same request gives the same campaign, also when its template was archived since; another
    under its id is refused; a dry run leaves nothing."""
    create = campaigns.club.campaigns.CreateCampaign
    request = pb.CreateCampaignRequest(
        display_name="Spring", action=campaigns.issue_action(), meta=meta()
    )
    trial = pb.CreateCampaignRequest(
        display_name="x", action=request.action, meta=meta(validate_only=True)
    )
    await create(trial)
    assert await campaigns.club.tenant.count("campaigns") == 0
    made = await create(request)
    await _archive(campaigns.club)
    assert await create(request) == made
    other = pb.CreateCampaignRequest(display_name="y", action=request.action, meta=request.meta)
    assert (await refused(create(other))).reason == "REQUEST_ID_REUSED"
    assert await campaigns.club.tenant.count("campaigns") == 1
    refusal = await create_refused(campaigns, campaigns.issue_action())
    assert refusal.reason == "TEMPLATE_ARCHIVED"


async def _archive(club: Club) -> None:
    request = ArchiveTemplateRequest(template_id=club.template_id, meta=meta())
    await club.tenant.member.templates.ArchiveTemplate(request)


async def test_what_cannot_be_is_refused(campaigns: ClubCampaigns) -> None:
    """An action that its template cannot do, values that do not fit, and a segment that no pass can
    meet are refused by the field that says so."""
    club = campaigns.club
    cases: list[tuple[CampaignAction, dict[str, Any], str, str]] = [
        (notify(club, "nothing"), {}, "INVALID_CAMPAIGN", "action.notify.slot"),
        (notify(club, "points"), {}, "INVALID_CAMPAIGN", "action.notify.slot"),
        (notify(club, "tier"), {}, "INVALID_CAMPAIGN", "action.notify.slot"),
        (notify(club, "note", "\x07"), {}, "INVALID_CAMPAIGN", "action.notify.message"),
        (
            update(club, values={"tier": value(5)}),
            {},
            "INVALID_VALUES",
            'action.update.values["tier"]',
        ),
        (
            update(club, values={"seat": value("5")}),
            {},
            "INVALID_VALUES",
            'action.update.values["seat"]',
        ),
        (campaigns.issue_action(), {"segment": Segment()}, "INVALID_CAMPAIGN", "segment"),
        (
            update(club),
            {"segment": Segment(values=[ValueCondition(slot="seat", at_least=value(5))])},
            "INVALID_CAMPAIGN",
            "segment.values[0].slot",
        ),
        (
            update(club),
            {"segment": Segment(values=[ValueCondition(slot="tier", at_least=value("x"))])},
            "INVALID_CAMPAIGN",
            "segment.values[0]",
        ),
        (
            update(club),
            {"rollout": RolloutPlan(canary_ppm=1_000_001)},
            "INVALID_FIELD",
            "rollout.canary_ppm",
        ),
        (CampaignAction(), {}, "INVALID_FIELD", "action.action"),
    ]
    for action, options, reason, field in cases:
        refusal = await create_refused(campaigns, action, **options)
        assert (refusal.reason, set(refusal.fields)) == (reason, {field})


async def test_a_draft_shows_what_is_loaded(campaigns: ClubCampaigns) -> None:
    """A draft's progress counts what its streams hold by now."""
    campaign = await campaigns.create()
    await campaigns.load(campaign, [recipient("1"), bad_recipient("2")])
    await campaigns.load(campaign, [recipient("3")])
    progress = (await get(campaigns, campaign)).progress
    assert (progress.total, progress.invalid, progress.succeeded) == (3, 1, 0)
    assert [(each.reason, each.count) for each in progress.failures] == [("INVALID_VALUES", 1)]


async def test_a_segment_takes_no_recipients(campaigns: ClubCampaigns) -> None:
    """A campaign that chooses its passes has no streams."""
    chosen = await campaigns.create(
        update(campaigns.club), segment=Segment(template_id=campaigns.club.template_id)
    )
    request = pb.CreateRecipientStreamRequest(campaign_id=chosen.campaign_id, meta=meta())
    refusal = await refused(campaigns.club.campaigns.CreateRecipientStream(request))
    assert refusal.reason == "INVALID_CAMPAIGN"


async def test_campaigns_are_listed_newest_first(campaigns: ClubCampaigns) -> None:
    """Page by page each campaign is listed once, the newest first, as it is read alone; a state
    narrows, and another tenant's are not there."""
    made = [await campaigns.create() for _ in range(5)]
    theirs = ClubCampaigns(club=await campaigns.club.tenant.service.add_club())
    await theirs.create()
    cancel = pb.CancelCampaignRequest(campaign_id=made[1].campaign_id, meta=meta())
    await campaigns.club.campaigns.CancelCampaign(cancel)
    wanted = [await get(campaigns, each) for each in reversed(made)]
    for page_size in (1, 2, 5, 0):
        assert await _listed(campaigns, page_size=page_size) == wanted
    drafts = await _listed(campaigns, page_size=2, state=Campaign.STATE_DRAFT)
    assert drafts == [each for each in wanted if each.state == Campaign.STATE_DRAFT]
    assert len(drafts) == 4
    assert await _listed(campaigns, page_size=2, state=Campaign.STATE_RUNNING) == []


async def _listed(campaigns: ClubCampaigns, **options: Any) -> list[Campaign]:
    request = pb.ListCampaignsRequest(**options)
    found: list[Campaign] = []
    while True:
        answer = await campaigns.club.campaigns.ListCampaigns(request)
        found += answer.campaigns
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def test_a_preview_does_nothing(campaigns: ClubCampaigns) -> None:
    """A preview of a draft counts its recipients and shows passes, and none is issued."""
    campaign = await campaigns.create()
    await campaigns.load(campaign, [recipient("1", name="Ada Lovelace"), bad_recipient("2")])
    request = pb.PreviewCampaignRequest(campaign_id=campaign.campaign_id)
    preview = await campaigns.club.campaigns.PreviewCampaign(request)
    assert (preview.recipients, preview.invalid) == (1, 1)
    [shown] = preview.previews
    assert shown.external_id == "1"
    assert "Ada Lovelace" in shown.pass_json
    assert await campaigns.club.tenant.count("passes") == 0


async def test_a_start_time_is_shown(campaigns: ClubCampaigns) -> None:
    """A campaign that starts at a time is shown as scheduled for it."""
    campaign = await campaigns.create()
    await campaigns.load(campaign, [recipient("1")])
    moment = datetime(2099, 1, 1, tzinfo=UTC)
    request = pb.StartCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
    request.start_time.FromDatetime(moment)
    started = (await campaigns.club.campaigns.StartCampaign(request)).campaign
    assert started.state == Campaign.STATE_SCHEDULED
    assert started.start_time.ToDatetime(tzinfo=UTC) == moment
    assert await get(campaigns, campaign) == started
