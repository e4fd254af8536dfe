"""Tags: given, changed, shown to whoever asks for everything, never on the pass."""

from __future__ import annotations

import pytest

from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft, PassView
from tests.support.refusals import refused
from tests.support.service import Club, by_id
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")


def tagged(*tags: str) -> PassDraft:
    """A draft that fits the card."""
    made = draft()
    made.tags.extend(tags)
    return made


async def test_a_pass_keeps_its_tags(rowing_club: Club) -> None:
    """Issued alone or with others, a pass has its tags, sorted; a basic view does not show them,
    and one without tags has no row for them."""
    alone = await rowing_club.issue(tagged("vip", "berlin", "a.b:c-d_9"))
    assert list(alone.tags) == []
    assert list((await rowing_club.get(alone)).tags) == ["a.b:c-d_9", "berlin", "vip"]
    drafts = [tagged("x"), draft(), tagged(*(f"t{at}" for at in range(16)))]
    answer = await rowing_club.passes.BatchIssuePasses(rowing_club.batch_request(drafts))
    issued = [each.wallet_pass for each in answer.results]
    assert [len((await rowing_club.get(each)).tags) for each in issued] == [1, 0, 16]
    assert await rowing_club.tenant.count("pass_tags") == 3 + 1 + 16
    basic_view = pb.GetPassRequest(ref=by_id(alone), view=PassView.PASS_VIEW_BASIC)
    assert not (await rowing_club.passes.GetPass(basic_view)).wallet_pass.tags


async def test_tags_are_replaced_and_no_phone_hears_of_it(rowing_club: Club) -> None:
    """An update whose mask names tags sets exactly these; the bundle's bytes and the time of its
    content stay, the version goes on; other updates leave tags alone."""
    issued = await rowing_club.issue(tagged("vip", "berlin"))
    before, bundle = await rowing_club.get(issued), await rowing_club.bundle(issued)
    for wanted in (["zoo", "berlin"], ["berlin"], []):
        await rowing_club.update(issued, "tags", wanted=Pass(tags=wanted))
        now = await rowing_club.get(issued)
        assert list(now.tags) == sorted(wanted)
        assert now.update_time == before.update_time
    assert now.version == 4
    assert await rowing_club.bundle(issued) == bundle
    await rowing_club.update(issued, "tags", wanted=Pass(tags=["kept"]))
    await rowing_club.update(issued, "holder.name", wanted=Pass(holder=Holder(name="Grace")))
    assert list((await rowing_club.get(issued)).tags) == ["kept"]
    rows = await rowing_club.tenant.fetch(
        "SELECT detail::json ->> 'visible' AS visible FROM outbox WHERE kind = 'pass.updated'"
        " ORDER BY event_id"
    )
    assert [row["visible"] for row in rows] == ["false"] * 4 + ["true"]


@pytest.mark.parametrize(
    "tags",
    [["VIP"], ["a b"], [""], ["-a"], ["a" * 65], ["a", "a"], [f"t{at}" for at in range(17)], ["ä"]],
)
async def test_what_is_no_tag_is_refused(rowing_club: Club, tags: list[str]) -> None:
    """Capitals, spaces, 65 characters, a tag twice, seventeen of them: refused when issued and when
    changed, and nothing is written."""
    issued = await rowing_club.issue()
    for call in (
        rowing_club.issue(tagged(*tags)),
        rowing_club.update(issued, "tags", wanted=Pass(tags=tags)),
    ):
        assert (await refused(call)).reason == "INVALID_FIELD"
    assert await rowing_club.tenant.count("pass_tags") == 0
