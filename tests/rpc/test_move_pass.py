"""UpdatePass to another revision of the template."""

import asyncio

import pytest

from passmill.domain.templates import Slot, SlotType
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.bundles import pass_json, verify
from tests.support.refusals import refused
from tests.support.service import Club, authority, basic, update_request
from tests.support.small_card import draft, small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_pass_moves_to_another_revision(rowing_club: Club) -> None:
    """A pass that moves keeps the values whose slots remain, gives up the others, and must be given
    what the new revision requires."""
    seat = Slot(name="seat", type=SlotType.TEXT, required=True)
    coach = Slot(name="coach", type=SlotType.TEXT)
    number = await rowing_club.tenant.publish(rowing_club.template_id, small_card(seat, coach))
    issued = await rowing_club.issue(draft(note="kept"), revision=1)
    first = await rowing_club.bundle(issued)
    bare = update_request(issued, "revision", wanted=Pass(revision=number))
    refusal = await refused(rowing_club.passes.UpdatePass(bare))
    assert set(refusal.fields) == {'wallet_pass.values["seat"]'}
    wanted = Pass(revision=number, values={"seat": value("12A"), "coach": value("9")})
    moved = await rowing_club.update(
        issued, "revision", "values.seat", "values.coach", wanted=wanted
    )
    assert moved.revision == number
    assert set((await rowing_club.get(issued)).values) == {"points", "note", "seat", "coach"}
    shown = verify(await rowing_club.bundle(issued), authority())
    assert "12A" in str(shown)
    await rowing_club.update(issued, "revision", wanted=Pass(revision=1))
    assert set((await rowing_club.get(issued)).values) == {"points", "note"}
    assert pass_json(await rowing_club.bundle(issued)) == pass_json(first)
    for unknown in (3, 99):
        request = update_request(issued, "revision", wanted=Pass(revision=unknown))
        refusal = await refused(rowing_club.passes.UpdatePass(request))
        assert refusal.reason == "REVISION_NOT_PUBLISHED"
    newest = await rowing_club.update(
        issued, "revision", "values.seat", wanted=Pass(values={"seat": value("1")})
    )
    assert newest.revision == number


async def test_moving_and_changing_at_once(rowing_club: Club) -> None:
    """Updates that move a pass to and fro while others change it are each made on the revision the
    pass then shows."""
    await rowing_club.tenant.publish(rowing_club.template_id, small_card())
    issued = await rowing_club.issue(revision=1)
    calls = []
    for number in range(12):
        wanted = Pass(revision=1 + number % 2, values={"points": value(number)})
        path = "revision" if number % 3 else "values.points"
        calls.append(rowing_club.update(issued, path, wanted=wanted))
    updated = await asyncio.gather(*calls)
    last = max(updated, key=lambda each: each.version)
    assert last.version == 13
    assert basic(await rowing_club.get(issued)) == last
    verify(await rowing_club.bundle(issued), authority())
