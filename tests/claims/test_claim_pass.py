"""Claims over gRPC, with a worker that issues: exact outcomes, whoever comes at the same time."""

import asyncio
import json
import secrets
from collections import Counter
from dataclasses import replace

import grpc
import pytest

from passmill.v1 import enrolment_pb2 as claims_pb2
from passmill.v1.pass_service_pb2 import GetPassRequest
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.bundles import pass_json
from tests.support.claims import CLAIMED, EMAIL, NAME, NEWS, NOTE, PHONE, ClubLinks, new_key
from tests.support.refusals import refusal_of
from tests.support.service import Service
from tests.support.small_card import draft, small_card

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("worker"),
]
ELSEWHERE = claims_pb2.CLAIM_STATE_CLAIMED_ELSEWHERE
USED_UP = claims_pb2.CLAIM_STATE_USED_UP


async def test_a_link_for_one_gives_one_pass(links: ClubLinks) -> None:
    """Two phones with one link: the first gets the pass with what was known of its holder, and
    again with its key; the other one hears that it is taken, and of the number only two digits."""
    created = await links.create(known=draft("Ada", phone="+41446681842"))
    first, key = await asyncio.gather(links.claim(created.token), links.resolve(created.token))
    assert first.state == CLAIMED
    shown = pass_json(first.bundle)
    assert shown["barcodes"][0]["altText"] == first.reference_id
    again = await links.claim(created.token)
    assert (again.state, again.bundle, again.reference_id) == (ELSEWHERE, b"", "")
    assert (again.recovery.channel, again.recovery.hint) == (
        claims_pb2.ClaimRecovery.CHANNEL_PHONE,
        "42",
    )
    assert b"44668" not in again.SerializeToString()
    assert key.state in {claims_pb2.CLAIM_STATE_OPEN, ELSEWHERE}
    assert (await links.get(created)).uses == 1
    assert await links.club.tenant.count("passes") == 1


async def test_the_same_key_is_the_same_claim(links: ClubLinks) -> None:
    """The same claim sent twenty times at once and once more later: one use, one pass, the same
    bytes each time."""
    created = await links.create(max_uses=5)
    key = new_key()
    answers = await asyncio.gather(*(links.claim(created.token, key) for _ in range(20)))
    answers.append(await links.claim(created.token, key))
    assert {answer.state for answer in answers} == {CLAIMED}
    assert len({answer.bundle for answer in answers}) == 1
    assert (await links.get(created)).uses == 1
    assert await links.club.tenant.count("passes") == 1
    assert (await links.resolve(created.token, key)).reference_id == answers[0].reference_id


async def test_two_hundred_at_once_get_three(links: ClubLinks) -> None:
    """200 parallel claims of a link with three uses: three passes, 197 refusals, nothing else."""
    created = await links.create(max_uses=3)
    answers = await asyncio.gather(*(links.claim(created.token) for _ in range(200)))
    assert Counter(answer.state for answer in answers) == {CLAIMED: 3, USED_UP: 197}
    assert len({answer.reference_id for answer in answers if answer.state == CLAIMED}) == 3
    assert (await links.get(created)).uses == 3
    for table in ("claims", "passes"):
        assert await links.club.tenant.count(table) == 3
    assert len(await links.events("claim.completed")) == 3


async def test_looking_uses_nothing_up(links: ClubLinks) -> None:
    """A hundred looks at a link for one leave it open."""
    created = await links.create()
    looks = await asyncio.gather(*(links.resolve(created.token) for _ in range(100)))
    assert {look.state for look in looks} == {claims_pb2.CLAIM_STATE_OPEN}
    assert looks[0].branding.organization_name == "Ruderverein"
    assert looks[0].branding.background_color == "#0b3d3a"
    assert looks[0].branding.logo[:4] == b"\x89PNG"
    assert (await links.get(created)).uses == 0
    assert (await links.claim(created.token)).state == CLAIMED


async def test_answers_make_the_pass(links: ClubLinks) -> None:
    """What is filled in is on the pass, the number in E.164; what was not asked for is not. The
    claim keeps none of it, and its event tells source and consents."""
    created = await links.create(
        fields=[NAME, PHONE, EMAIL, NOTE, NEWS],
        is_unlimited=True,
        source="poster",
        default_region="CH",
    )
    claimed = await links.claim(
        created.token,
        name="  Zoë   Ōtani ",
        phone="044 668 18 00",
        email="zoe@club.example",
        values={"note": "Ristretto", "tier": "Platinum"},
        consents=["newsletter_2026", "everything"],
    )
    assert claimed.state == CLAIMED
    request = GetPassRequest(ref=PassRef(reference_id=claimed.reference_id))
    wallet_pass = (await links.club.passes.GetPass(request)).wallet_pass
    assert wallet_pass.holder.name == "Zoë Ōtani"
    assert wallet_pass.holder.phone == "+41446681800"
    assert wallet_pass.holder.external_ids["email"] == "zoe@club.example"
    assert wallet_pass.values["note"].text == "Ristretto"
    assert "tier" not in wallet_pass.values
    [row] = await links.club.tenant.fetch("SELECT answers FROM claims")
    assert row["answers"] == ""
    [event] = await links.events("claim.completed")
    detail = json.loads(event["detail"])
    assert (detail["source"], detail["consents"]) == ("poster", "newsletter_2026")
    assert [str(each) for each in event["pass_ids"]] == [wallet_pass.pass_id]


