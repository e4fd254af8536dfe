"""UpdatePass, VoidPass, ReinstatePass: the named parts change, once, and the bundle with them."""

import asyncio
import uuid
from datetime import UTC, datetime

import pytest

from passmill.domain.templates import Slot, SlotType
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1 import template_service_pb2
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.bundles import pass_json, signing_time, verify
from tests.support.refusals import refused
from tests.support.service import Club, authority, basic, by_id, meta, update_request
from tests.support.small_card import draft, small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATER = 1_900_000_000


@pytest.fixture
def before() -> pb.UpdatePassRequest:
    """Everything an update may change, with other content than the card's draft."""
    return pb.UpdatePassRequest(
        wallet_pass=Pass(
            holder=Holder(name="Grace", phone="+4930901820", external_ids={"crm": "2"}),
            values={"points": value(99), "tier": value("Gold"), "note": value("new")},
            expire_time={"seconds": LATER},
            revision=2,
        )
    )


def void_request(wallet_pass: Pass, **more: object) -> pb.VoidPassRequest:
    """A request to void a pass."""
    request = pb.VoidPassRequest(ref=by_id(wallet_pass), meta=meta())
    request.MergeFrom(pb.VoidPassRequest(**more))  # type: ignore[arg-type]
    return request


def reinstate_request(wallet_pass: Pass, *, etag: str = "") -> pb.ReinstatePassRequest:
    """A request to reinstate a pass."""
    return pb.ReinstatePassRequest(ref=by_id(wallet_pass), etag=etag, meta=meta())


async def void(club: Club, wallet_pass: Pass, **more: object) -> Pass:
    """Voids a pass."""
    return (await club.passes.VoidPass(void_request(wallet_pass, **more))).wallet_pass


async def reinstate(club: Club, wallet_pass: Pass) -> Pass:
    """Reinstates a pass."""
    return (await club.passes.ReinstatePass(reinstate_request(wallet_pass))).wallet_pass


@pytest.mark.parametrize(
    "path",
    ["holder.name", "holder.phone", "holder.external_ids", "holder", "values", "values.points",
     "values.tier", "expire_time", "revision"],
)  # fmt: skip
async def test_only_what_the_mask_names_changes(
    rowing_club: Club, before: pb.UpdatePassRequest, path: str
) -> None:
    """Of everything sent, exactly what the mask names is taken; the rest stays as it was."""
    await rowing_club.tenant.publish(rowing_club.template_id, small_card())
    wanted = before.wallet_pass
    first = draft(phone="+12065550123", crm="1", note="old")
    issued = await rowing_club.get(await rowing_club.issue(first, revision=1))
    answer = await rowing_club.update(issued, path, wanted=wanted)
    updated = await rowing_club.get(issued)
    assert basic(updated) == answer
    expected = Pass()
    expected.CopyFrom(issued)
    match path.split("."):
        case ["holder", part]:
            whole = Pass(holder=wanted.holder)
            expected.holder.ClearField(part)  # type: ignore[arg-type]
            for other in {"name", "phone", "external_ids"} - {part}:
                whole.holder.ClearField(other)  # type: ignore[arg-type]
            expected.MergeFrom(whole)
        case ["values", slot]:
            expected.values[slot].CopyFrom(wanted.values[slot])
        case ["values"]:
            expected.ClearField("values")
            expected.MergeFrom(Pass(values=wanted.values))
        case ["holder"]:
            expected.holder.CopyFrom(wanted.holder)
        case ["expire_time"]:
            expected.expire_time.CopyFrom(wanted.expire_time)
        case _:
            expected.revision = 2
    expected.version, expected.etag = 2, "v2"
    expected.update_time.CopyFrom(updated.update_time)
    assert updated == expected
    verify(await rowing_club.bundle(issued), authority())


async def test_several_paths_at_once(rowing_club: Club) -> None:
    """One update may name many parts; the bundle shows them all."""
    issued = await rowing_club.issue(draft("Ada", note="x"))
    wanted = Pass(holder=Holder(name="Grace"), values={"points": value(8)})
    await rowing_club.update(issued, "holder.name", "values.points", "values.note", wanted=wanted)
    assert dict((await rowing_club.get(issued)).values) == {"points": value(8)}
    shown = pass_json(await rowing_club.bundle(issued))
    assert shown["generic"]["primaryFields"][0]["value"] == "Grace"
    assert shown["generic"]["headerFields"][0]["value"] == 8
    assert [each["key"] for each in shown["generic"]["backFields"]] == ["tier"]


@pytest.mark.parametrize(
    "path",
    ["", "pass_id", "state", "serial_number", "holder.nothing", "values.points.x", "values.",
     "version", "void_reason", "holder.external_ids.crm", "Values", "*", "x" * 10_000],
)  # fmt: skip
async def test_other_paths_are_refused(rowing_club: Club, path: str) -> None:
    """A mask that names what no update may change, or nothing at all, is refused and changes
    nothing."""
    issued = await rowing_club.issue()
    for paths in ((path,), ("holder.name", path)) if path else ((), ("",)):
        request = update_request(issued, *paths, wanted=Pass(holder=Holder(name="Grace")))
        refusal = await refused(rowing_club.passes.UpdatePass(request))
        assert next(iter(refusal.fields)) in {"update_mask", 'wallet_pass.values[""]'}
    assert basic(await rowing_club.get(issued)) == issued


