"""GetPassBundle and GetPassesBundle: the same bytes each time, sound for everybody, never wrong."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from passmill.dev.authority import KeyType
from passmill.rpc.convert_template import values_to_proto
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft, PassRef
from tests.support import templates
from tests.support.bundles import (
    pass_json,
    read_bundle,
    signer,
    signing_time,
    verify,
    verify_with_programs,
)
from tests.support.postgres import Database
from tests.support.refusals import refused
from tests.support.service import (
    PASS_TYPE,
    TEAM,
    Club,
    Service,
    SetClock,
    authority,
    by_id,
    certificate,
    meta,
    open_service,
)
from tests.support.small_card import draft, small_card

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def forget_signature(club: Club, wallet_pass: Pass) -> None:
    """Leaves the pass as a process does that dies between commit and signature."""
    await club.tenant.fetch(
        """
        WITH unsigned AS (
            UPDATE passes SET signature = NULL WHERE pass_id = $1 RETURNING tenant_id, pass_id
        )
        INSERT INTO signing_intents (tenant_id, pass_id, create_time)
        SELECT tenant_id, pass_id, $2 FROM unsigned
        """,
        uuid.UUID(wallet_pass.pass_id),
        datetime.now(UTC) - timedelta(hours=1),
    )


async def test_everybody_accepts_it(rowing_club: Club, tmp_path: Path) -> None:
    """openssl, cryptography, Info-ZIP, zipfile and libarchive accept a bundle."""
    issued = await rowing_club.issue(draft('Zoë "Z" مرحبا 😀'))
    bundle = await rowing_club.bundle(issued)
    verify_with_programs(bundle, authority(), tmp_path)
    assert verify(bundle, authority())["serialNumber"] == issued.serial_number


@pytest.mark.parametrize("style", ["store_card", "coupon", "event_ticket", "boarding_pass"])
async def test_every_style_makes_a_sound_bundle(
    service: Service, style: str, tmp_path: Path
) -> None:
    """Templates of the other styles, with images, translations and every kind of slot, come out
    sound and with the files they name."""
    content = replace(templates.TEMPLATES[style](), nfc=None)
    club = await service.add_club(content)
    wanted = PassDraft(
        holder=Holder(name="Anaïs O'Neill"), values=values_to_proto(templates.values(content))
    )
    bundle = await club.bundle(await club.issue(wanted))
    verify_with_programs(bundle, authority(), tmp_path)
    document = verify(bundle, authority())
    assert document["organizationName"] == content.organization_name
    assert {"icon.png", "pass.json", "manifest.json", "signature"} <= set(read_bundle(bundle))


async def test_the_same_bytes_each_time(rowing_club: Club) -> None:
    """By whichever name it is asked for, and at once, a bundle has the same bytes and etag, until
    its content changes."""
    issued = await rowing_club.issue()
    refs = [
        PassRef(pass_id=issued.pass_id),
        PassRef(serial_number=issued.serial_number),
        PassRef(reference_id=issued.reference_id),
    ] * 5
    answers = await asyncio.gather(
        *(rowing_club.passes.GetPassBundle(pb.GetPassBundleRequest(ref=ref)) for ref in refs)
    )
    assert all(each == answers[0] for each in answers)
    assert answers[0].update_time == issued.update_time
    await rowing_club.update(issued, "holder.name", wanted=Pass(holder=Holder(name="Grace")))
    request = pb.GetPassBundleRequest(ref=by_id(issued))
    changed = await rowing_club.passes.GetPassBundle(request)
    assert changed.bundle != answers[0].bundle
    assert changed.etag != answers[0].etag
    assert changed.update_time.seconds > answers[0].update_time.seconds


async def test_the_same_bytes_after_a_restart(database: Database) -> None:
    """Another process with the same master key gives the same bytes."""
    async with open_service(database.url) as first:
        club = await first.add_club()
        passes = [await club.issue(draft(f"Member {number}")) for number in range(5)]
        bundles = [await club.bundle(each) for each in passes]
        api_key = club.tenant.member.api_key
        settings = first.settings
    async with open_service(database.url, settings=settings) as second:
        again = second.member(api_key).passes
        for wallet_pass, bundle in zip(passes, bundles, strict=True):
            request = pb.GetPassBundleRequest(ref=by_id(wallet_pass))
            assert (await again.GetPassBundle(request)).bundle == bundle


async def test_ten_in_one_file(rowing_club: Club) -> None:
    """Up to ten passes come as one file of their bundles, in the order asked for; none and eleven
    are refused, and one that does not exist refuses all."""
    passes = [await rowing_club.issue(draft(f"Member {number}")) for number in range(11)]
    refs = [
        PassRef(reference_id=each.reference_id) if at % 2 else by_id(each)
        for at, each in enumerate(passes)
    ]
    ask = rowing_club.passes.GetPassesBundle
    packed = (await ask(pb.GetPassesBundleRequest(refs=refs[:10]))).bundle
    expected = [await rowing_club.bundle(each) for each in passes[:10]]
    assert list(read_bundle(packed).values()) == expected
    one = (await ask(pb.GetPassesBundleRequest(refs=refs[10:]))).bundle
    assert list(read_bundle(one).values()) == [await rowing_club.bundle(passes[10])]
    for wrong in (refs, []):
        refusal = await refused(ask(pb.GetPassesBundleRequest(refs=wrong)))
        assert set(refusal.fields) == {"refs"}
    missing = [*refs[:3], PassRef(pass_id=str(uuid.uuid4()))]
    assert (await refused(ask(pb.GetPassesBundleRequest(refs=missing)))).reason == "NOT_FOUND"


@pytest.mark.parametrize(
    "tampering",
    [
        "digest = set_byte(digest, 3, 255 - get_byte(digest, 3))",
        "signature = set_byte(signature, 100, 255 - get_byte(signature, 100))",
        "signature = '\\x00'",
        "signing_time = signing_time + interval '1 hour'",
        "holder_name = 'Mallory'",
        "slot_values = '{\"points\": 1000000}'",
        "expire_time = now()",
        "state = 2",
        "token_generation = 7",
    ],
)
async def test_what_was_tampered_with_is_signed_anew(rowing_club: Club, tampering: str) -> None:
    """A row changed behind our back never gives the old signature with other content: the pass is
    signed anew, as a new version, and what is served verifies."""
    issued = await rowing_club.issue()
    before = await rowing_club.bundle(issued)
    await rowing_club.tenant.fetch(
        f"UPDATE passes SET {tampering} WHERE pass_id = $1",  # noqa: S608 - a test's word
        uuid.UUID(issued.pass_id),
    )
    after = await rowing_club.bundle(issued)
    verify(after, authority())
    assert after != before
    assert (await rowing_club.get(issued)).version == 2
    assert signing_time(after) > signing_time(before)
    assert await rowing_club.bundle(issued) == after
    assert await rowing_club.tenant.count("signing_intents") == 0


async def test_an_unsigned_pass_is_signed_when_asked_for(rowing_club: Club) -> None:
    """What a killed process left unsigned is signed when its bundle is asked for: the very bytes it
    would have had, and its intent ends."""
    issued = await rowing_club.issue()
    bundle = await rowing_club.bundle(issued)
    await forget_signature(rowing_club, issued)
    assert await rowing_club.bundle(issued) == bundle
    assert await rowing_club.tenant.count("signing_intents") == 0
    assert (await rowing_club.get(issued)).version == 1


async def test_many_ask_for_an_unsigned_pass(service: Service) -> None:
    """Of many who ask at once for a pass that is unsigned, all get the same bytes, then and later,
    also with a key that signs differently each time."""
    tenant = await service.add_tenant()
    await tenant.add_identity(certificate(key_type=KeyType.P256))
    program_id = await tenant.add_program()
    template_id = await tenant.add_template(program_id, small_card())
    await tenant.publish(template_id)
    club = Club(tenant=tenant, program_id=program_id, template_id=template_id)
    issued = await club.issue()
    for _ in range(3):
        await forget_signature(club, issued)
        bundles = await asyncio.gather(*(club.bundle(issued) for _ in range(12)))
        assert len({*bundles, await club.bundle(issued)}) == 1
        verify(bundles[0], authority())


async def test_a_bundle_outlives_its_certificate(database: Database) -> None:
    """A signed pass is served after its certificate expired: no key is needed for it. Nothing can
    be issued, but a pass can be voided; that is signed with the next identity that is active."""
    clock = SetClock()
    short = authority().issue_pass_certificate(
        now=clock.now(),
        pass_type_identifier=PASS_TYPE,
        team_identifier=TEAM,
        validity=timedelta(days=2),
    )
    async with open_service(database.url, clock=clock) as service:
        tenant = await service.add_tenant()
        await tenant.add_identity(short)
        program_id = await tenant.add_program()
        template_id = await tenant.add_template(program_id, small_card())
        await tenant.publish(template_id)
        club = Club(tenant=tenant, program_id=program_id, template_id=template_id)
        issued, unsigned, stolen = [await club.issue() for _ in range(3)]
        bundle = await club.bundle(issued)
        clock.advance(timedelta(days=3))
        await forget_signature(club, unsigned)
        assert await club.bundle(issued) == bundle
        void = pb.VoidPassRequest(ref=by_id(stolen), meta=meta())
        assert (await club.passes.VoidPass(void)).wallet_pass.state == Pass.STATE_VOIDED
        for call in (
            club.passes.IssuePass(club.issue_request()),
            club.passes.GetPassBundle(pb.GetPassBundleRequest(ref=by_id(unsigned))),
            club.passes.GetPassBundle(pb.GetPassBundleRequest(ref=by_id(stolen))),
        ):
            assert (await refused(call)).reason == "SIGNING_IDENTITY_EXPIRED"
        await service.services.finish_signing.sweep()
        assert await tenant.count("signing_intents") == 2
        current = authority().issue_pass_certificate(
            now=clock.now(), pass_type_identifier=PASS_TYPE, team_identifier=TEAM
        )
        await tenant.add_identity(current)
        clock.advance(timedelta(minutes=2))
        async with asyncio.timeout(30):
            while await tenant.count("signing_intents"):
                await service.services.finish_signing.sweep()
        voided = await club.bundle(stolen)
        assert verify(voided, authority())["voided"] is True
        assert signer(voided, authority()) == current.certificate_der
        renewed = await club.bundle(unsigned)
        verify(renewed, authority())
        assert signer(renewed, authority()) == current.certificate_der
        assert (await club.get(unsigned)).version == 2
        grace = Pass(holder=Holder(name="Grace"))
        updated = await club.update(issued, "holder.name", wanted=grace)
        assert signer(await club.bundle(updated), authority()) == current.certificate_der
        assert pass_json(await club.bundle(updated))["teamIdentifier"] == TEAM
        assert await tenant.count("signing_intents") == 0


async def test_no_identity_no_pass(service: Service, rowing_club: Club) -> None:
    """A program whose pass type has no identity cannot issue; the refusal names the pass type."""
    other = "pass.com.example.other"
    program_id = await rowing_club.tenant.add_program(other)
    template_id = await rowing_club.tenant.add_template(program_id, small_card())
    await rowing_club.tenant.add_identity(certificate(other))
    await rowing_club.tenant.publish(template_id)
    await rowing_club.tenant.fetch(
        "UPDATE signing_identities SET is_active = false WHERE pass_type_identifier = $1", other
    )
    request = rowing_club.issue_request()
    request.template_id = template_id
    refusal = await refused(rowing_club.passes.IssuePass(request))
    assert refusal.reason == "NO_SIGNING_IDENTITY"
    assert refusal.metadata == {"pass_type_identifier": other}


async def test_a_new_certificate_leaves_old_passes_alone(rowing_club: Club) -> None:
    """After another identity is active, passes signed before keep their bytes until they change."""
    issued = await rowing_club.issue()
    bundle = await rowing_club.bundle(issued)
    newer = certificate(key_type=KeyType.RSA_3072)
    await rowing_club.tenant.add_identity(newer)
    assert await rowing_club.bundle(issued) == bundle
    assert signer(bundle, authority()) == certificate().certificate_der
