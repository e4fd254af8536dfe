"""What is left of passes and recipients: nothing of the person, and everything of the others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.erasure import blank_issued, blank_named, erased_pass
from passmill.domain.ids import (
    CampaignId,
    PassId,
    RevisionId,
    SigningIdentityId,
    campaign_pass_id,
)
from passmill.domain.money import Money
from passmill.domain.pass_undo import PassUndo, undo_from_json, undo_to_json
from passmill.domain.passes import Holder, PassState, WalletPass
from passmill.domain.recipients import RecipientColumns, columns_from_json, columns_to_json
from passmill.domain.reference_ids import ReferenceNumber
from passmill.domain.templates import Slot, SlotType, compile_value_rules
from passmill.domain.values import Value, values_from_json, values_to_json
from tests.support.small_card import small_card

CAMPAIGN = CampaignId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
NOW = datetime(2026, 3, 1, tzinfo=UTC)
VALUES: dict[SlotType, Value] = {
    SlotType.TEXT: "Zanzibar",
    SlotType.INTEGER: 4711,
    SlotType.DECIMAL: Decimal("47.11"),
    SlotType.MONEY: Money(minor_units=4711, currency="JPY"),
    SlotType.INSTANT: datetime(1947, 1, 1, tzinfo=UTC),
    SlotType.BOOLEAN: True,
    SlotType.URL: "https://zanzibar.example/4711",
}


def test_a_pass_keeps_what_it_cannot_be_without() -> None:
    """Of an erased pass nothing is left but values for its required slots, which are valid, alike
    for everybody, and none of them the person's."""
    required = [Slot(name=f"r_{kind}", type=kind, required=True) for kind in SlotType]
    optional = [Slot(name=f"o_{kind}", type=kind) for kind in SlotType]
    defaulted = Slot(name="d", type=SlotType.TEXT, required=True, default_value="Silver")
    card = small_card()
    content = replace(card, slots=(*card.slots, *required, *optional, defaulted))
    values = {slot.name: VALUES[slot.type] for slot in content.slots}
    before = WalletPass(
        pass_id=PassId(UUID(int=1)),
        revision_id=RevisionId(1),
        signing_identity_id=SigningIdentityId(1),
        reference_number=ReferenceNumber(1),
        create_time=NOW,
        signing_time=NOW,
        expire_time=NOW,
        version=3,
        token_generation=0,
        state=PassState.ACTIVE,
        holder=Holder(name="Zanzibar", phone="+4947110", external_ids={"crm": "4711"}),
        slot_values=values_to_json(values),
        void_reason="",
        digest=b"",
        signature=None,
        tags=("zanzibar",),
    )
    after = erased_pass(before, content)
    assert (after.state, after.void_reason) == (PassState.VOIDED, "erased")
    assert (after.holder, after.tags) == (Holder(), ())
    kept = values_from_json(content.slots, after.slot_values)
    assert kept.keys() == {"points", *(slot.name for slot in required)}
    assert "4711" not in after.slot_values
    assert "anzibar" not in after.slot_values
    assert kept["r_money"] == Money(minor_units=0, currency="JPY")
    assert not compile_value_rules(content).check(kept).violations
    assert erased_pass(replace(before, state=PassState.VOIDED), content) == after


people = st.lists(
    st.tuples(st.text(min_size=1, max_size=8), st.booleans(), st.integers(0, 5)), max_size=12
)


def _columns(rows: list[tuple[str, bool, int]], *, named: bool) -> RecipientColumns:
    return RecipientColumns(
        external_ids=[external_id for external_id, _, _ in rows],
        names=[f"name {external_id}" if kept else None for external_id, kept, _ in rows],
        phones=[None for _ in rows],
        expire_times=[None for _ in rows],
        holder_ids=['{"crm":"1"}' if kept else None for _, kept, _ in rows],
        values=['{"points":1}' if kept else None for _, kept, _ in rows],
        pass_ids=[UUID(int=at + 1).hex if named and kept else None for _, kept, at in rows],
        tags=['["a"]' if kept else None for _, kept, _ in rows],
    )


@given(rows=people, chosen=st.sets(st.integers(0, 11)))
def test_issued_recipients_leave_a_gap(rows: list[tuple[str, bool, int]], chosen: set[int]) -> None:
    """Of a campaign that issues, whoever got an erased pass is as if refused, everybody with that
    external id; all others are as they were, at their places."""
    columns = _columns(rows, named=False)
    ids = {rows[at][0] for at in chosen if at < len(rows)}
    erased = [campaign_pass_id(CAMPAIGN, each) for each in ids]
    blanked = blank_issued(columns_to_json(columns), campaign_id=CAMPAIGN, pass_ids=erased)
    if blanked is None:
        assert not ids
        return
    after, places = columns_from_json(blanked[0]), blanked[1]
    assert places == [at for at, row in enumerate(rows) if row[0] in ids]
    for at in range(len(rows)):
        row = after.slice(at, at + 1)
        if at in places:
            assert (row.external_ids, row.values) == ([""], [None])
            assert (row.names, row.holder_ids, row.tags) == ([None], [None], [None])
        else:
            assert row == columns.slice(at, at + 1)


@given(rows=people, chosen=st.integers(1, 6))
def test_named_recipients_keep_their_pass(rows: list[tuple[str, bool, int]], chosen: int) -> None:
    """Of a campaign that changes passes, an erased pass stays named and nothing is said of it; all
    others are as they were."""
    columns = _columns(rows, named=True)
    blanked = blank_named(columns_to_json(columns), pass_ids=[UUID(int=chosen)])
    wanted = [at for at, (_, kept, number) in enumerate(rows) if kept and number + 1 == chosen]
    if blanked is None:
        assert not wanted
        return
    after = columns_from_json(blanked[0])
    assert blanked[1] == wanted
    for at in range(len(rows)):
        row = after.slice(at, at + 1)
        if at in wanted:
            assert (row.external_ids, row.values) == ([""], ["{}"])
            assert row.pass_ids == [UUID(int=chosen).hex]
            assert (row.names, row.holder_ids, row.tags) == ([None], [None], [None])
        else:
            assert row == columns.slice(at, at + 1)


def test_what_is_kept_to_take_back_says_nothing() -> None:
    """What a shard keeps of an erased pass is readable as before and holds nothing; of others it is
    the same."""
    undo = [
        PassUndo(
            external_id=f"id {at}",
            pass_id=PassId(UUID(int=at)),
            version=at,
            revision_id=RevisionId(at),
            values='{"note":"Zanzibar"}',
            name="Zanzibar",
            phone="+4947110",
            holder_ids={"crm": "4711"},
            tags=("zanzibar",),
            sets_expire_time=True,
            expire_time=NOW,
        )
        for at in (1, 2)
    ]
    blanked = blank_named(undo_to_json(undo), pass_ids=[UUID(int=2)])
    assert blanked is not None
    assert undo_from_json(blanked[0]) == [
        undo[0],
        PassUndo(
            external_id="",
            pass_id=PassId(UUID(int=2)),
            version=2,
            revision_id=RevisionId(2),
            values="{}",
        ),
    ]
    assert json.loads(blanked[0])["names"] == ["Zanzibar", None]
    assert blank_named(undo_to_json(undo), pass_ids=[UUID(int=3)]) is None