async def test_a_slot_that_is_not_there_is_refused(rowing_club: Club) -> None:
    """A mask naming a slot that the template lacks is refused by that name, whether or not a value
    is sent for it: a misspelt name must not look like success."""
    issued = await rowing_club.issue()
    for wanted in (Pass(), Pass(values={"pionts": value(1)})):
        request = update_request(issued, "values.pionts", wanted=wanted)
        refusal = await refused(rowing_club.passes.UpdatePass(request))
        assert refusal.reason == "INVALID_VALUES"
        assert set(refusal.fields) == {'wallet_pass.values["pionts"]'}
    assert basic(await rowing_club.get(issued)) == issued


async def test_values_that_do_not_fit_are_refused(rowing_club: Club) -> None:
    """An update is checked like a draft, with the paths of its own request."""
    issued = await rowing_club.issue()
    wanted = Pass(
        holder=Holder(name="a\ab", phone="x"), values={"tier": value(1), "note": value("\x00")}
    )
    request = update_request(issued, "holder", "values", wanted=wanted)
    refusal = await refused(rowing_club.passes.UpdatePass(request))
    assert refusal.reason == "INVALID_VALUES"
    assert set(refusal.fields) == {
        "wallet_pass.holder.name",
        "wallet_pass.holder.phone",
        'wallet_pass.values["tier"]',
        'wallet_pass.values["note"]',
        'wallet_pass.values["points"]',
    }
    assert basic(await rowing_club.get(issued)) == issued


async def test_a_required_value_cannot_be_taken_away(rowing_club: Club) -> None:
    """A required slot cannot be emptied, one with a default goes back to it."""
    issued = await rowing_club.issue(draft(tier="Gold"))
    emptied = update_request(issued, "values.points", wanted=Pass())
    assert (await refused(rowing_club.passes.UpdatePass(emptied))).reason == "INVALID_VALUES"
    await rowing_club.update(issued, "values.tier", wanted=Pass())
    shown = pass_json(await rowing_club.bundle(issued))
    assert shown["generic"]["backFields"][0]["value"] == "Silver"


async def test_an_expiry_can_be_taken_away(rowing_club: Club) -> None:
    """An update naming expire_time without one takes it away."""
    wanted = draft()
    wanted.expire_time.seconds = LATER
    issued = await rowing_club.issue(wanted)
    assert "expirationDate" in pass_json(await rowing_club.bundle(issued))
    updated = await rowing_club.update(issued, "expire_time", wanted=Pass())
    assert not updated.HasField("expire_time")
    assert "expirationDate" not in pass_json(await rowing_club.bundle(issued))


async def test_the_etag_decides(rowing_club: Club) -> None:
    """A change with an etag that is not the current one is refused, whatever the change; with the
    current one or none it is made."""
    issued = await rowing_club.issue()
    wanted = Pass(holder=Holder(name="Grace"))
    updated = await rowing_club.update(issued, "holder.name", wanted=wanted, etag=issued.etag)
    assert updated.etag != issued.etag
    stale = [
        rowing_club.passes.UpdatePass(
            update_request(issued, "holder.name", wanted=wanted, etag=issued.etag)
        ),
        rowing_club.passes.VoidPass(void_request(issued, etag=issued.etag)),
        rowing_club.passes.ReinstatePass(reinstate_request(issued, etag=issued.etag)),
    ]
    for call in stale:
        assert (await refused(call)).reason == "ETAG_MISMATCH"
    assert basic(await rowing_club.get(issued)) == updated
    assert (await void(rowing_club, issued, etag=updated.etag)).state == Pass.STATE_VOIDED


