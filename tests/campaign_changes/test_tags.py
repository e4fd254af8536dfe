"""Segments by tag and by when a pass was last seen; tags that campaigns give and take back."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.campaign_definitions import definition_from_json, definition_to_json
from passmill.domain.campaigns import Definition, LastSeen, Segment, VoidAction
from passmill.v1.wallet_pass_pb2 import Pass, PassDraft
from tests.support.service import Club
from tests.support.shards import Row, ShardRunner
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))


def tagged(*tags: str) -> PassDraft:
    """A draft that fits the card."""
    made = draft()
    made.tags.extend(tags)
    return made


async def choose(runner: ShardRunner, segment: Segment) -> set[str]:
    """The ids of the passes that a campaign with this segment chooses."""
    campaign = await runner.begin(await runner.draft(VoidAction(reason=""), segment=segment))
    await runner.choose_all(campaign)
    rows = await runner.club.tenant.fetch(
        "SELECT json_array_elements_text((c.content::json)->'pass_ids') AS pass_id"
        " FROM recipient_chunks c JOIN recipient_streams s USING (tenant_id, stream_id)"
        " WHERE s.campaign_id = $1",
        campaign.campaign_id,
    )
    found = [str(uuid.UUID(row["pass_id"])) for row in rows]
    assert len(set(found)) == len(found)
    return set(found)


async def add_device(club: Club, seen: datetime, held: Sequence[Pass], *, gone: bool) -> None:
    """A device that was last heard of then and has, or had, these passes."""
    number = uuid.uuid4().int >> 66
    await club.tenant.fetch(
        "INSERT INTO devices (tenant_id, device_number, pass_type_identifier,"
        " device_library_identifier, push_token, wallet, system_version, token_time, create_time,"
        " last_seen_time, listed_tag) VALUES ($1, $2, 'pass.x', $3, '', 1, '', $4, $4, $4, 0)",
        club.tenant.caller.tenant_id,
        number,
        str(number),
        seen,
    )
    for each in held:
        await club.tenant.fetch(
            "INSERT INTO registrations (tenant_id, device_number, pass_id, bucket, tag,"
            " template_id, create_time, remove_time) VALUES ($1, $2, $3, 0, 0, $4, $5, $6)",
            club.tenant.caller.tenant_id,
            number,
            uuid.UUID(each.pass_id),
            uuid.UUID(club.template_id),
            seen,
            seen if gone else None,
        )


async def test_one_of_the_tags_is_enough(runner: ShardRunner) -> None:
    """A segment with tags chooses exactly the passes that have one of them, each once; with other
    parts it is narrowed further."""
    sets = [tags for size in range(4) for tags in combinations(("a", "b", "c"), size)]
    issued = {tags: (await runner.club.issue(tagged(*tags))).pass_id for tags in sets}
    for wanted in sets[1:]:
        assert await choose(runner, Segment(tags=wanted)) == {
            pass_id for tags, pass_id in issued.items() if set(tags) & set(wanted)
        }
    assert await choose(runner, Segment(tags=("d",))) == set()
    assert await choose(runner, Segment(tags=("a",), external_id_system="crm")) == set()
    assert await choose(runner, Segment()) == set(issued.values())


async def test_last_seen_is_the_last_of_all_devices_that_have_it(runner: ShardRunner) -> None:
    """The latest time of the devices that still have a pass counts: since includes its moment,
    before does not; a pass that nobody has, or has any more, was never seen."""
    club = runner.club
    old, new, both, none, gone, gone_and_old = [await club.issue() for _ in range(6)]
    await add_device(club, NOON - HOUR, [old, both, gone_and_old], gone=False)
    await add_device(club, NOON, [new, both], gone=False)
    await add_device(club, NOON, [gone, gone_and_old], gone=True)
    never = {none.pass_id, gone.pass_id}
    early, late = {old.pass_id, gone_and_old.pass_id}, {new.pass_id, both.pass_id}
    for last_seen, wanted in (
        (LastSeen(), early | late),
        (LastSeen(never=True), never),
        (LastSeen(since=NOON), late),
        (LastSeen(since=NOON + HOUR), set()),
        (LastSeen(before=NOON), early),
        (LastSeen(before=NOON + HOUR), early | late),
        (LastSeen(before=NOON, never=True), early | never),
        (LastSeen(since=NOON - HOUR, before=NOON), early),
        (LastSeen(since=NOON, never=True), late | never),
    ):
        assert await choose(runner, Segment(last_seen=last_seen)) == wanted, last_seen


async def test_an_update_sets_tags_and_is_taken_back(runner: ShardRunner) -> None:
    """Tags that a recipient of an update brings replace those of its pass, without a new
    signature; a recipient without tags changes none; a roll-back gives the old ones back."""
    club = runner.club
    first, second, third = [await club.issue(tagged("old", "x")) for _ in range(3)]
    rows = [
        Row(pass_id=first.pass_id, external_id="1", tags=["new"]),
        Row(pass_id=second.pass_id, external_id="2", values={"points": 8}),
        Row(pass_id=third.pass_id, external_id="3", tags=["old", "x"]),
    ]
    before = await club.bundle(first)
    campaign = await runner.begin(await runner.draft(await runner.update_action(), rows))
    assert (await runner.serve(campaign)).succeeded == 3
    tags = [list((await club.get(each)).tags) for each in (first, second, third)]
    assert tags == [["new"], ["old", "x"], ["old", "x"]]
    assert await club.bundle(first) == before
    back = await runner.take_back(campaign)
    assert (await runner.serve(back)).failed == 0
    assert list((await club.get(first)).tags) == ["old", "x"]


@given(since=MOMENTS, before=MOMENTS, never=st.booleans(), tags=st.lists(st.from_regex("[a-z]+")))
async def test_a_segment_is_read_as_it_was_written(
    since: datetime | None, before: datetime | None, never: bool, tags: list[str]
) -> None:
    """Whatever its tags and bounds, a definition is read from what was stored of it."""
    last_seen = LastSeen(since=since, before=before, never=never)
    segment = Segment(tags=tuple(tags), tiers=tuple(tags), last_seen=last_seen)
    definition = Definition(action=VoidAction(reason=""), segment=segment)
    assert definition_from_json(definition_to_json(definition)) == definition


async def test_what_earlier_releases_stored_is_read() -> None:
    """A definition without the parts that came later has none of them."""
    stored = definition_to_json(Definition(action=VoidAction(reason=""), segment=Segment()))
    old = stored.replace('"tags":[],"tiers":[],"last_seen":null,', "")
    assert old != stored
    assert definition_from_json(old).segment == Segment()
