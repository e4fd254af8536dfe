"""Barcodes that can be checked, on passes that a whole service makes and changes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from passmill.domain.barcodes import (
    BarcodeKeyId,
    CodeKind,
    CodeRefusal,
    not_after_of,
    parse_signed,
)
from passmill.domain.clock import SystemClock
from passmill.domain.keyring import Keyring
from passmill.domain.templates import BarcodeKind
from passmill.errors import AppError
from passmill.usecases.barcode_keys import BarcodeKeys
from passmill.usecases.read_barcode import ReadCode, RefusedCode
from passmill.usecases.rotate_barcode_key import replace_sealing_key
from passmill.v1 import admin_service_pb2 as admin
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.api_scope_pb2 import API_SCOPE_ADMIN
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.barcodes import (
    Till,
    add_barcode_club,
    barcode_card,
    keys_of,
    revoke,
    rotate,
    shown_barcode,
)
from tests.support.refusals import refused
from tests.support.service import ALL_SCOPES, Club, Service, by_id, meta
from tests.support.small_card import draft, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDS = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def not_after(text: str) -> int:
    """When a token ends."""
    barcode = parse_signed(text)
    assert barcode is not None
    return barcode.not_after


def key_id(text: str) -> str:
    """Which key a token is signed with."""
    barcode = parse_signed(text)
    assert barcode is not None
    return str(barcode.key_id)


async def touch(club: Club, issued: Pass, points: int) -> str:
    """Gives a pass other points; what its barcode says then."""
    await club.update(issued, "values.points", wanted=Pass(values={"points": value(points)}))
    return await shown_barcode(club, issued)


@pytest.mark.parametrize(
    ("kind", "read_as"),
    [
        (BarcodeKind.SIGNED, CodeKind.SIGNED),
        (BarcodeKind.HANDLE, CodeKind.HANDLE),
        (None, CodeKind.HANDLE),
    ],
)
async def test_a_till_reads_what_passes_show(
    service: Service, kind: BarcodeKind | None, read_as: CodeKind
) -> None:
    """Passes issued alone and in a batch show barcodes of their template's kind that name them at
    a till of their tenant, as their serial numbers do, and nobody at another tenant's."""
    club = await add_barcode_club(service, kind)
    drafts = [draft(f"Ada {at}") for at in range(40)]
    answer = await club.passes.BatchIssuePasses(club.batch_request(drafts))
    passes = [await club.issue(), *(each.wallet_pass for each in answer.results)]
    till, elsewhere = Till(club.tenant), Till((await service.add_club()).tenant)
    seen = set()
    for each in passes[:4]:
        text = await shown_barcode(club, each)
        seen.add(text)
        read = await till.read(f"https://acme.example/c/{text}")
        assert isinstance(read, ReadCode)
        assert (str(read.pass_id), read.kind) == (each.pass_id, read_as)
        by_serial = await till.read(each.serial_number.lower())
        assert isinstance(by_serial, ReadCode)
        assert (str(by_serial.pass_id), by_serial.kind) == (each.pass_id, CodeKind.SERIAL)
        foreign = await elsewhere.read(text)
        if kind is BarcodeKind.SIGNED:
            assert foreign == RefusedCode(reason=CodeRefusal.WRONG_TENANT)
        else:
            assert not isinstance(foreign, ReadCode) or str(foreign.pass_id) != each.pass_id
    assert len(seen) == 4
    seals = await club.tenant.fetch("SELECT barcode_seal FROM passes")
    assert all((row["barcode_seal"] is not None) == (kind is BarcodeKind.SIGNED) for row in seals)
    assert len(await keys_of(club.tenant)) == (kind is BarcodeKind.SIGNED)


async def test_templates_without_have_neither_seal_nor_key(rowing_club: Club) -> None:
    """A template that does not use the service's barcode has passes without a seal, and its tenant
    no key."""
    issued = await rowing_club.issue()
    await touch(rowing_club, issued, 9)
    [row] = await rowing_club.tenant.fetch("SELECT barcode_seal FROM passes")
    assert row["barcode_seal"] is None
    assert await keys_of(rowing_club.tenant) == []


