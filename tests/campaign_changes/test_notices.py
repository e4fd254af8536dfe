"""Notices: served is who was told something, and nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from passmill.domain.templates import Slot, SlotType
from tests.support.bundles import verify
from tests.support.service import authority
from tests.support.shards import ShardRunner, card_with_news, issue_many, rows_of
from tests.support.small_card import small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_notice_is_set_in_each_pass_own_revision(runner: ShardRunner) -> None:
    """A notice sets its slot on passes of the template and leaves each in its revision; where the
    revision has no such slot, or no field that tells of it, the pass fails with the slot's name."""
    club = runner.club
    news = Slot(name="news", type=SlotType.TEXT)
    old = await club.issue()
    await club.tenant.publish(club.template_id, small_card(news))
    mute = await club.issue()
    number = await club.tenant.publish(club.template_id, card_with_news())
    new = await club.issue()
    served = await runner.change(
        await runner.notify_action("news", "Open on Sunday"), rows_of([old, mute, new])
    )
    assert (served.succeeded, served.failed) == (1, 2)
    assert served.reasons == dict.fromkeys([0, 1], "INVALID_VALUES")
    assert all('values["news"]' in each.message for each in served.failures)
    assert "revision 2, which the pass shows, has no field" in served.failures[1].message
    assert (await club.get(mute)).version == 1
    now = await club.get(new)
    assert (now.revision, now.values["news"]) == (number, value("Open on Sunday"))
    assert "Open on Sunday" in str(verify(await club.bundle(new), authority()))
    [event] = await club.tenant.fetch(
        "SELECT detail FROM outbox WHERE kind = 'campaign.shard_done'"
    )
    assert '"notify"' in event["detail"]


async def test_a_notice_that_is_no_news_is_not_served(runner: ShardRunner) -> None:
    """A message that a pass shows already, of its own or as its revision's default, no phone tells
    of: the pass fails, in the dry run too, and is not touched; another message is served."""
    club = runner.club
    card = card_with_news()
    slots = tuple(
        replace(each, default_value="Welcome") if each.name == "news" else each
        for each in card.slots
    )
    await club.tenant.publish(club.template_id, replace(card, slots=slots))
    issued = await issue_many(club, 2)
    for message, version in (("Welcome", 1), ("Regatta", 2), ("Regatta", 2), ("Welcome", 3)):
        is_news = (await club.get(issued[0])).version < version
        campaign = await runner.draft(await runner.notify_action("news", message), rows_of(issued))
        told = await runner.preview(club.tenant.caller, campaign_id=str(campaign.campaign_id))
        assert [bool(each.reason) for each in told.previews] == [not is_news] * 2
        served = await runner.serve(await runner.begin(campaign))
        assert (served.succeeded, served.failed) == ((2, 0) if is_news else (0, 2))
        assert set(served.reasons.values()) <= {"INVALID_VALUES"}
        assert {(await club.get(each)).version for each in issued} == {version}
