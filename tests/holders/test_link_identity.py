"""LinkIdentity, UnlinkIdentity, LinkPass: what a holder is known by, and which passes are its."""

import asyncio
import hashlib
import uuid

import pytest

from passmill.v1 import holder_service_pb2 as pb
from passmill.v1.holder_pb2 import (
    HOLDER_REFUSAL_IDENTITY_TAKEN,
    HOLDER_REFUSAL_PASS_TAKEN,
    HOLDER_REFUSAL_TOO_MANY,
    HOLDER_REFUSAL_UNSPECIFIED,
    IDENTITY_KIND_EMAIL,
    IDENTITY_KIND_EXTERNAL,
    IDENTITY_KIND_PAYMENT_CARD,
    IDENTITY_KIND_PHONE,
    Identity,
)
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.holders import Desk, card, customer, email, ids_of, phone, ref
from tests.support.refusals import refused
from tests.support.service import Club, Service, meta

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

MOST_IDENTITIES = 50
MOST_PASSES = 100


async def test_a_sale_finds_its_holder_without_the_pass(rowing_club: Club) -> None:
    """What was linked by a pass is found by any of its spellings and by nothing else; the first
    link makes the holder, the next ones keep it."""
    desk, held = Desk(club=rowing_club), await rowing_club.issue()
    linked = await desk.link(held, card("tok_Ab"))
    assert uuid.UUID(linked.holder_id).version == 7
    for identity in (customer("4711"), email(" Ada@Club.Example"), phone("+1 (206) 555-0123")):
        assert (await desk.link(held, identity)).holder_id == linked.holder_id
    address_hash = hashlib.sha256(b"ada@club.example").hexdigest()
    for known in (
        card("tok_Ab"),
        customer("4711"),
        email("ada@club.example"),
        email(address_hash),
        email(address_hash.upper()),
        phone("+12065550123"),
    ):
        found = await desk.identify(known)
        assert found is not None
        assert (found.holder_id, ids_of(found)) == (linked.holder_id, {held.pass_id})
    assert [each.kind for each in (await desk.get(held)).identities] == [
        IDENTITY_KIND_PAYMENT_CARD,
        IDENTITY_KIND_EXTERNAL,
        IDENTITY_KIND_EMAIL,
        IDENTITY_KIND_PHONE,
    ]
    for unknown in (card("tok_ab"), customer("4711", system="shop"), customer("tok_Ab")):
        assert await desk.identify(unknown) is None


async def test_another_tenant_finds_nobody(service: Service, rowing_club: Club) -> None:
    """The same identity in two tenants is two holders', and kept as two hashes."""
    other = await service.add_club()
    mine, theirs = Desk(club=rowing_club), Desk(club=other)
    linked = await mine.link(await rowing_club.issue(), card("shared"))
    assert await theirs.identify(card("shared")) is None
    assert (await theirs.link(await other.issue(), card("shared"))).holder_id != linked.holder_id
    hashes = [
        row["key_hash"]
        for club in (rowing_club, other)
        for row in await club.tenant.fetch("SELECT key_hash FROM holder_keys")
    ]
    assert len(set(hashes)) == len(hashes) == 2


async def test_nothing_readable_is_kept(rowing_club: Club) -> None:
    """Rows of identities hold a 32-byte hash, kind and system, and nothing of the identity."""
    desk, held = Desk(club=rowing_club), await rowing_club.issue()
    await desk.link(held, card("tok_secret_9000"))
    await desk.link(held, email("ada@club.example"))
    rows = await rowing_club.tenant.fetch("SELECT k::text AS row, key_hash FROM holder_keys k")
    assert [len(row["key_hash"]) for row in rows] == [32, 32]
    plain = hashlib.sha256(b"ada@club.example").hexdigest()
    for row in rows:
        for text in ("tok_secret", "ada@", b"tok_secret".hex(), plain):
            assert text not in row["row"]


