"""IssuePass: a request gives one pass, however often and however closely it is sent."""

import asyncio
import uuid
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.rpc.door import REPLAYED_METADATA
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1 import program_service_pb2, template_service_pb2
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft
from tests.support.bundles import pass_json
from tests.support.channels import keyed, send_bytes
from tests.support.refusals import refused
from tests.support.service import Club, Service, basic, by_id, meta
from tests.support.small_card import draft, small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ISSUE_PASS = "/passmill.v1.PassService/IssuePass"
TABLES = ("passes", "pass_external_ids", "signing_intents", "outbox", "request_answers")


async def rows(club: Club) -> dict[str, int]:
    """How many rows the tenant has in each table that issuing writes."""
    return {table: await club.tenant.count(table) for table in TABLES}


async def send(club: Club, content: bytes) -> tuple[bytes, bool]:
    """The answer's bytes, and whether the service says it gave them before."""
    channel = keyed(club.tenant.service.api, club.tenant.member.api_key)
    call = send_bytes(channel, ISSUE_PASS, content)
    answer = await call
    trailing = dict(await call.trailing_metadata() or ())
    return answer, trailing.get(REPLAYED_METADATA) == "true"


async def test_the_answer_is_the_pass(rowing_club: Club) -> None:
    """The answer holds the names of the new pass, where it came from and nothing of the holder;
    what was drafted is read later, and shown by the bundle."""
    wanted = draft("Zoë", phone="+1 (206) 555-0123", crm="4711", points=12, tier="Gold")
    issued = await rowing_club.issue(wanted)
    assert (issued.program_id, issued.template_id) == (
        rowing_club.program_id,
        rowing_club.template_id,
    )
    assert (issued.revision, issued.version, issued.state) == (1, 1, Pass.STATE_ACTIVE)
    assert uuid.UUID(issued.pass_id).version == 7
    assert not issued.HasField("expire_time")
    assert abs(issued.create_time.ToDatetime(UTC) - datetime.now(UTC)).total_seconds() < 60
    read = await rowing_club.get(issued)
    assert basic(read) == issued
    assert read.holder == Holder(name="Zoë", phone="+12065550123", external_ids={"crm": "4711"})
    assert dict(read.values) == dict(wanted.values)
    shown = pass_json(await rowing_club.bundle(issued))
    assert shown["serialNumber"] == issued.serial_number
    assert shown["barcodes"][0]["altText"] == issued.reference_id
    assert shown["generic"]["primaryFields"][0]["value"] == "Zoë"
    assert shown["generic"]["headerFields"][0]["value"] == 12


async def test_an_issued_pass_is_whole(rowing_club: Club) -> None:
    """With the answer the pass is signed, its event written and no intent left."""
    before = await rows(rowing_club)
    issued = await rowing_club.issue(draft(crm="1"))
    after = await rows(rowing_club)
    added = {table: after[table] - before[table] for table in TABLES}
    assert added == {
        "passes": 1,
        "pass_external_ids": 1,
        "signing_intents": 0,
        "outbox": 1,
        "request_answers": 1,
    }
    [row] = await rowing_club.tenant.fetch(
        "SELECT signature, octet_length(digest) AS digest_bytes FROM passes WHERE pass_id = $1",
        uuid.UUID(issued.pass_id),
    )
    assert len(row["signature"]) == 256
    assert row["digest_bytes"] == 20
    [event] = await rowing_club.tenant.fetch(
        "SELECT pass_ids FROM outbox WHERE kind = 'pass.issued'"
    )
    assert [str(each) for each in event["pass_ids"]] == [issued.pass_id]


async def test_a_retry_gets_the_same_bytes(rowing_club: Club) -> None:
    """The same request again gives the first answer byte for byte, marked as replayed, and no
    second pass."""
    content = rowing_club.issue_request(draft(crm="7", tier="Gold")).SerializeToString()
    first, was_replayed = await send(rowing_club, content)
    assert not was_replayed
    for _ in range(2):
        assert await send(rowing_club, content) == (first, True)
    assert await rowing_club.tenant.count("passes") == 1


async def test_a_retry_may_order_its_maps_otherwise(rowing_club: Club) -> None:
    """Maps have no order on the wire: a client that was restarted may write the same request with
    other bytes, and is answered as the first time."""
    whole = rowing_club.issue_request(draft(points=3, tier="Gold", note="x"))
    values = dict(whole.draft.values)
    writings = set()
    for order in (sorted(values), sorted(values, reverse=True)):
        bare = pb.IssuePassRequest()
        bare.CopyFrom(whole)
        bare.draft.ClearField("values")
        content = bare.SerializeToString()
        for name in order:  # concatenated messages are merged
            part = pb.IssuePassRequest(draft=PassDraft(values={name: values[name]}))
            content += part.SerializeToString()
        assert pb.IssuePassRequest.FromString(content) == whole
        writings.add(content)
    assert len(writings) == 2
    answers = [await send(rowing_club, content) for content in sorted(writings)]
    assert answers[0][0] == answers[1][0]
    assert [is_replayed for _, is_replayed in answers] == [False, True]