async def test_a_token_ends_with_its_pass(service: Service) -> None:
    """A token ends when its pass does: by the pass's own date, else by the template's slot, else
    never; it changes with these and with nothing else, and then the old one is over in its time."""
    club = await service.add_club(barcode_card(expires="{ends}"))
    issued = await club.issue(draft(points=1))
    first = await shown_barcode(club, issued)
    assert not_after(first) == 0
    assert await touch(club, issued, 2) == first
    wanted = Pass(values={"ends": value(ENDS)})
    await club.update(issued, "values.ends", wanted=wanted)
    second = await shown_barcode(club, issued)
    assert not_after(second) == not_after_of(ENDS)
    assert await touch(club, issued, 3) == second
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    wanted = Pass()
    wanted.expire_time.FromDatetime(soon)
    await club.update(issued, "expire_time", wanted=wanted)
    third = await shown_barcode(club, issued)
    assert not_after(third) == not_after_of(soon)
    await club.passes.VoidPass(pb.VoidPassRequest(ref=by_id(issued), meta=meta()))
    assert await shown_barcode(club, issued) == third
    till = Till(club.tenant)
    assert isinstance(await till.read(third), ReadCode)
    over = await till.read(third, after=timedelta(hours=2))
    assert isinstance(over, RefusedCode)
    assert (over.reason, str(over.pass_id)) == (CodeRefusal.EXPIRED_CODE, issued.pass_id)


async def test_rotation_changes_no_pass(service: Service) -> None:
    """After a rotation passes keep their barcodes over changes and are read, new ones are signed
    with the new key, and a revision moves a pass to it."""
    club = await add_barcode_club(service)
    issued = await club.issue()
    before = await shown_barcode(club, issued)
    new = await rotate(club.tenant)
    assert new.state == admin.BarcodeKey.STATE_ACTIVE
    old, listed = await keys_of(club.tenant)
    assert listed == new
    assert (old.barcode_key_id, old.state) == (key_id(before), admin.BarcodeKey.STATE_RETIRED)
    [row] = await club.tenant.fetch(
        "SELECT wrapped_private_key FROM barcode_keys WHERE key_id = $1", int(old.barcode_key_id)
    )
    assert row["wrapped_private_key"] is None
    assert await touch(club, issued, 5) == before
    assert key_id(await shown_barcode(club, await club.issue())) == new.barcode_key_id
    assert isinstance(await Till(club.tenant).read(before), ReadCode)
    number = await club.tenant.publish(club.template_id, barcode_card())
    await club.update(issued, "revision", wanted=Pass(revision=number))
    after = await shown_barcode(club, issued)
    assert key_id(after) == new.barcode_key_id
    read = await Till(club.tenant).read(after)
    assert isinstance(read, ReadCode)
    assert str(read.pass_id) == issued.pass_id


async def test_revoked_keys_prove_nothing(service: Service) -> None:
    """What a revoked key has signed is refused; the key that signs gets a successor, and a pass a
    new barcode with its next change. Revoking again changes nothing; the events tell all that."""
    club = await add_barcode_club(service)
    issued = await club.issue()
    before = await shown_barcode(club, issued)
    revoked = await revoke(club.tenant, key_id(before))
    assert revoked.state == admin.BarcodeKey.STATE_REVOKED
    assert await revoke(club.tenant, key_id(before)) == revoked
    refusal = await Till(club.tenant).read(before)
    assert refusal == RefusedCode(reason=CodeRefusal.KEY_REVOKED)
    after = await touch(club, issued, 5)
    _, successor = await keys_of(club.tenant)
    assert key_id(after) == successor.barcode_key_id
    assert isinstance(await Till(club.tenant).read(after), ReadCode)
    kinds = await club.tenant.fetch(
        "SELECT kind FROM outbox WHERE kind LIKE 'barcode_key.%' ORDER BY create_time, kind"
    )
    assert [row["kind"] for row in kinds] == [
        "barcode_key.created",
        "barcode_key.created",
        "barcode_key.revoked",
        "barcode_key.revoked",
    ]


