"""PreviewCampaign: what a campaign would do, told without doing it."""

import json
from dataclasses import replace

import pytest

from passmill.domain.campaigns import IssueAction, Segment, ValueCondition, VoidAction
from passmill.usecases.preview_campaign import CampaignPreview, FieldChange
from tests.support.bundles import pass_json
from tests.support.shards import Row, ShardRunner, card_with_news, issue_many, rows_of
from tests.support.small_card import draft
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def preview(
    runner: ShardRunner,
    action: object,
    rows: list[Row] | None = None,
    segment: Segment | None = None,
) -> CampaignPreview:
    """Of a draft."""
    campaign = await runner.draft(action, rows or (), segment=segment)  # type: ignore[arg-type]
    return await runner.preview(runner.club.tenant.caller, campaign_id=str(campaign.campaign_id))


async def test_an_update_tells_what_changes(runner: ShardRunner) -> None:
    """An update's preview counts the recipients, the fields that change with their lock-screen
    messages and the passes that stay as they are, and shows ten; nothing is done."""
    club = runner.club
    number = await club.tenant.publish(club.template_id, card_with_news())
    issued = await issue_many(club, 12)
    bundles = [await club.bundle(each) for each in issued]
    told = await preview(runner, await runner.update_action(number, points=5), rows_of(issued))
    assert (told.recipients, told.invalid, told.unchanged) == (12, 0, 1)
    assert told.changes == [
        FieldChange(key="points", count=9, lock_screen_message="You have 5 points")
    ]
    assert [each.external_id for each in told.previews] == [f"r{at}" for at in range(10)]
    shown = [json.loads(each.pass_json) for each in told.previews]
    assert {each["generic"]["headerFields"][0]["value"] for each in shown} == {5}
    assert {each["authenticationToken"] for each in shown} == {""}
    assert [each["serialNumber"] for each in shown] == [e.serial_number for e in issued[:10]]
    assert [await club.bundle(each) for each in issued] == bundles
    # What was promised is what comes.
    await runner.change(await runner.update_action(number, points=5), rows_of(issued))
    for each, promised in zip(issued, shown, strict=False):
        got = pass_json(await club.bundle(each))
        assert got | {"authenticationToken": ""} == promised


async def test_a_roll_out_tells_what_changes(runner: ShardRunner) -> None:
    """Moving passes to a revision tells of fields that come, go and differ; a message shows where
    a value is new, not where only the label is."""
    club = runner.club
    issued = await club.issue(draft(note="bye", points=3))
    card = card_with_news()
    fields = tuple(
        replace(each, label="Club points") if each.key == "points" else each
        for each in card.fields
        if each.key != "note"
    )
    slots = tuple(each for each in card.slots if each.name != "note")
    number = await club.tenant.publish(club.template_id, replace(card, slots=slots, fields=fields))
    told = await preview(runner, await runner.update_action(number, news="Hi"), rows_of([issued]))
    assert {each.key: each.lock_screen_message for each in told.changes} == {
        "points": "",
        "news": "News: Hi!",
        "note": "",
    }
    notice = await runner.notify_action("news", "Hi")
    refused = await preview(runner, notice, rows_of([issued]))
    assert refused.previews[0].reason.startswith("INVALID_VALUES: ")
    assert (refused.previews[0].pass_json, refused.changes) == (b"", [])


async def test_why_a_pass_would_not_change(runner: ShardRunner) -> None:
    """A pass that would be refused is shown with its reason; one that is voided already by a
    campaign that voids is shown as it is."""
    club = runner.club
    good, voided = await issue_many(club, 2)
    await void(club, voided)
    told = await preview(runner, await runner.update_action(tier="Gold"), rows_of([good, voided]))
    assert [each.reason.partition(":")[0] for each in told.previews] == ["", "PASS_VOIDED"]
    assert [each.count for each in told.changes] == [1]
    told = await preview(runner, VoidAction(reason=""), rows_of([good, voided]))
    assert all(json.loads(each.pass_json)["voided"] for each in told.previews)
    assert (told.changes, told.unchanged) == ([], 0)
    assert (await club.get(good)).version == 1


async def test_an_issue_shows_made_up_numbers(runner: ShardRunner) -> None:
    """What would be issued is shown with its recipient's values, under numbers that belong to no
    pass; nothing is issued."""
    rows = [
        Row(pass_id="0" * 32, external_id=f"r{at}", values={"points": at}, name=f"Ada {at}")
        for at in range(3)
    ]
    told = await preview(runner, IssueAction(revision=await runner.pinned()), rows)
    assert told.recipients == 3
    shown = [json.loads(each.pass_json)["generic"] for each in told.previews]
    assert [each["headerFields"][0]["value"] for each in shown] == [0, 1, 2]
    assert [each["primaryFields"][0]["value"] for each in shown] == ["Ada 0", "Ada 1", "Ada 2"]
    assert {each.pass_id for each in told.previews} == {None}
    assert await runner.club.tenant.count("passes") == 0


async def test_a_segment_is_counted_now(runner: ShardRunner) -> None:
    """Of a segment the preview counts the passes it would choose at this moment, and once it is
    chosen those it chose; a roll-back tells what would return."""
    issued = await issue_many(runner.club, 15)
    segment = Segment(values=(ValueCondition(slot="points", at_least="3"),))
    action = await runner.update_action(tier="Gold")
    campaign = await runner.draft(action, segment=segment)
    wanted = str(campaign.campaign_id)
    told = await runner.preview(runner.club.tenant.caller, campaign_id=wanted)
    assert (told.recipients, len(told.previews)) == (12, 10)
    assert [each.pass_id for each in told.previews] == sorted(
        each.pass_id for each in told.previews if each.pass_id
    )
    chosen = await runner.choose_all(await runner.begin(campaign))
    await runner.serve(chosen)
    told = await runner.preview(runner.club.tenant.caller, campaign_id=wanted)
    assert (told.recipients, told.unchanged, told.changes) == (12, 10, [])
    back = await runner.take_back(chosen)
    told = await runner.preview(runner.club.tenant.caller, campaign_id=str(back.campaign_id))
    assert (told.recipients, [each.key for each in told.changes]) == (12, ["tier"])
    assert len(issued) == 15
