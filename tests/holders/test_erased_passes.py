"""Passes of erased holders stay voided and empty, and what is kept of changes tells nothing."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from passmill.v1.campaign_pb2 import CampaignAction, Recipient, UpdateAction
from passmill.v1.template_pb2 import Value
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft, PassRef
from tests.holders.test_erase_holder import WORD, where
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.holders import Desk
from tests.support.refusals import refusal_of, refused
from tests.support.service import Club, Service, update_request
from tests.support.small_card import draft, small_card, value
from tests.support.voiding import reinstate, reinstate_request, void

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service, rowing_club: Club) -> AsyncIterator[CampaignWorker]:
    """A worker of the club's campaigns."""
    async with open_campaign_worker(service, rowing_club) as opened:
        yield opened


@pytest.mark.parametrize("is_voided", [True, False])
async def test_an_erased_pass_stays_empty(rowing_club: Club, is_voided: bool) -> None:
    """It is not reinstated and not written on, with a reason that says why, whether it was voided
    before; one that staff voided as "erased" is like any other."""
    desk, held = Desk(club=rowing_club), await rowing_club.issue(draft("Ada"))
    like_any = await rowing_club.issue(draft("Grace"))
    await void(rowing_club, like_any, reason="erased")
    if is_voided:
        await void(rowing_club, held, reason="lost")
    await desk.erase(held)
    before = await rowing_club.get(held)
    wanted = Pass(holder=Holder(name="Ada"), values={"note": value("hello")})
    for call in (
        rowing_club.passes.ReinstatePass(reinstate_request(held)),
        rowing_club.passes.UpdatePass(update_request(held, "holder.name", wanted=wanted)),
        rowing_club.passes.UpdatePass(update_request(held, "values.note", wanted=wanted)),
    ):
        assert (await refused(call)).reason == "PASS_ERASED"
    assert await rowing_club.get(held) == before
    await rowing_club.update(like_any, "holder.name", wanted=wanted)
    assert (await reinstate(rowing_club, like_any)).state == Pass.STATE_ACTIVE


async def test_campaigns_pass_an_erased_pass_over(
    rowing_club: Club, worker: CampaignWorker
) -> None:
    """A campaign that names it serves the others, and says of it why not."""
    held, other = [await rowing_club.issue(draft(name)) for name in ("Ada", "Grace")]
    await Desk(club=rowing_club).erase(held)
    update = UpdateAction(template_id=rowing_club.template_id)
    campaign = await worker.campaigns.create(CampaignAction(update=update))
    rows = [
        Recipient(
            external_id=str(number),
            ref=PassRef(pass_id=each.pass_id),
            draft=PassDraft(values={"note": value("Hello")}),
        )
        for number, each in enumerate((held, other))
    ]
    await worker.campaigns.load(campaign, rows)
    await worker.start(campaign)
    await worker.serve_due()
    results = await worker.campaigns.results(campaign)
    assert [each.reason for each in results] == ["PASS_ERASED", ""]
    assert (await rowing_club.get(held)).values == {"points": Value(integer=0)}
    assert (await rowing_club.get(other)).values["note"].text == "Hello"


async def test_answers_that_are_kept_say_nothing_of_a_person(rowing_club: Club) -> None:
    """What staff said of voiding a pass goes with its holder: no answer that is kept for retries
    has it."""
    held = await rowing_club.issue(draft("Ada"))
    await void(rowing_club, held, reason=f"{WORD} has lost it")
    await rowing_club.update(held, "holder.name", wanted=Pass(holder=Holder(name=WORD)))
    assert (await rowing_club.get(held)).void_reason == f"{WORD} has lost it"
    assert "request_answers" not in await where(rowing_club)


async def test_a_change_meanwhile_is_erased_too(rowing_club: Club) -> None:
    """Updates that come while a holder is erased, also to another revision, are before the erasure
    or refused after it: none brings the name or a note back."""
    desk = Desk(club=rowing_club)
    held = await rowing_club.issue(draft("Ada"))
    number = await rowing_club.tenant.publish(rowing_club.template_id, small_card())
    moves = [
        rowing_club.update(held, "revision", "values.note", wanted=_noted(at, revision=number))
        for at in range(5)
    ]
    calls = (*moves[:3], desk.erase(held), *moves[3:])
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(answer, grpc.aio.AioRpcError):
            assert refusal_of(answer).reason == "PASS_ERASED"
        else:
            assert not isinstance(answer, BaseException)
    now = await rowing_club.get(held)
    assert (now.state, now.holder) == (Pass.STATE_VOIDED, Holder())
    assert "note" not in now.values


def _noted(at: int, *, revision: int) -> Pass:
    return Pass(revision=revision, values={"note": value(f"note {at}")})
