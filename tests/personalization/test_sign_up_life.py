"""What becomes of sign-ups, and of passes with and without them: no worker, later changes,
upkeep."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from passmill.compose_worker import open_worker
from passmill.domain.ids import TenantId
from passmill.usecases.forget_personalizations import KEPT, ForgetPersonalizations
from passmill.v1.template_pb2 import Value
from passmill.v1.wallet_pass_pb2 import Pass
from tests.edge.rig import Edge, Held, open_edge_on
from tests.support.bundles import pass_json, read_bundle, verify
from tests.support.service import Service, SetClock, authority
from tests.support.sign_up_card import sign_up_card
from tests.support.sign_ups import (
    FORM_FILES,
    SignUpClub,
    drain,
    fetch,
    new_token,
    open_sign_up_worker,
    sign_up,
    verify_token,
)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def test_without_a_worker_a_phone_is_told_to_come_back(
    service: Service, club: SignUpClub, tmp_path: Path
) -> None:
    """When no worker answers in time the phone gets 503 with Retry-After; when one is there again,
    the same request is answered, and the pass is signed up once."""
    async with open_edge_on(service.settings, request_seconds=1.0) as impatient:
        held, token = await club.issue(), new_token()
        answer = await sign_up(impatient, held, token)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        again = await sign_up(impatient, held, token)
        assert again.status_code == 503
        async with open_sign_up_worker(service):
            for _ in range(100):
                answer = await sign_up(impatient, held, token)
                if answer.status_code != 503:
                    break
    assert answer.status_code == 200
    verify_token(answer.content, token, tmp_path)
    assert (await club.get(held)).version == held.wallet_pass.version + 1


async def test_one_pass_cannot_fill_the_table(service: Service, club: SignUpClub) -> None:
    """Of the sign-ups that somebody sends with one pass, four wait for a worker and no more."""
    async with open_edge_on(service.settings, request_seconds=0.5) as impatient:
        held = await club.issue()
        answers = [await sign_up(impatient, held, new_token()) for _ in range(6)]
    assert {each.status_code for each in answers} == {503}
    assert await club.club.tenant.count("personalizations") == 4
    await drain(service, club)
    # One of them signed the pass up, and the others came too late.
    assert await club.club.tenant.count("personalizations") == 1
    assert (await club.get(held)).version == held.wallet_pass.version + 1


async def test_what_was_said_is_kept_no_longer_than_needed(
    service: Service, edge: Edge, club: SignUpClub
) -> None:
    """Once the pass has them, the answers are gone from the sign-up; a day later so is the rest."""
    held = await club.issue()
    async with open_sign_up_worker(service):
        assert (await sign_up(edge, held, new_token())).status_code == 200
    [row] = await club.club.tenant.fetch("SELECT info, end_time FROM personalizations")
    assert row["info"] == ""
    assert row["end_time"] is not None
    clock = SetClock()
    forget = ForgetPersonalizations(database=service.services.database, clock=clock)
    clock.advance(KEPT - timedelta(minutes=5))
    await forget()
    assert await club.club.tenant.count("personalizations") == 1
    clock.advance(timedelta(minutes=10))
    await forget()
    assert await club.club.tenant.count("personalizations") == 0


async def test_what_cannot_be_signed_is_forgotten(service: Service, club: SignUpClub) -> None:
    """A sign-up that a worker gives up is forgotten, so that the phone may send it again; so is one
    whose pass was voided meanwhile. Neither changes its pass."""
    tenant = club.club.tenant
    given_up, voided = await club.issue(), await club.issue()
    async with open_edge_on(service.settings, request_seconds=0.5) as impatient:
        for held in (given_up, voided):
            assert (await sign_up(impatient, held, new_token())).status_code == 503
    await tenant.fetch("UPDATE passes SET state = 2 WHERE pass_id = $1", _id(voided))
    rows = await tenant.fetch("SELECT request_id, pass_id FROM personalizations")
    waiting = {row["pass_id"]: row["request_id"] for row in rows}
    async with open_worker(service.settings, registry=CollectorRegistry()) as services:
        sign = services.sign_personalization
        assert await sign.give_up(TenantId(int(tenant.tenant_id)), waiting[_id(given_up)])
        await sign(TenantId(int(tenant.tenant_id)), waiting[_id(voided)])
    assert await tenant.count("personalizations") == 0
    await drain(service, club)
    for held in (given_up, voided):
        assert await club.events(held) == ["pass.issued"]


async def test_a_job_is_done_once(service: Service, edge: Edge, club: SignUpClub) -> None:
    """A sign-up whose job comes again, as after a worker's death, is left as it is."""
    held, token = await club.issue(), new_token()
    async with open_sign_up_worker(service) as services:
        first = await sign_up(edge, held, token)
        [row] = await club.club.tenant.fetch("SELECT request_id FROM personalizations")
        tenant_id = TenantId(int(club.club.tenant.tenant_id))
        await services.sign_personalization(tenant_id, row["request_id"])
        assert (await sign_up(edge, held, token)).content == first.content
    assert (await club.get(held)).version == held.wallet_pass.version + 1
    assert (await club.events(held)).count("pass.personalized") == 1


async def test_later_changes_keep_the_form_away(
    service: Service, edge: Edge, club: SignUpClub
) -> None:
    """Whatever is changed later, a pass that was signed up with is without the form, and one that
    was not has it; a new revision changes nothing of that."""
    signed, unsigned = await club.issue(), await club.issue()
    async with open_sign_up_worker(service):
        assert (await sign_up(edge, signed, new_token())).status_code == 200
    await club.club.tenant.publish(club.club.template_id, sign_up_card())
    for revision in (0, 2):
        for held, has_form in ((signed, False), (unsigned, True)):
            wanted = Pass(values={"points": Value(integer=100 + revision)}, revision=revision)
            paths = ["values.points", *(["revision"] if revision else [])]
            await club.club.update(held.wallet_pass, *paths, wanted=wanted)
            answer = await fetch(edge, held)
            assert answer.status_code == 200
            assert verify(answer.content, authority())["serialNumber"] == held.serial_number
            assert (read_bundle(answer.content).keys() >= FORM_FILES) is has_form
            assert bool(read_bundle(answer.content).keys() & FORM_FILES) is has_form


async def test_a_recipe_that_fits_no_more_is_signed_anew_with_its_form(
    service: Service, edge: Edge, club: SignUpClub
) -> None:
    """When what was signed is not what is assembled, the pass is signed anew, before a sign-up with
    the form and after it without."""
    held = await club.issue()
    for has_form in (True, False):
        await club.club.tenant.fetch(
            "UPDATE passes SET digest = decode(repeat('00', 20), 'hex') WHERE pass_id = $1",
            _id(held),
        )
        bundle = await club.club.bundle(held.wallet_pass)
        verify(bundle, authority())
        assert bool(read_bundle(bundle).keys() & FORM_FILES) is has_form
        async with open_sign_up_worker(service):
            await sign_up(edge, held, new_token())
    assert pass_json(bundle)["serialNumber"] == held.serial_number


def _id(held: Held) -> UUID:
    return UUID(held.wallet_pass.pass_id)
