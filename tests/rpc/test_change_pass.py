"""UpdatePass, VoidPass, ReinstatePass: the named parts change, once, and the bundle with them."""

import asyncio
import itertools
from collections.abc import Awaitable
from datetime import UTC, datetime

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.bundles import pass_json, signing_time, verify
from tests.support.refusals import refused
from tests.support.service import Club, authority, basic, update_request
from tests.support.small_card import draft, small_card, value
from tests.support.voiding import reinstate_request, void, void_request

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATER = 1_900_000_000


@pytest.fixture
def before() -> pb.UpdatePassRequest:
    """Everything an update may change, with other content than the card's draft."""
    return pb.UpdatePassRequest(
        wallet_pass=Pass(
            holder=Holder(name="Grace", phone="+4930901820", external_ids={"crm": "2"}),
            values={"points": value(99), "tier": value("Gold"), "note": value("new")},
            expire_time=Timestamp(seconds=LATER),
            revision=2,
        )
    )


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
            expected.effective_expire_time.CopyFrom(wanted.expire_time)
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
    stale: list[Awaitable[Message]] = [
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
        wanted_id = pb.ListPassesRequest.ExternalId(system=system, id=external_id)
        listing = pb.ListPassesRequest(filter=pb.ListPassesRequest.Filter(external_id=wanted_id))
        assert len((await rowing_club.passes.ListPasses(listing)).passes) == found
    [event] = await rowing_club.tenant.fetch(
        "SELECT detail FROM outbox WHERE kind = 'pass.updated'"
    )
    assert event["detail"] == '{"visible": false}'


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
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(seconds))
    assert [
        datetime.strptime(time, "%y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp() for time in times
    ] == seconds