async def test_of_many_with_one_etag_one_wins(rowing_club: Club) -> None:
    """Of twenty updates made at once from one reading, one is made and the others hear of it."""
    issued = await rowing_club.issue()
    calls = [
        rowing_club.passes.UpdatePass(
            update_request(
                issued,
                "holder.name",
                wanted=Pass(holder=Holder(name=f"Name {number}")),
                etag=issued.etag,
            )
        )
        for number in range(20)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    made = [each for each in outcomes if isinstance(each, pb.UpdatePassResponse)]
    assert len(made) == 1
    assert basic(await rowing_club.get(issued)) == made[0].wallet_pass
    verify(await rowing_club.bundle(issued), authority())


async def test_changes_at_once_are_all_made(rowing_club: Club) -> None:
    """Thirty updates of one pass at once, each of another part or the same, are all made one after
    the other, and what is signed in the end is the last of them."""
    issued = await rowing_club.issue()
    calls = [
        rowing_club.update(issued, "values.points", wanted=Pass(values={"points": value(number)}))
        for number in range(30)
    ]
    updated = await asyncio.gather(*calls)
    assert sorted(each.version for each in updated) == list(range(2, 32))
    number, last = max(enumerate(updated), key=lambda each: each[1].version)
    now = await rowing_club.get(issued)
    assert (basic(now), now.values["points"].integer) == (last, number)
    shown = verify(await rowing_club.bundle(issued), authority())
    assert shown["generic"]["headerFields"][0]["value"] == number


async def test_a_retried_change_is_made_once(rowing_club: Club) -> None:
    """A change sent again, also after others, is answered as the first time and not made again."""
    issued = await rowing_club.issue()
    request = update_request(issued, "values.points", wanted=Pass(values={"points": value(1)}))
    first = await rowing_club.passes.UpdatePass(request)
    await rowing_club.update(issued, "values.points", wanted=Pass(values={"points": value(2)}))
    again = await asyncio.gather(*(rowing_club.passes.UpdatePass(request) for _ in range(5)))
    assert all(each == first for each in again)
    now = await rowing_club.get(issued)
    assert (now.version, now.values["points"].integer) == (3, 2)
    first_void = await rowing_club.passes.VoidPass(voiding := void_request(issued))
    assert await rowing_club.passes.VoidPass(voiding) == first_void


async def test_a_dry_run_changes_nothing(rowing_club: Club) -> None:
    """With validate_only the changed pass is answered and the pass stays as it was."""
    issued = await rowing_club.issue()
    bundle = await rowing_club.bundle(issued)
    events = await rowing_club.tenant.count("outbox")
    wanted = Pass(holder=Holder(name="Grace"))
    request = update_request(issued, "holder.name", wanted=wanted, validate_only=True)
    assert (await rowing_club.passes.UpdatePass(request)).wallet_pass.version == 2
    dry_void = void_request(issued)
    dry_void.meta.validate_only = True
    voided = (await rowing_club.passes.VoidPass(dry_void)).wallet_pass
    assert voided.state == Pass.STATE_VOIDED
    assert basic(await rowing_club.get(issued)) == issued
    assert await rowing_club.bundle(issued) == bundle
    assert await rowing_club.tenant.count("outbox") == events


async def test_what_nobody_sees_is_not_signed_again(rowing_club: Club) -> None:
    """External ids are on no pass: changing them leaves signature, update time and bundle as they
    were, and the pass is found by the new id alone."""
    issued = await rowing_club.issue(draft(crm="1"))
    bundle = await rowing_club.bundle(issued)
    wanted = Pass(holder=Holder(external_ids={"crm": "2", "till": "8"}))
    updated = await rowing_club.update(issued, "holder.external_ids", wanted=wanted)
    read = await rowing_club.get(issued)
    assert dict(read.holder.external_ids) == {"crm": "2", "till": "8"}
    assert updated.update_time == issued.update_time
    assert updated.etag != issued.etag
    assert await rowing_club.bundle(issued) == bundle
    for system, external_id, found in (("crm", "1", 0), ("crm", "2", 1), ("till", "8", 1)):
        listing = pb.ListPassesRequest(
            filter={"external_id": {"system": system, "id": external_id}}
        )
        assert len((await rowing_club.passes.ListPasses(listing)).passes) == found
    [event] = await rowing_club.tenant.fetch(
        "SELECT detail FROM outbox WHERE kind = 'pass.updated'"
    )
    assert event["detail"] == '{"visible": false}'


async def test_void_and_reinstate(rowing_club: Club) -> None:
    """A voided pass says so in state and bundle, with its reason, and can be reinstated; twice is
    refused either way."""
    issued = await rowing_club.issue()
    active = await rowing_club.bundle(issued)
    twice = rowing_club.passes.ReinstatePass(reinstate_request(issued))
    assert (await refused(twice)).reason == "PASS_NOT_VOIDED"
    voided = await void(rowing_club, issued, reason="Lost \U0001f622")
    assert (voided.state, voided.void_reason) == (Pass.STATE_VOIDED, "Lost \U0001f622")
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
    assert (updated.state, updated.void_reason) == (Pass.STATE_VOIDED, "Lost")
    assert verify(await rowing_club.bundle(issued), authority())["voided"] is True


async def test_no_two_contents_share_a_second(rowing_club: Club) -> None:
    """Successive contents are signed at least a second apart, however fast they follow, for devices
    compare whole seconds; update_time tells the same."""
    issued = await rowing_club.issue()
    versions, times = [issued], [signing_time(await rowing_club.bundle(issued))]
    for number in range(5):
        wanted = Pass(values={"points": value(number)})
        versions.append(await rowing_club.update(issued, "values.points", wanted=wanted))
        times.append(signing_time(await rowing_club.bundle(issued)))
    seconds = [each.update_time.seconds for each in versions]
    assert all(later - earlier >= 1 for earlier, later in zip(seconds, seconds[1:], strict=False))
    assert [
        datetime.strptime(time, "%y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp() for time in times
    ] == seconds


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