async def test_bad_answers_are_named(links: ClubLinks) -> None:
    """What is missing or wrong is told by its field, all at once, and uses nothing up."""
    must = claims_pb2.ClaimField(
        kind=claims_pb2.ClaimField.KIND_CONSENT, name="terms", label="Terms", is_required=True
    )
    created = await links.create(fields=[NAME, PHONE, EMAIL, NOTE, must])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await links.claim(
            created.token, phone="044 668 18 00", email="x@y", values={"note": "x" * 3000}
        )
    refused = refusal_of(caught.value)
    assert refused.reason == "INVALID_VALUES"
    assert set(refused.fields) == {
        "answers.name",
        "answers.phone",
        "answers.email",
        'answers.consents["terms"]',
    }
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await links.claim(
            created.token,
            name="Ada",
            phone="+41446681800",
            values={"note": "x" * 3000},
            consents=["terms"],
        )
    assert set(refusal_of(caught.value).fields) == {'answers.values["note"]'}
    assert (await links.get(created)).uses == 0


async def test_nobody_gets_two_by_one_link(links: ClubLinks) -> None:
    """Where a link is once for each person, the same number in another spelling gets no second
    pass, at once or later; other numbers get theirs."""
    created = await links.create(
        fields=[PHONE], is_unlimited=True, once_per_person=True, default_region="CH"
    )
    spellings = ["+41 44 668 18 00", "044 668 18 00", "0041446681800", "(044) 668-18-00"]
    answers = await asyncio.gather(
        *(links.claim(created.token, phone=spelling) for spelling in spellings)
    )
    assert Counter(answer.state for answer in answers) == {CLAIMED: 1, ELSEWHERE: 3}
    assert (await links.claim(created.token, phone="044 668 18 01")).state == CLAIMED
    late = await links.claim(created.token, phone=spellings[1])
    assert (late.state, late.HasField("recovery")) == (ELSEWHERE, False)
    assert (await links.get(created)).uses == 2
    rows = await links.club.tenant.fetch("SELECT person_hash FROM claims")
    assert len({row["person_hash"] for row in rows}) == 2


async def test_nobody_is_another_person_at_will(links: ClubLinks) -> None:
    """Once for each person means each thing that must be filled in: an optional number makes nobody
    another person, and of number and address that both are required neither is taken twice."""
    must_email, may_phone = claims_pb2.ClaimField(), claims_pb2.ClaimField()
    must_email.CopyFrom(EMAIL)
    must_email.is_required = True
    may_phone.CopyFrom(PHONE)
    may_phone.is_required = False
    wanted = {"is_unlimited": True, "once_per_person": True}
    ada, number = "ada@club.example", "+41446681842"
    created = await links.create(fields=[must_email, may_phone], **wanted)
    states = [
        (await links.claim(created.token, email=email, phone=phone)).state
        for email, phone in (
            (ada, ""),
            (ada, number),
            ("Ada@CLUB.example", ""),
            ("eve@club.example", number),
        )
    ]
    assert states == [CLAIMED, ELSEWHERE, ELSEWHERE, CLAIMED]
    both = await links.create(fields=[must_email, PHONE], **wanted)
    states = [
        (await links.claim(both.token, email=email, phone=phone)).state
        for email, phone in (
            (ada, number),
            (ada, "+41446681843"),
            ("eve@club.example", number),
            ("eve@club.example", "+41446681843"),
        )
    ]
    assert states == [CLAIMED, ELSEWHERE, ELSEWHERE, CLAIMED]
    await links.recover(both.token, email=ada)
    assert len(await links.events("claim.recovery_requested")) == 1


async def test_a_link_can_give_a_pass_that_is_there(links: ClubLinks) -> None:
    """A link to an issued pass gives that one, and issues none."""
    issued = await links.club.issue()
    created = await links.create_from(claims_pb2.ClaimLinkDraft(pass_id=issued.pass_id))
    claimed = await links.claim(created.token)
    assert (claimed.state, claimed.reference_id) == (CLAIMED, issued.reference_id)
    assert pass_json(claimed.bundle)["serialNumber"] == issued.serial_number
    assert await links.club.tenant.count("passes") == 1
    assert (await links.claim(created.token)).state == ELSEWHERE


async def test_a_pass_that_cannot_be_issued_costs_no_use(links: ClubLinks) -> None:
    """Where the template was archived, or its slots have moved on, looks and claims say so, and no
    use is taken."""
    created = await links.create(known=draft("Ada", note="x"))
    slots = tuple(slot for slot in small_card().slots if slot.name != "note")
    content = small_card()
    fields = tuple(each for each in content.fields if each.key != "note")
    await links.club.tenant.publish(
        links.club.template_id, replace(content, slots=slots, fields=fields)
    )
    await asyncio.sleep(1.1)  # other processes learn of it within a second
    assert (await links.claim(created.token)).state == claims_pb2.CLAIM_STATE_UNAVAILABLE
    assert (await links.get(created)).uses == 0
    assert await links.club.tenant.count("claims") == 0


async def test_strange_tokens_find_nothing(links: ClubLinks, service: Service) -> None:
    """Unknown and malformed tokens are refused alike; a suspended tenant's links do not work."""
    created = await links.create()
    statuses = set()
    for token in (secrets.token_urlsafe(16), "x", "a" * 128, created.token + "A", "'; --"):
        for call in (links.resolve(token), links.claim(token), links.recover(token)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            refused = refusal_of(caught.value)
            assert refused.reason == "NOT_FOUND"
            statuses.add(refused.content)
    assert len(statuses) == 1
