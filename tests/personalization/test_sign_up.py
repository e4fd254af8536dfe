"""A reward sign-up from the phone's request over TLS to the pass without the form."""

import asyncio
import json
from pathlib import Path

import pytest

from passmill.v1.template_pb2 import Value
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.edge.rig import Edge, Held, hold
from tests.support.bundles import read_bundle, verify
from tests.support.service import Club, authority
from tests.support.sign_ups import (
    FORM_FILES,
    SignUpClub,
    body,
    fetch,
    new_token,
    sign_up,
    verify_token,
)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

_FORGERY = '{"pass.json":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}'


async def _files(edge: Edge, held: Held) -> set[str]:
    answer = await fetch(edge, held)
    assert answer.status_code == 200
    document = verify(answer.content, authority())
    assert document["serialNumber"] == held.serial_number
    assert document["authenticationToken"] == held.token
    return set(read_bundle(answer.content))


@pytest.mark.usefixtures("worker")
async def test_a_holder_signs_up(edge: Edge, club: SignUpClub, tmp_path: Path) -> None:
    """A new pass has form and logo; its holder's answers are signed for with the pass certificate,
    become the pass's holder, and the next fetch has neither form nor logo."""
    held = await club.issue()
    first = await fetch(edge, held)
    files = read_bundle(first.content)
    assert files.keys() >= FORM_FILES
    assert json.loads(files["personalization.json"])["requiredPersonalizationFields"] == [
        "PKPassPersonalizationFieldName",
        "PKPassPersonalizationFieldEmailAddress",
        "PKPassPersonalizationFieldPhoneNumber",
    ]

    token = new_token()
    answer = await sign_up(edge, held, token)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    verify_token(answer.content, token, tmp_path)

    since = first.headers["last-modified"]
    headers = {**held.authorization, "if-modified-since": since}
    second = await edge.client.get(held.path, headers=headers)
    assert second.status_code == 200
    assert verify(second.content, authority())["serialNumber"] == held.serial_number
    assert files.keys() - read_bundle(second.content).keys() == FORM_FILES
    assert second.content == await club.club.bundle(held.wallet_pass)

    wallet_pass = await club.get(held)
    assert wallet_pass.version == held.wallet_pass.version + 1
    assert wallet_pass.personalize_time.seconds >= held.wallet_pass.create_time.seconds
    assert not held.wallet_pass.HasField("personalize_time")
    assert wallet_pass.holder == Holder(
        name="Zoë Ōtani",
        phone="+41446681800",
        external_ids={"crm": "4711", "email": "zoe@club.example"},
    )
    assert await club.events(held) == ["pass.issued", "pass.personalized"]


@pytest.mark.usefixtures("worker")
async def test_the_same_request_has_the_same_answer(edge: Edge, club: SignUpClub) -> None:
    """A phone that did not hear the answer is given the very same one; a request with another token
    finds nobody to sign up any more."""
    held, token = await club.issue(), new_token()
    answers = await asyncio.gather(*[sign_up(edge, held, token) for _ in range(10)])
    later = await sign_up(edge, held, token)
    assert {(each.status_code, each.content) for each in [*answers, later]} == {
        (200, later.content)
    }
    assert (await club.get(held)).version == held.wallet_pass.version + 1
    assert (await sign_up(edge, held, new_token())).status_code == 404
    assert (await sign_up(edge, held, token, fullName="Mallory")).status_code == 404
    assert (await club.get(held)).holder.name == "Zoë Ōtani"


@pytest.mark.usefixtures("worker")
async def test_one_of_several_at_once_wins(edge: Edge, club: SignUpClub, tmp_path: Path) -> None:
    """Of different sign-ups with one pass at the same time exactly one is signed for, and the pass
    has that one's answers."""
    held = await club.issue()
    tokens = {name: new_token() for name in ("Ada", "Grace", "Edsger")}
    answers = dict(
        zip(
            tokens,
            await asyncio.gather(
                *[sign_up(edge, held, token, fullName=name) for name, token in tokens.items()]
            ),
            strict=True,
        )
    )
    assert sorted(each.status_code for each in answers.values()) == [200, 404, 404]
    [winner] = [name for name, each in answers.items() if each.status_code == 200]
    verify_token(answers[winner].content, tokens[winner], tmp_path)
    assert (await club.get(held)).holder.name == winner
    assert (await club.events(held)).count("pass.personalized") == 1


@pytest.mark.usefixtures("worker")
async def test_a_sign_up_meets_changes_of_the_pass(edge: Edge, club: SignUpClub) -> None:
    """A pass that is changed over and over while its holder signs up ends with the changes and the
    sign-up, and its bundle verifies."""
    held = await club.issue()

    async def change() -> None:
        for points in range(20):
            wanted = Pass(values={"points": Value(integer=points)})
            await club.club.update(held.wallet_pass, "values.points", wanted=wanted)

    answer, _ = await asyncio.gather(sign_up(edge, held, new_token()), change())
    assert answer.status_code == 200
    wallet_pass = await club.get(held)
    assert wallet_pass.holder.name == "Zoë Ōtani"
    assert wallet_pass.values["points"].integer == 19
    assert wallet_pass.version == held.wallet_pass.version + 21
    assert not await _files(edge, held) & FORM_FILES


async def test_wrong_ones_are_told_apart_by_nothing(
    edge: Edge, club: SignUpClub, other_club: Club
) -> None:
    """An unknown serial number, another pass type, a voided pass, and one that asks for nothing
    have one answer, and nothing is written."""
    asking, voided = await club.issue(), await club.issue()
    reason = "lost"
    await club.club.tenant.fetch(
        "UPDATE passes SET state = 2, void_reason = $2 WHERE pass_id = $1::uuid",
        voided.wallet_pass.pass_id,
        reason,
    )
    plain = await hold(other_club)
    serials = [
        (asking.pass_type, "0" * 26),
        (asking.pass_type, asking.serial_number[::-1]),
        (asking.pass_type, "short"),
        (asking.pass_type, "%FF"),
        (asking.pass_type, plain.serial_number),
        (plain.pass_type, plain.serial_number),
        (plain.pass_type, asking.serial_number),
        ("pass.com.example.nobody", asking.serial_number),
        (voided.pass_type, voided.serial_number),
    ]
    answers = [
        await edge.client.post(f"/v1/passes/{ptid}/{serial}/personalize", json=body(new_token()))
        for ptid, serial in serials
    ]
    assert {each.status_code for each in answers} == {404}
    assert len({each.content for each in answers}) == 1
    for tenant in (club.club.tenant, other_club.tenant):
        assert await tenant.count("personalizations") == 0


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"[" * 5_000, 400),
        (json.dumps(body(_FORGERY)).encode(), 400),
        (json.dumps(body("a" * 4097)).encode(), 400),
        (b'{"personalizationToken":"dG9rZW4="}', 400),
        (b" " * (17 << 10), 413),
    ],
)
async def test_what_is_no_sign_up_is_refused(
    edge: Edge, club: SignUpClub, content: bytes, status: int
) -> None:
    """A body that is none, and a token that is a manifest, are refused before anything is looked
    up; nothing is written that a worker could sign."""
    held = await club.issue()
    answer = await edge.client.post(f"{held.path}/personalize", content=content)
    assert answer.status_code == status
    assert await club.club.tenant.count("personalizations") == 0


async def test_only_post_signs_up(edge: Edge, club: SignUpClub) -> None:
    """Another method is refused with the one that would do."""
    held = await club.issue()
    answer = await edge.client.get(f"{held.path}/personalize")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
