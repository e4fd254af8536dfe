"""Shards that void: recipients' passes, and what a cancelled campaign issued."""

import uuid

import pytest

from passmill.domain.campaigns import IssueAction, VoidAction
from passmill.domain.ids import campaign_pass_id
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.bundles import verify
from tests.support.service import authority
from tests.support.shards import Row, ShardRunner, issue_many, rows_of
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_passes_are_voided_with_the_reason(runner: ShardRunner) -> None:
    """A void campaign marks its passes, signs them anew and keeps its reason; one that was voided
    before counts as served and keeps its own reason and version."""
    club = runner.club
    first, before = await issue_many(club, 2)
    await void(club, before, reason="lost")
    rows = [*rows_of([first, before]), Row(pass_id=str(uuid.uuid4()), external_id="x")]
    campaign = await runner.begin(await runner.draft(VoidAction(reason="season over"), rows))
    served = await runner.serve(campaign, runner.void)
    assert (served.succeeded, served.failed, served.reasons) == (2, 1, {2: "NOT_FOUND"})
    now, then = await club.get(first), await club.get(before)
    assert (now.state, now.void_reason, now.version) == (Pass.STATE_VOIDED, "season over", 2)
    assert (then.state, then.void_reason, then.version) == (Pass.STATE_VOIDED, "lost", 2)
    assert verify(await club.bundle(first), authority())["voided"] is True
    assert await club.tenant.count("signing_intents") == 0


async def test_voiding_waits_for_nobody_who_can_sign(runner: ShardRunner) -> None:
    """Without an identity passes are voided all the same, left to be signed, and signed when
    somebody asks for them and there is an identity again."""
    club = runner.club
    issued = await issue_many(club, 2)
    await club.tenant.fetch("UPDATE signing_identities SET is_active = false")
    campaign = await runner.begin(await runner.draft(VoidAction(reason=""), rows_of(issued)))
    assert (await runner.serve(campaign, runner.void)).succeeded == 2
    assert await club.tenant.count("signing_intents") == 2
    assert {(await club.get(each)).state for each in issued} == {Pass.STATE_VOIDED}
    await club.tenant.fetch("UPDATE signing_identities SET is_active = true")
    for each in issued:
        assert verify(await club.bundle(each), authority())["voided"] is True
    assert await club.tenant.count("signing_intents") == 0


async def test_what_a_cancelled_campaign_issued_is_voided(runner: ShardRunner) -> None:
    """Of a cancelled campaign's recipients those are voided that have a pass; who has none, or one
    that was voided before, is passed over and counts as nothing."""
    club = runner.club
    issued = await issue_many(club, 3)
    action = IssueAction(revision=await runner.pinned())
    rows = [Row(pass_id=issued[0].pass_id, external_id=f"r{at}") for at in range(4)]
    campaign = await runner.begin(await runner.draft(action, rows))
    mine = [campaign_pass_id(campaign.campaign_id, f"r{at}") for at in range(2)]
    for each, pass_id in zip(issued, mine, strict=False):
        await club.tenant.fetch(
            "UPDATE passes SET pass_id = $2 WHERE pass_id = $1", uuid.UUID(each.pass_id), pass_id
        )
    await void(club, Pass(pass_id=str(mine[1])), reason="before")
    await club.tenant.fetch(
        "UPDATE campaign_shards SET kind = 3 WHERE campaign_id = $1", campaign.campaign_id
    )
    served = await runner.serve(campaign, runner.void)
    assert (served.succeeded, served.failed, served.duplicate) == (1, 0, 0)
    states = await club.tenant.fetch("SELECT pass_id, state, void_reason FROM passes")
    voided = {row["pass_id"]: row["void_reason"] for row in states if row["state"] == 2}
    assert voided == {
        mine[0]: "The campaign that issued it was cancelled.",
        mine[1]: "before",
    }
