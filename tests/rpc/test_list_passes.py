"""GetPass and ListPasses: found by any name, listed whole, page by page."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import (
    PASS_VIEW_BASIC,
    PASS_VIEW_FULL,
    Holder,
    Pass,
    PassRef,
    PassView,
)
from tests.support.refusals import refused
from tests.support.service import Club, by_id, meta
from tests.support.small_card import draft, small_card

pytestmark = pytest.mark.asyncio(loop_scope="session")

Filter = pb.ListPassesRequest.Filter
ExternalId = pb.ListPassesRequest.ExternalId


async def pages(
    club: Club,
    wanted: Filter | None = None,
    *,
    page_size: int = 0,
    view: PassView.ValueType = PASS_VIEW_FULL,
) -> AsyncIterator[list[Pass]]:
    """Every page of a listing."""
    request = pb.ListPassesRequest(filter=wanted, page_size=page_size, view=view)
    while True:
        answer = await club.passes.ListPasses(request)
        yield list(answer.passes)
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


async def listed(club: Club, wanted: Filter | None = None, *, page_size: int = 0) -> list[Pass]:
    """The passes of all pages."""
    return [each async for page in pages(club, wanted, page_size=page_size) for each in page]


async def issue_many(club: Club, count: int, *, template_id: str = "") -> list[Pass]:
    """Issues passes named by their numbers, and reads them."""
    request = club.batch_request([draft(f"{number}") for number in range(count)])
    request.template_id = template_id or club.template_id
    answer = await club.passes.BatchIssuePasses(request)
    return [await club.get(each.wallet_pass) for each in answer.results]


async def get(club: Club, ref: PassRef) -> Pass:
    """The pass of a reference."""
    return (await club.passes.GetPass(pb.GetPassRequest(ref=ref))).wallet_pass


async def test_a_pass_is_found_in_any_spelling(rowing_club: Club) -> None:
    """A pass is found by its id, its serial number and its reference id, however a person spells
    that: small letters, no dash, spaces, I or L for 1, O for 0."""
    for issued in await issue_many(rowing_club, 40):
        shown = issued.reference_id
        spellings = {
            shown,
            shown.lower(),
            shown.replace("-", ""),
            shown.replace("-", " ").lower(),
            f"  {shown[:2]} {shown[2:]}  ",
            shown.replace("1", "I").replace("0", "O"),
            shown.replace("1", "l").replace("0", "o"),
        }
        refs = [PassRef(reference_id=each) for each in spellings]
        refs += [PassRef(serial_number=issued.serial_number), PassRef(pass_id=issued.pass_id)]
        refs += [PassRef(pass_id=issued.pass_id.upper())]
        found = await asyncio.gather(*(get(rowing_club, ref) for ref in refs))
        assert all(each == issued for each in found)


async def test_a_mistyped_reference_id_is_not_found(rowing_club: Club) -> None:
    """One symbol wrong, or two neighbours swapped, is never another pass, by the check symbol."""
    issued = await issue_many(rowing_club, 5)
    for each in issued:
        symbols = each.reference_id.replace("-", "")
        wrong = {
            symbols[:at] + other + symbols[at + 1 :]
            for at in range(8)
            for other in "27KZ"
            if other != symbols[at]
        }
        swapped = {
            symbols[:at] + symbols[at + 1] + symbols[at] + symbols[at + 2 :] for at in range(7)
        }
        for text in (wrong | swapped) - {symbols}:
            call = rowing_club.passes.GetPass(pb.GetPassRequest(ref=PassRef(reference_id=text)))
            assert (await refused(call)).reason == "NOT_FOUND"


async def test_the_basic_view_leaves_the_holder_out(rowing_club: Club) -> None:
    """The basic view holds ids, state and times, and nothing personal."""
    issued = await rowing_club.issue(draft("Ada", phone="+12065550123", crm="1"))
    assert not issued.HasField("holder")
    request = pb.GetPassRequest(ref=by_id(issued), view=PASS_VIEW_BASIC)
    assert (await rowing_club.passes.GetPass(request)).wallet_pass == issued
    assert [page async for page in pages(rowing_club, view=PASS_VIEW_BASIC)] == [[issued]]
    assert (await rowing_club.get(issued)).holder.name == "Ada"


@pytest.mark.parametrize("page_size", [1, 7, 20, 21, 500, 5000])
async def test_a_listing_is_whole(rowing_club: Club, page_size: int) -> None:
    """Whatever the page size, each pass is listed once, as it is read alone, in the order of the
    ids; a page is as large as asked for, 500 at most, and only the last has no successor."""
    issued = await issue_many(rowing_club, 21)
    found = [page async for page in pages(rowing_club, page_size=page_size)]
    assert [each for page in found for each in page] == sorted(issued, key=lambda p: p.pass_id)
    sizes = [len(page) for page in found]
    assert sizes == [min(page_size, 21 - start) for start in range(0, 21, page_size)]


async def test_an_empty_listing_has_one_page(rowing_club: Club) -> None:
    """Nothing to list is an empty page without a successor."""
    assert [page async for page in pages(rowing_club)] == [[]]


async def test_a_listing_is_whole_while_passes_are_issued(rowing_club: Club) -> None:
    """What was there when the listing began is listed once, though others issue meanwhile; of what
    comes meanwhile nothing is listed twice."""
    before = await issue_many(rowing_club, 100)
    found: list[Pass] = []
    issuing = asyncio.gather(*(rowing_club.issue() for _ in range(150)))
    async for page in pages(rowing_club, page_size=9):
        found += page
    issued = await issuing
    ids = [each.pass_id for each in found]
    assert len(set(ids)) == len(ids)
    assert {each.pass_id for each in before} <= set(ids)
    assert set(ids) <= {each.pass_id for each in (*before, *issued)}


async def test_each_filter_narrows(rowing_club: Club) -> None:
    """Each part of the filter selects exactly the passes that have it, and several together those
    that have all."""
    tenant = rowing_club.tenant
    other_template = await tenant.add_template(rowing_club.program_id, small_card())
    await tenant.publish(other_template)
    other_program = await tenant.add_program()
    third_template = await tenant.add_template(other_program, small_card())
    await tenant.publish(third_template)
    first = await rowing_club.issue(draft(phone="+12065550123", crm="1"))
    [second] = await issue_many(rowing_club, 1, template_id=other_template)
    [third] = await issue_many(rowing_club, 1, template_id=third_template)
    fourth = await rowing_club.issue(draft(phone="+12065550123", crm="2"))
    voiding = pb.VoidPassRequest(ref=by_id(fourth), meta=meta())
    await rowing_club.passes.VoidPass(voiding)
    first, fourth = await rowing_club.get(first), await rowing_club.get(fourth)
    just_after = Timestamp()
    just_after.FromDatetime(third.create_time.ToDatetime() + timedelta(microseconds=1))
    cases = [
        (Filter(), [first, second, third, fourth]),
        (Filter(program_id=rowing_club.program_id), [first, second, fourth]),
        (Filter(program_id=other_program), [third]),
        (Filter(template_id=rowing_club.template_id), [first, fourth]),
        (Filter(state=Pass.STATE_VOIDED), [fourth]),
        (Filter(state=Pass.STATE_ACTIVE), [first, second, third]),
        (Filter(holder_phone="+12065550123"), [first, fourth]),
        (Filter(holder_phone="+12065550123", state=Pass.STATE_ACTIVE), [first]),
        (Filter(holder_phone="+12065550124"), []),
        (Filter(external_id=ExternalId(system="crm", id="2")), [fourth]),
        (Filter(external_id=ExternalId(system="till", id="2")), []),
        (Filter(create_time_from=second.create_time), [second, third, fourth]),
        (Filter(create_time_before=second.create_time), [first]),
        (Filter(create_time_from=just_after), [fourth]),
        (
            Filter(create_time_from=second.create_time, create_time_before=fourth.create_time),
            [second, third],
        ),
        (Filter(program_id=other_program, template_id=rowing_club.template_id), []),
    ]
    for wanted, expected in cases:
        assert await listed(rowing_club, wanted, page_size=2) == expected, wanted


async def test_tenants_do_not_see_each_other(rowing_club: Club) -> None:
    """Passes of another tenant are in no listing, whatever the filter says of them."""
    theirs = await rowing_club.tenant.service.add_club()
    issued = await theirs.get(await theirs.issue(draft(phone="+12065550123", crm="1")))
    for wanted in (
        Filter(),
        Filter(holder_phone=issued.holder.phone),
        Filter(external_id=ExternalId(system="crm", id="1")),
    ):
        assert await listed(rowing_club, wanted) == []
        assert await listed(theirs, wanted) == [issued]


async def test_a_page_token_belongs_to_its_listing(rowing_club: Club) -> None:
    """A token goes on with its own listing alone: with another filter or view, of another tenant's
    method, or changed by a byte, it is refused; another page size is allowed."""
    await issue_many(rowing_club, 5)
    ask = rowing_club.passes.ListPasses
    first = await ask(pb.ListPassesRequest(page_size=2))
    token = first.next_page_token
    rest = await ask(pb.ListPassesRequest(page_size=3, page_token=token))
    assert (len(rest.passes), rest.next_page_token) == (3, "")
    flipped = token[:-6] + ("A" if token[-6] != "A" else "B") + token[-5:]
    for request in (
        pb.ListPassesRequest(page_token=token, filter=Filter(state=Pass.STATE_ACTIVE)),
        pb.ListPassesRequest(page_token=token, view=PASS_VIEW_BASIC),
        pb.ListPassesRequest(page_token=flipped),
        pb.ListPassesRequest(page_token="x"),
        pb.ListPassesRequest(page_token="é" * 20),
    ):
        assert (await refused(ask(request))).reason == "INVALID_PAGE_TOKEN"


async def test_a_page_token_is_no_use_to_another_tenant(rowing_club: Club) -> None:
    """Another tenant that goes on with a token sees its own passes alone."""
    await issue_many(rowing_club, 3)
    token = (await rowing_club.passes.ListPasses(pb.ListPassesRequest(page_size=1))).next_page_token
    theirs = await rowing_club.tenant.service.add_club()
    issued = await theirs.get(await theirs.issue())
    answer = await theirs.passes.ListPasses(pb.ListPassesRequest(page_token=token))
    assert list(answer.passes) == [issued]


async def test_a_listing_shows_changes(rowing_club: Club) -> None:
    """A pass that was changed is listed as it is now."""
    [first, second] = await issue_many(rowing_club, 2)
    await rowing_club.update(first, "holder.name", wanted=Pass(holder=Holder(name="Grace")))
    updated = await rowing_club.get(first)
    assert await listed(rowing_club) == [updated, second]