async def test_a_taken_identity_is_refused_or_moved(rowing_club: Club) -> None:
    """An identity of another holder is refused as an ordinary answer that makes nothing; with move
    it is this holder's, and an event tells from whom it came."""
    desk = Desk(club=rowing_club)
    first, second = await rowing_club.issue(), await rowing_club.issue()
    owner = (await desk.link(first, card("one"))).holder_id
    refusal = await desk.link(second, card("one"))
    assert (refusal.refusal, refusal.holder_id) == (HOLDER_REFUSAL_IDENTITY_TAKEN, "")
    assert (await desk.get(second)).holder_id == ""
    moved = await desk.link(second, card("one"), move=True)
    assert moved.refusal == HOLDER_REFUSAL_UNSPECIFIED
    assert moved.holder_id not in {"", owner}
    found = await desk.identify(card("one"))
    assert found is not None
    assert ids_of(found) == {second.pass_id}
    assert await desk.events("holder.identity_moved") == [
        {"pass_ids": [], "holder_id": moved.holder_id, "previous_holder_id": owner}
    ]


async def test_unlinked_means_nobodys(rowing_club: Club) -> None:
    """An unlinked identity finds nobody and may be linked anew; another holder's is left alone."""
    desk = Desk(club=rowing_club)
    first, second = await rowing_club.issue(), await rowing_club.issue()
    await desk.link(first, card("one"))
    await desk.link(second, card("two"))
    assert not await desk.unlink(second, card("one"))
    assert not await desk.unlink(await rowing_club.issue(), card("one"))
    assert await desk.identify(card("one")) is not None
    assert await desk.unlink(first, card("one"))
    assert not await desk.unlink(first, card("one"))
    assert await desk.identify(card("one")) is None
    assert (await desk.link(second, card("one"))).refusal == HOLDER_REFUSAL_UNSPECIFIED


@pytest.mark.parametrize(
    ("identity", "field"),
    [
        (card("4111 1111 1111 1111"), "identity.id"),
        (card("4111-1111-1111-1111"), "identity.id"),
        (card("378282246310005"), "identity.id"),
        (Identity(kind=IDENTITY_KIND_PAYMENT_CARD, id="tok"), "identity.system"),
        (Identity(kind=IDENTITY_KIND_EMAIL, system="crm", id="a@b.c"), "identity.system"),
        (email("nobody"), "identity.id"),
        (phone("0206 555 0123"), "identity.id"),
        (Identity(id="x"), "identity.kind"),
        (customer(""), "identity.id"),
        (customer("4711", system="Till"), "identity.system"),
    ],
)
async def test_what_cannot_be_an_identity_is_refused(
    rowing_club: Club, identity: Identity, field: str
) -> None:
    """A payment card's number, an address that is none and a missing system are refused by name,
    and the message does not repeat them."""
    held = await rowing_club.issue()
    desk = Desk(club=rowing_club)
    request = pb.LinkIdentityRequest(ref=ref(held), identity=identity, meta=meta())
    refusal = await refused(desk.stub.LinkIdentity(request))
    assert refusal.reason == "INVALID_FIELD"
    assert set(refusal.fields) == {field}
    assert not identity.id or identity.id not in refusal.message
    assert await rowing_club.tenant.count("holders") == 0


async def test_passes_of_one_holder(rowing_club: Club) -> None:
    """A holder's passes are linked by id or by another pass; one that is another holder's is
    refused, or moved with an event."""
    desk = Desk(club=rowing_club)
    first, second, third = [await rowing_club.issue() for _ in range(3)]
    holder_id = (await desk.link(first, card("one"))).holder_id
    assert (await desk.link_pass(holder_id, second)).holder_id == holder_id
    assert (await desk.link_pass(second, third)).holder_id == holder_id
    assert (await desk.link_pass(first, third)).holder_id == holder_id
    assert ids_of(await desk.get(third)) == {first.pass_id, second.pass_id, third.pass_id}
    fourth = await rowing_club.issue()
    own = (await desk.link_pass(fourth, fourth)).holder_id
    assert own not in {"", holder_id}
    refusal = await desk.link_pass(fourth, third)
    assert (refusal.refusal, refusal.holder_id) == (HOLDER_REFUSAL_PASS_TAKEN, "")
    assert (await desk.link_pass(own, third, move=True)).holder_id == own
    assert ids_of(await desk.get(holder_id)) == {first.pass_id, second.pass_id}
    assert ids_of(await desk.get(own)) == {third.pass_id, fourth.pass_id}
    assert [each["previous_holder_id"] for each in await desk.events("holder.pass_moved")] == [
        holder_id
    ]