async def test_a_request_id_belongs_to_one_request(rowing_club: Club) -> None:
    """Another body, another method or a refused one under a used request id is refused, and changes
    nothing; another tenant may use the same id."""
    request = rowing_club.issue_request()
    issued = (await rowing_club.passes.IssuePass(request)).wallet_pass
    other = rowing_club.issue_request(draft("Somebody else"))
    other.meta.CopyFrom(request.meta)
    unfit = rowing_club.issue_request(draft(tier="\a"))
    unfit.meta.CopyFrom(request.meta)
    batch = rowing_club.batch_request([draft()])
    batch.meta.CopyFrom(request.meta)
    void = pb.VoidPassRequest(ref=by_id(issued), meta=request.meta)
    for call in (
        rowing_club.passes.IssuePass(other),
        rowing_club.passes.IssuePass(unfit),
        rowing_club.passes.BatchIssuePasses(batch),
        rowing_club.passes.VoidPass(void),
    ):
        assert (await refused(call)).reason == "REQUEST_ID_REUSED"
    assert await rowing_club.tenant.count("passes") == 1
    assert basic(await rowing_club.get(issued)) == issued
    elsewhere = await rowing_club.tenant.service.add_club()
    theirs = elsewhere.issue_request()
    theirs.meta.CopyFrom(request.meta)
    assert (await elsewhere.passes.IssuePass(theirs)).wallet_pass.pass_id != issued.pass_id


async def test_fifty_twins_give_one_pass(rowing_club: Club) -> None:
    """Fifty calls at once with one request id, among others, give one pass and fifty equal
    answers."""
    content = rowing_club.issue_request(draft("Twin")).SerializeToString()
    others = asyncio.gather(*(rowing_club.issue(draft(f"Other {at}")) for at in range(20)))
    answers = await asyncio.gather(*(send(rowing_club, content) for _ in range(50)))
    issued = await others
    assert len({answer for answer, _ in answers}) == 1
    assert [is_replayed for _, is_replayed in answers].count(False) == 1
    read = await asyncio.gather(*(rowing_club.get(each) for each in issued))
    assert [each.holder.name for each in read] == [f"Other {number}" for number in range(20)]
    assert [basic(each) for each in read] == issued
    assert await rowing_club.tenant.count("passes") == 21
    assert await rowing_club.tenant.count("signing_intents") == 0


async def test_a_dry_run_changes_nothing(rowing_club: Club) -> None:
    """With validate_only the answer is like the real one and nothing is written; its request id
    stays free for the real call."""
    before = await rows(rowing_club)
    dry = rowing_club.issue_request(draft("Ada", crm="1"), validate_only=True)
    answered = (await rowing_club.passes.IssuePass(dry)).wallet_pass
    assert (answered.version, answered.state) == (1, Pass.STATE_ACTIVE)
    unfit = rowing_club.issue_request(draft(nothing="x"), validate_only=True)
    assert (await refused(rowing_club.passes.IssuePass(unfit))).reason == "INVALID_VALUES"
    assert await rows(rowing_club) == before
    read = rowing_club.passes.GetPass(pb.GetPassRequest(ref=by_id(answered)))
    assert (await refused(read)).reason == "NOT_FOUND"
    dry.meta.validate_only = False
    issued = (await rowing_club.passes.IssuePass(dry)).wallet_pass
    assert (await rowing_club.get(issued)).holder.name == "Ada"


async def test_a_dry_run_tells_of_a_used_request_id(rowing_club: Club) -> None:
    """A dry run under a request id that a real call used is another request: it is refused."""
    request = rowing_club.issue_request()
    await rowing_club.passes.IssuePass(request)
    request.meta.validate_only = True
    assert (await refused(rowing_club.passes.IssuePass(request))).reason == "REQUEST_ID_REUSED"


async def test_the_revision_may_be_named(rowing_club: Club) -> None:
    """Without a number the newest revision is issued from, with one that revision."""
    assert await rowing_club.tenant.publish(rowing_club.template_id, small_card()) == 2
    assert (await rowing_club.issue()).revision == 2
    assert (await rowing_club.issue(revision=1)).revision == 1
    third = rowing_club.passes.IssuePass(rowing_club.issue_request(revision=3))
    assert (await refused(third)).reason == "REVISION_NOT_PUBLISHED"