async def test_without_the_master_key(service: Service) -> None:
    """Under another master key the sealing key cannot be opened, and who would seal is told what to
    do; what it has sealed is read, and after a rotation there is a key that seals."""
    club = await add_barcode_club(service)
    text = await shown_barcode(club, await club.issue())
    keyring = Keyring(bytes(32))
    clock = SystemClock()
    database, caller = service.services.database, club.tenant.caller
    keys = BarcodeKeys(database=database, keyring=keyring, clock=clock)
    with pytest.raises(AppError, match="RotateBarcodeKey"):
        await keys.sealing(caller)
    key = await keys.find(caller, BarcodeKeyId(int(key_id(text))))
    assert key is not None
    async with database.transaction(caller) as tx:
        made = await replace_sealing_key(tx, keyring=keyring, clock=clock)
    keys.forget(caller.tenant_id)
    signer, revoked = await keys.sealing(caller)
    assert (signer.key_id, revoked) == (made.key_id, set())


async def test_first_passes_at_once_share_one_key(service: Service) -> None:
    """Thirty first passes at once, of a tenant without a key, get one."""
    club = await add_barcode_club(service)
    passes = await asyncio.gather(*(club.issue() for _ in range(30)))
    [key] = await keys_of(club.tenant)
    for each in passes:
        assert key_id(await shown_barcode(club, each)) == key.barcode_key_id


async def test_rotations_at_once(service: Service) -> None:
    """Of twenty rotations at once each makes a key, and one key signs in the end; their list comes
    in pages too."""
    club = await add_barcode_club(service)
    made = await asyncio.gather(*(rotate(club.tenant) for _ in range(20)))
    keys = await keys_of(club.tenant)
    assert {each.barcode_key_id for each in keys} == {each.barcode_key_id for each in made}
    active = [each for each in keys if each.state == admin.BarcodeKey.STATE_ACTIVE]
    assert len(active) == 1
    paged: list[admin.BarcodeKey] = []
    token = ""
    while True:
        request = admin.ListBarcodeKeysRequest(page_size=7, page_token=token)
        page = await club.tenant.member.admin.ListBarcodeKeys(request)
        paged += page.barcode_keys
        token = page.next_page_token
        if not token:
            break
    assert paged == keys


async def test_a_rotation_is_done_once(service: Service) -> None:
    """A rotation sent again has the same answer and makes no second key; a dry run makes none."""
    club = await add_barcode_club(service)
    request = admin.RotateBarcodeKeyRequest(meta=meta())
    first = await club.tenant.member.admin.RotateBarcodeKey(request)
    assert await club.tenant.member.admin.RotateBarcodeKey(request) == first
    trial = admin.RotateBarcodeKeyRequest(meta=meta(validate_only=True))
    await club.tenant.member.admin.RotateBarcodeKey(trial)
    assert await keys_of(club.tenant) == [first.barcode_key]


async def test_keys_take_the_right_to_administer(service: Service) -> None:
    """A key that may read, issue and redeem may neither rotate, revoke nor list barcode keys; an
    operator may, for a tenant that it names."""
    club = await add_barcode_club(service)
    made = await rotate(club.tenant)
    tenant_id = club.tenant.tenant_id
    till_key = await service.add_key(tenant_id, [s for s in ALL_SCOPES if s != API_SCOPE_ADMIN])
    admin_of_till = service.member(till_key).admin
    for call in (
        admin_of_till.ListBarcodeKeys(admin.ListBarcodeKeysRequest()),
        admin_of_till.RotateBarcodeKey(admin.RotateBarcodeKeyRequest(meta=meta())),
        admin_of_till.RevokeBarcodeKey(
            admin.RevokeBarcodeKeyRequest(barcode_key_id=made.barcode_key_id, meta=meta())
        ),
    ):
        assert (await refused(call)).reason == "SCOPE_MISSING"
    operator = service.operator
    listing = admin.ListBarcodeKeysRequest(tenant_id=tenant_id)
    assert list((await operator.ListBarcodeKeys(listing)).barcode_keys) == [made]
    revoked = await operator.RevokeBarcodeKey(
        admin.RevokeBarcodeKeyRequest(
            tenant_id=tenant_id, barcode_key_id=made.barcode_key_id, meta=meta()
        )
    )
    assert revoked.barcode_key.state == admin.BarcodeKey.STATE_REVOKED
    for unknown in ("0", "x", "40000", "1" * 30):
        refusal = await refused(
            operator.RevokeBarcodeKey(
                admin.RevokeBarcodeKeyRequest(
                    tenant_id=tenant_id, barcode_key_id=unknown, meta=meta()
                )
            )
        )
        assert refusal.reason == "NOT_FOUND"
