"""VoidPass and ReinstatePass: stopped and usable again, and never lost."""

import uuid

import pytest

from passmill.v1 import template_service_pb2
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.bundles import pass_json, verify
from tests.support.refusals import refused
from tests.support.service import Club, authority, basic, meta
from tests.support.voiding import reinstate, reinstate_request, void, void_request

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_void_and_reinstate(rowing_club: Club) -> None:
    """A voided pass says so in state and bundle, with its reason, and can be reinstated; twice is
    refused either way."""
    issued = await rowing_club.issue()
    active = await rowing_club.bundle(issued)
    twice = rowing_club.passes.ReinstatePass(reinstate_request(issued))
    assert (await refused(twice)).reason == "PASS_NOT_VOIDED"
    voided = await void(rowing_club, issued, reason="Lost \U0001f622")
    assert (voided.state, voided.void_reason) == (Pass.STATE_VOIDED, "")
    assert (await rowing_club.get(issued)).void_reason == "Lost \U0001f622"
    shown = verify(await rowing_club.bundle(issued), authority())
    assert shown["voided"] is True
    assert "Lost" not in str(shown)
    twice_void = rowing_club.passes.VoidPass(void_request(issued))
    assert (await refused(twice_void)).reason == "PASS_VOIDED"
    assert basic(await rowing_club.get(issued)) == voided
    reinstated = await reinstate(rowing_club, issued)
    assert (reinstated.state, reinstated.void_reason) == (Pass.STATE_ACTIVE, "")
    again = await rowing_club.bundle(issued)
    assert pass_json(again) == pass_json(active)
    kinds = await rowing_club.tenant.fetch("SELECT kind FROM outbox ORDER BY create_time")
    wanted = {"pass.issued", "pass.voided", "pass.reinstated"}
    assert wanted <= {row["kind"] for row in kinds}


async def test_a_voided_pass_can_still_be_corrected(rowing_club: Club) -> None:
    """An update of a voided pass is made, and it stays voided."""
    issued = await rowing_club.issue()
    await void(rowing_club, issued, reason="Lost")
    wanted = Pass(holder=Holder(name="Grace"))
    updated = await rowing_club.update(issued, "holder.name", wanted=wanted)
    assert updated.state == Pass.STATE_VOIDED
    assert (await rowing_club.get(issued)).void_reason == "Lost"
    assert verify(await rowing_club.bundle(issued), authority())["voided"] is True


async def test_an_update_of_an_archived_templates_pass(rowing_club: Club) -> None:
    """Passes of an archived template live on: they are changed, voided and fetched as before."""
    issued = await rowing_club.issue()
    await rowing_club.tenant.member.templates.ArchiveTemplate(
        template_service_pb2.ArchiveTemplateRequest(
            template_id=rowing_club.template_id, meta=meta()
        )
    )
    wanted = Pass(holder=Holder(name="Grace"))
    await rowing_club.update(issued, "holder.name", wanted=wanted)
    assert (await void(rowing_club, issued)).state == Pass.STATE_VOIDED
    assert verify(await rowing_club.bundle(issued), authority())["voided"] is True


async def test_a_change_ends_signed(rowing_club: Club) -> None:
    """After each change the pass is signed and no intent is left."""
    issued = await rowing_club.issue()
    await rowing_club.update(issued, "holder.name", wanted=Pass(holder=Holder(name="Grace")))
    await void(rowing_club, issued)
    await reinstate(rowing_club, issued)
    assert await rowing_club.tenant.count("signing_intents") == 0
    [row] = await rowing_club.tenant.fetch(
        "SELECT signature FROM passes WHERE pass_id = $1", uuid.UUID(issued.pass_id)
    )
    assert row["signature"] is not None