async def test_a_pass_may_expire_by_itself(rowing_club: Club) -> None:
    """An expire_time of its own is kept in whole seconds, answered and shown."""
    wanted = draft()
    wanted.expire_time.FromDatetime(datetime(2031, 5, 1, 12, 30, 15, 999_000, tzinfo=UTC))
    issued = await rowing_club.issue(wanted)
    assert issued.expire_time == Timestamp(seconds=wanted.expire_time.seconds)
    full = await rowing_club.get(issued)
    assert basic(full) == issued
    assert full.effective_expire_time == issued.expire_time
    shown = pass_json(await rowing_club.bundle(issued))
    assert shown["expirationDate"] == "2031-05-01T12:30:15+00:00"


@pytest.mark.parametrize("seconds", [-(1 << 62), -1, 253_402_300_800, 1 << 62])
async def test_a_time_beyond_the_calendar_is_refused(rowing_club: Club, seconds: int) -> None:
    """An expire_time before 1970 or after 9999 is refused by its name."""
    wanted = draft()
    wanted.expire_time.seconds = seconds
    refusal = await refused(rowing_club.passes.IssuePass(rowing_club.issue_request(wanted)))
    assert set(refusal.fields) == {"draft.expire_time"}


@pytest.mark.parametrize("seconds", [0, 253_402_300_799])
async def test_the_ends_of_the_calendar_are_times(rowing_club: Club, seconds: int) -> None:
    """The first and the last second that are taken are kept, and make a pass."""
    wanted = draft()
    wanted.expire_time.seconds = seconds
    issued = await rowing_club.issue(wanted)
    assert (await rowing_club.get(issued)).expire_time.seconds == seconds
    shown = pass_json(await rowing_club.bundle(issued))["expirationDate"]
    assert datetime.fromisoformat(shown).timestamp() == seconds


async def test_what_was_issued_stays_answered(rowing_club: Club) -> None:
    """A retry is answered as the first time, also when the same request would be refused today."""
    request = rowing_club.issue_request()
    issued = await rowing_club.passes.IssuePass(request)
    templates, programs = rowing_club.tenant.member.templates, rowing_club.tenant.member.programs
    await templates.ArchiveTemplate(
        template_service_pb2.ArchiveTemplateRequest(
            template_id=rowing_club.template_id, meta=meta()
        )
    )
    new = rowing_club.passes.IssuePass(rowing_club.issue_request())
    assert (await refused(new)).reason == "TEMPLATE_ARCHIVED"
    assert await rowing_club.passes.IssuePass(request) == issued
    await programs.ArchiveProgram(
        program_service_pb2.ArchiveProgramRequest(program_id=rowing_club.program_id, meta=meta())
    )
    assert await rowing_club.passes.IssuePass(request) == issued
    assert await rowing_club.bundle(issued.wallet_pass)


async def test_archiving_ends_issuing(service: Service, rowing_club: Club) -> None:
    """An archived program, an unpublished template and a missing identity are each refused by
    name."""
    program = program_service_pb2.ArchiveProgramRequest(
        program_id=rowing_club.program_id, meta=meta()
    )
    await rowing_club.tenant.member.programs.ArchiveProgram(program)
    archived = rowing_club.passes.IssuePass(rowing_club.issue_request())
    assert (await refused(archived)).reason == "PROGRAM_ARCHIVED"
    tenant = await service.add_tenant()
    program_id = await tenant.add_program()
    template_id = await tenant.add_template(program_id, small_card())
    request = pb.IssuePassRequest(template_id=template_id, draft=draft(), meta=meta())
    refusal = await refused(tenant.member.passes.IssuePass(request))
    assert refusal.reason == "REVISION_NOT_PUBLISHED"


async def test_numbers_are_unique(rowing_club: Club) -> None:
    """Serial numbers and reference ids of a tenant's passes are all different."""
    batch = rowing_club.batch_request([draft() for _ in range(100)])
    results = (await rowing_club.passes.BatchIssuePasses(batch)).results
    passes = [each.wallet_pass for each in results]
    passes += await asyncio.gather(*(rowing_club.issue() for _ in range(30)))
    for name in ("pass_id", "serial_number", "reference_id"):
        assert len({getattr(each, name) for each in passes}) == 130


async def test_the_holder_may_be_nobody(rowing_club: Club) -> None:
    """A draft without a holder makes a pass without a name."""
    issued = await rowing_club.issue(PassDraft(values={"points": value(1)}))
    assert (await rowing_club.get(issued)).holder == Holder()
    assert "primaryFields" not in pass_json(await rowing_club.bundle(issued))["generic"]