async def test_no_holder_grows_without_end(rowing_club: Club) -> None:
    """A holder has at most 50 identities and 100 passes; what it has may be linked again."""
    desk, held = Desk(club=rowing_club), await rowing_club.issue()
    for at in range(MOST_IDENTITIES):
        assert not (await desk.link(held, customer(str(at)))).refusal
    assert (await desk.link(held, customer("more"))).refusal == HOLDER_REFUSAL_TOO_MANY
    assert not (await desk.link(held, customer("0"))).refusal
    holder_id = (await desk.get(held)).holder_id
    await rowing_club.tenant.fetch(
        "INSERT INTO pass_holders (tenant_id, pass_id, holder_id, create_time)"
        " SELECT $1, gen_random_uuid(), $2, now() FROM generate_series(2, $3)",
        int(rowing_club.tenant.tenant_id),
        uuid.UUID(holder_id),
        MOST_PASSES,
    )
    more = await rowing_club.issue()
    assert (await desk.link_pass(held, more)).refusal == HOLDER_REFUSAL_TOO_MANY
    assert (await desk.link_pass(held, held)).holder_id == holder_id


async def test_a_repeated_link_has_its_first_answer(rowing_club: Club) -> None:
    """The same request sent again is answered alike, also when the identity is another's by then; a
    dry run links nothing."""
    desk = Desk(club=rowing_club)
    first, second = await rowing_club.issue(), await rowing_club.issue()
    request = pb.LinkIdentityRequest(ref=ref(first), identity=card("one"), meta=meta())
    answer = await desk.stub.LinkIdentity(request)
    await desk.link(second, card("one"), move=True)
    assert await desk.stub.LinkIdentity(request) == answer
    trial = pb.LinkIdentityRequest(
        ref=ref(second), identity=card("two"), meta=meta(validate_only=True)
    )
    assert (await desk.stub.LinkIdentity(trial)).holder_id
    assert await desk.identify(card("two")) is None


async def test_of_many_at_once_one_gets_the_identity(rowing_club: Club) -> None:
    """Twenty passes claim one identity at the same moment: one has it, the others are told that it
    is taken, and they have made no holder."""
    desk = Desk(club=rowing_club)
    passes = [await rowing_club.issue() for _ in range(20)]
    answers = await asyncio.gather(*(desk.link(each, card("one")) for each in passes))
    winners = [each.holder_id for each in answers if not each.refusal]
    assert len(winners) == 1
    assert {each.refusal for each in answers if each.refusal} == {HOLDER_REFUSAL_IDENTITY_TAKEN}
    assert await rowing_club.tenant.count("holders") == 1
    assert await rowing_club.tenant.count("pass_holders") == 1


async def test_many_at_once_make_one_holder(rowing_club: Club) -> None:
    """Twenty identities linked to a new pass at the same moment make one holder, with them all."""
    desk, held = Desk(club=rowing_club), await rowing_club.issue()
    answers = await asyncio.gather(*(desk.link(held, card(f"t{at}")) for at in range(20)))
    assert len({each.holder_id for each in answers}) == 1
    assert not any(each.refusal for each in answers)
    assert len((await desk.get(held)).identities) == 20
    assert await rowing_club.tenant.count("holders") == 1


async def test_unknown_holders_and_passes(rowing_club: Club) -> None:
    """A holder or pass that there is not is NOT_FOUND, whoever asks for it and how."""
    desk, held = Desk(club=rowing_club), await rowing_club.issue()
    nobody = str(uuid.uuid4())
    for call in (
        desk.stub.FindHolder(pb.FindHolderRequest(holder=ref(nobody))),
        desk.stub.EraseHolder(pb.EraseHolderRequest(ref=ref(nobody), meta=meta())),
        desk.stub.LinkPass(
            pb.LinkPassRequest(ref=ref(held), wallet_pass=PassRef(pass_id=nobody), meta=meta())
        ),
    ):
        assert (await refused(call)).reason == "NOT_FOUND"
