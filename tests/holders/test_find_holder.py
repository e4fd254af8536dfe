"""FindHolder: by any name there is for a holder or its passes."""

import asyncio
from collections import Counter as Tally

import grpc
import pytest

from passmill.settings import Counter as Counters
from passmill.v1 import holder_service_pb2 as pb
from passmill.v1.balance_service_pb2 import JoinAccountRequest
from passmill.v1.holder_pb2 import Identity, KnownHolder
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.balances import open_till
from tests.support.holders import Desk, card, customer, email, ids_of, phone, ref
from tests.support.postgres import Database
from tests.support.refusals import refused
from tests.support.service import Club, by_id, meta, open_service, service_settings
from tests.support.small_card import draft
from tests.support.voiding import void

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def _found(desk: Desk, request: pb.FindHolderRequest) -> list[KnownHolder]:
    answer = await desk.stub.FindHolder(request)
    assert not answer.is_cut
    return list(answer.holders)


async def test_every_name_finds_the_holder_with_all_passes(rowing_club: Club) -> None:
    """Id, each pass in each of its names, identity, number and external id give the same holder,
    whose passes are told with their state, the oldest first."""
    desk = Desk(club=rowing_club)
    first = await rowing_club.issue(draft("Ada", phone="+12065550123"))
    second = await rowing_club.issue(draft("Ada", crm="4711"))
    await void(rowing_club, second)
    holder_id = (await desk.link(first, card("one"))).holder_id
    await desk.link_pass(holder_id, second)
    by_reference = pb.HolderRef(wallet_pass={"reference_id": second.reference_id.lower()})  # type: ignore[arg-type]
    by_serial = pb.HolderRef(wallet_pass={"serial_number": second.serial_number})  # type: ignore[arg-type]
    external_id = pb.PassExternalId(system="crm", id="4711")
    for request in (
        pb.FindHolderRequest(holder=ref(holder_id)),
        pb.FindHolderRequest(holder=ref(first)),
        pb.FindHolderRequest(holder=by_reference),
        pb.FindHolderRequest(holder=by_serial),
        pb.FindHolderRequest(identity=card("one")),
        pb.FindHolderRequest(phone="+1 206 555 0123"),
        pb.FindHolderRequest(external_id=external_id),
    ):
        [found] = await _found(desk, request)
        assert found.holder_id == holder_id
        assert [(each.pass_id, each.reference_id, each.state) for each in found.passes] == [
            (first.pass_id, first.reference_id, Pass.STATE_ACTIVE),
            (second.pass_id, second.reference_id, Pass.STATE_VOIDED),
        ]
        assert {each.program_id for each in found.passes} == {rowing_club.program_id}
        assert {each.template_id for each in found.passes} == {rowing_club.template_id}


async def test_a_number_may_be_several_peoples(rowing_club: Club) -> None:
    """A number gives the holder it was linked to, the holders of passes that show it, and passes
    that were never linked, each by itself and without a holder's id."""
    desk, number = Desk(club=rowing_club), "+12065550123"
    alone = await rowing_club.issue(draft("Ada", phone=number))
    shown = await rowing_club.issue(draft("Grace", phone=number))
    linked = await rowing_club.issue(draft("Mary"))
    await rowing_club.issue(draft("Joan", phone="+12065550199"))
    with_pass = (await desk.link(shown, card("one"))).holder_id
    with_number = (await desk.link(linked, phone(number))).holder_id
    found = await _found(desk, pb.FindHolderRequest(phone=number))
    assert {each.holder_id: ids_of(each) for each in found} == {
        with_pass: {shown.pass_id},
        with_number: {linked.pass_id},
        "": {alone.pass_id},
    }
    assert await _found(desk, pb.FindHolderRequest(phone="+12065550000")) == []


async def test_no_more_than_twenty_are_told(rowing_club: Club) -> None:
    """Of more than twenty that an external id finds twenty are given, and it is said that there are
    more."""
    desk = Desk(club=rowing_club)
    for _ in range(21):
        await rowing_club.issue(draft(crm="shared"))
    wanted = pb.PassExternalId(system="crm", id="shared")
    answer = await desk.stub.FindHolder(pb.FindHolderRequest(external_id=wanted))
    assert (len(answer.holders), answer.is_cut) == (20, True)


@pytest.mark.parametrize("number", ["12065550123", "+1", "+1206555012x"])
async def test_a_number_that_is_none_is_refused(rowing_club: Club, number: str) -> None:
    """A number without country code, or with letters, is refused by name."""
    desk = Desk(club=rowing_club)
    refusal = await refused(desk.stub.FindHolder(pb.FindHolderRequest(phone=number)))
    assert (refusal.reason, set(refusal.fields)) == ("INVALID_FIELD", {"phone"})


async def test_balances_are_the_accounts(rowing_club: Club) -> None:
    """A holder's balances are those of all accounts of the passes: of one that two passes share
    once, and after an erasure still, under the ids of the passes."""
    desk, till = Desk(club=rowing_club), await open_till(rowing_club)
    first, second, alone = [await rowing_club.issue() for _ in range(3)]
    joining = JoinAccountRequest(ref=by_id(second), account_of=by_id(first), meta=meta())
    assert not (await till.stub.JoinAccount(joining)).refusal
    await till.post(first, 100)
    await till.post(second, 20)
    await till.post(alone, 7)
    await desk.link(first, card("one"))
    for each in (second, alone):
        await desk.link_pass(first, each)
    known = await desk.identify(card("one"))
    assert known is not None
    wanted = {(first.pass_id, "points"): 120, (alone.pass_id, "points"): 7}
    for found in (known, await desk.get(alone)):
        assert {(each.account_id, each.unit): each.balance for each in found.balances} == wanted
    stranger = await rowing_club.issue()
    assert list((await desk.get(stranger)).balances) == []
    await desk.erase(first)
    after = await desk.get(first)
    assert {(each.account_id, each.unit): each.balance for each in after.balances} == wanted


async def test_whoever_guesses_has_to_wait(shared_database: Database) -> None:
    """A till that names customer numbers that are nobody's, all at once, is told of as many as the
    burst holds, and has to wait, with the next one and any address or number; payment cards, most
    of which are nobody's, it may go on to ask for."""
    limits = Counters(look_up_burst=10, look_ups_per_second=0.001)
    settings = service_settings(shared_database.url).model_copy(update={"counter": limits})
    async with open_service(shared_database.url, settings=settings) as service:
        club = await service.add_club()
        desk = Desk(club=club)
        await desk.link(await club.issue(), card("known"))

        async def guess(identity: Identity) -> str:
            request = pb.IdentifyHolderRequest(identity=identity)
            try:
                answer = await desk.stub.IdentifyHolder(request)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "found" if answer.HasField("holder") else "nobody"

        told = Tally(await asyncio.gather(*(guess(customer(str(at))) for at in range(40))))
        assert told == {"nobody": 10, "RESOURCE_EXHAUSTED": 30}
        for identity in (customer("one more"), phone("+12065550123"), email("ada@club.example")):
            request = pb.IdentifyHolderRequest(identity=identity)
            assert (await refused(desk.stub.IdentifyHolder(request))).reason == "RATE_LIMITED"
        for _ in range(100):
            assert await desk.identify(card("unknown")) is None
        assert await desk.identify(card("known")) is not None
