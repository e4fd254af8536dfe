"""BatchIssuePasses: each draft its own outcome, or all or none."""

import asyncio
import uuid

import pytest

from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import Pass, PassDraft
from tests.support.bundles import verify
from tests.support.refusals import refusal_of_status, refused
from tests.support.service import Club, authority, basic
from tests.support.small_card import draft, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNFIT = PassDraft(values={"tier": value(1)})


async def batch(club: Club, request: pb.BatchIssuePassesRequest) -> list[pb.BatchIssueResult]:
    """The results of a batch."""
    return list((await club.passes.BatchIssuePasses(request)).results)


async def names(club: Club, results: list[pb.BatchIssueResult]) -> list[str]:
    """Whose the passes are."""
    rows = await club.tenant.fetch(
        "SELECT holder_name FROM unnest($1::uuid[]) WITH ORDINALITY AS u(pass_id, place)"
        " JOIN passes USING (pass_id) ORDER BY place",
        [uuid.UUID(each.wallet_pass.pass_id) for each in results],
    )
    return [row["holder_name"] for row in rows]


async def test_each_draft_has_its_outcome(rowing_club: Club) -> None:
    """Results come in the order of the drafts: passes as IssuePass gives them, refusals with the
    details and paths of their draft; the unfit ones do not keep the others from being issued."""
    late = draft()
    late.expire_time.seconds = 1 << 60
    drafts = [draft("A"), UNFIT, draft("B", crm="9"), draft(phone="x"), late]
    results = await batch(rowing_club, rowing_club.batch_request(drafts))
    kinds = [each.WhichOneof("outcome") for each in results]
    assert kinds == ["wallet_pass", "error", "wallet_pass", "error", "error"]
    assert await names(rowing_club, [results[0], results[2]]) == ["A", "B"]
    for at, fields in (
        (1, {'drafts[1].values["points"]', 'drafts[1].values["tier"]'}),
        (3, {"drafts[3].holder.phone"}),
        (4, {"drafts[4].expire_time"}),
    ):
        refusal = refusal_of_status(results[at].error)
        assert refusal.reason == "INVALID_VALUES"
        assert set(refusal.fields) == fields
    for at in (0, 2):
        issued = results[at].wallet_pass
        assert basic(await rowing_club.get(issued)) == issued
        verify(await rowing_club.bundle(issued), authority())
    assert await rowing_club.tenant.count("passes") == 2
    assert await rowing_club.tenant.count("signing_intents") == 0


async def test_all_or_none(rowing_club: Club) -> None:
    """An atomic batch with unfit drafts is refused as one, names the fields of each and issues
    nothing."""
    request = rowing_club.batch_request([draft(), UNFIT, draft(phone="x")], atomic=True)
    refusal = await refused(rowing_club.passes.BatchIssuePasses(request))
    assert refusal.reason == "BATCH_REFUSED"
    assert set(refusal.fields) == {
        'drafts[1].values["points"]',
        'drafts[1].values["tier"]',
        "drafts[2].holder.phone",
    }
    assert await rowing_club.tenant.count("passes") == 0
    fitting = rowing_club.batch_request([draft(), draft()], atomic=True)
    assert all(each.HasField("wallet_pass") for each in await batch(rowing_club, fitting))


async def test_an_atomic_batch_of_one_is_refused_alike(rowing_club: Club) -> None:
    """However few drafts an atomic batch has, its refusal has the same reason."""
    request = rowing_club.batch_request([UNFIT], atomic=True)
    refusal = await refused(rowing_club.passes.BatchIssuePasses(request))
    assert refusal.reason == "BATCH_REFUSED"
    assert set(refusal.fields) == {'drafts[0].values["points"]', 'drafts[0].values["tier"]'}


async def test_five_hundred_at_most(rowing_club: Club) -> None:
    """Five hundred drafts are issued, signed and all different; none and one more are refused."""
    drafts = [draft(f"Member {number}", crm=str(number)) for number in range(500)]
    results = await batch(rowing_club, rowing_club.batch_request(drafts))
    passes = [each.wallet_pass for each in results]
    assert await names(rowing_club, results) == [f"Member {number}" for number in range(500)]
    assert len({each.reference_id for each in passes}) == 500
    assert await rowing_club.tenant.count("signing_intents") == 0
    verify(await rowing_club.bundle(passes[499]), authority())
    for wrong in ([], [*drafts, draft()]):
        refusal = await refused(
            rowing_club.passes.BatchIssuePasses(rowing_club.batch_request(wrong))
        )
        assert set(refusal.fields) == {"drafts"}
    assert await rowing_club.tenant.count("passes") == 500


async def test_a_retried_batch_is_answered_as_before(rowing_club: Club) -> None:
    """The same batch again, also at the same time, gives the same results and no more passes, also
    when every draft was refused."""
    request = rowing_club.batch_request([draft("A"), UNFIT, draft("B")])
    answers = await asyncio.gather(
        *(rowing_club.passes.BatchIssuePasses(request) for _ in range(8))
    )
    assert all(each == answers[0] for each in answers)
    assert await rowing_club.tenant.count("passes") == 2
    hopeless = rowing_club.batch_request([UNFIT, UNFIT])
    results = await batch(rowing_club, hopeless)
    assert await batch(rowing_club, hopeless) == results
    events = await rowing_club.tenant.fetch("SELECT FROM outbox WHERE kind = 'pass.issued'")
    assert len(events) == 1


async def test_a_dry_run_tells_each_outcome(rowing_club: Club) -> None:
    """With validate_only the outcomes are told and nothing is written."""
    tables = ("passes", "outbox", "request_answers", "signing_intents")
    before = [await rowing_club.tenant.count(table) for table in tables]
    request = rowing_club.batch_request([draft("A"), UNFIT], validate_only=True)
    results = await batch(rowing_club, request)
    assert [each.WhichOneof("outcome") for each in results] == ["wallet_pass", "error"]
    assert results[0].wallet_pass.state == Pass.STATE_ACTIVE
    assert [await rowing_club.tenant.count(table) for table in tables] == before


async def test_batches_and_single_issues_ride_together(rowing_club: Club) -> None:
    """Batches larger than a group and single issues at the same time are each answered with their
    own passes."""
    sizes = [300, 1, 500, 40, 260]
    batches = [
        batch(
            rowing_club,
            rowing_club.batch_request([draft(f"{at}/{number}") for number in range(size)]),
        )
        for at, size in enumerate(sizes)
    ]
    singles = asyncio.gather(*(rowing_club.issue(draft(f"single {at}")) for at in range(50)))
    answered = await asyncio.gather(*batches)
    issued = await singles
    for at, results in enumerate(answered):
        expected = [f"{at}/{number}" for number in range(sizes[at])]
        assert await names(rowing_club, results) == expected
    read = [(await rowing_club.get(each)).holder.name for each in issued]
    assert read == [f"single {number}" for number in range(50)]
    assert await rowing_club.tenant.count("passes") == sum(sizes) + 50
    assert await rowing_club.tenant.count("signing_intents") == 0
