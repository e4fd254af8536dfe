"""What a change of a pass is made of: merged values, what takes it back, and what shows."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.apple.field_changes import compare_fields
from passmill.domain.campaigns import ValueCondition
from passmill.domain.ids import PassId, RevisionId, SigningIdentityId
from passmill.domain.merging import merge_values
from passmill.domain.money import Money
from passmill.domain.pass_undo import PassUndo, undo_from_json, undo_of, undo_to_json
from passmill.domain.passes import Holder, PassState, WalletPass
from passmill.domain.recipients import columns_from_json
from passmill.domain.reference_ids import ReferenceNumber
from passmill.domain.segments import check_conditions, type_conditions
from passmill.domain.values import Slot, SlotType
from passmill.errors import AppError

NAMES = st.sampled_from("abcdef")
VALUES = st.dictionaries(NAMES, st.integers(0, 9))
TEXTS = st.text(max_size=8)
TIMES = st.integers(0, 1 << 32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
HOLDERS = st.builds(
    Holder, name=TEXTS, phone=TEXTS, external_ids=st.dictionaries(TEXTS, TEXTS, max_size=2)
)


@st.composite
def wallet_passes(draw: st.DrawFn) -> WalletPass:
    """A pass with some content."""
    return WalletPass(
        pass_id=PassId(UUID(int=5)),
        revision_id=RevisionId(draw(st.integers(1, 3))),
        signing_identity_id=SigningIdentityId(1),
        reference_number=ReferenceNumber(1),
        create_time=datetime(2026, 1, 1, tzinfo=UTC),
        signing_time=datetime(2026, 1, 1, tzinfo=UTC),
        expire_time=draw(st.none() | TIMES),
        version=draw(st.integers(1, 9)),
        token_generation=0,
        state=PassState.ACTIVE,
        holder=draw(HOLDERS),
        slot_values=json.dumps(draw(VALUES)),
        void_reason="",
        digest=b"",
        signature=None,
    )


@given(own=VALUES, slots=st.sets(NAMES), given_=VALUES)
def test_a_merge_keeps_what_was_set(
    own: dict[str, int], slots: set[str], given_: dict[str, int]
) -> None:
    """Whatever is set by the campaign wins; of the rest a pass keeps its own values whose slots
    are still there, and nothing else appears: defaults stay the template's."""
    merged = merge_values(own, slots, given_)
    for name in own.keys() | slots | given_.keys():
        if name in given_:
            assert merged[name] == given_[name]
        elif name in own and name in slots:
            assert merged[name] == own[name]
        else:
            assert name not in merged


@given(before=wallet_passes(), after=wallet_passes(), external_id=TEXTS)
def test_an_undo_brings_back_what_was(
    before: WalletPass, after: WalletPass, external_id: str
) -> None:
    """From any pass to any other and back: revision, values, holder and expiry are as before, also
    after the undo was stored; its chunk reads as recipients as well."""
    text = undo_to_json([undo_of(before, after, external_id=external_id)])
    [undo] = undo_from_json(text)
    restored = undo.restored(after)
    for part in ("revision_id", "slot_values", "holder", "expire_time"):
        assert getattr(restored, part) == getattr(before, part)
    for part in ("version", "state", "signing_time", "token_generation"):
        assert getattr(restored, part) == getattr(after, part)
    assert (undo.version, undo.external_id) == (after.version, external_id)
    columns = columns_from_json(text)
    assert (columns.pass_ids, columns.external_ids) == ([before.pass_id.hex], [external_id])


def test_an_undo_holds_only_what_changed() -> None:
    """A holder and expiry that a change left alone are not kept, so that a later change of them
    would not be taken back with it."""
    undo = PassUndo(
        external_id="",
        pass_id=PassId(UUID(int=1)),
        version=2,
        revision_id=RevisionId(1),
        values="{}",
    )
    stored = json.loads(undo_to_json([undo]))
    assert [stored[name] for name in ("names", "phones", "holder_ids", "expire_times")] == [
        None
    ] * 4


def shown(*fields: Mapping[str, object], position: str = "backFields") -> bytes:
    """A pass.json with these fields."""
    return json.dumps({"storeCard": {position: list(fields)}}).encode()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"value": "new"}, "Now new, new"),
        ({"value": 1250}, "Now 1250, 1250"),
        ({"value": 12.5, "currencyCode": "EUR"}, "Now 12.50 EUR, 12.50 EUR"),
        ({"value": 1250, "currencyCode": "JPY"}, "Now 1250 JPY, 1250 JPY"),
        ({"value": 0.25, "numberStyle": "PKNumberStylePercent"}, "Now 25%, 25%"),
        (
            {"value": "2027-03-01T18:30:00+01:00", "dateStyle": "PKDateStyleShort"},
            "Now 2027-03-01, 2027-03-01",
        ),
        (
            {
                "value": "2027-03-01T18:30:00+01:00",
                "dateStyle": "PKDateStyleNone",
                "timeStyle": "PKDateStyleShort",
            },
            "Now 18:30, 18:30",
        ),
        ({"value": "%@"}, "Now %@, %@"),
    ],
)
def test_a_lock_screen_message_holds_the_new_value(field: dict[str, object], message: str) -> None:
    """A field whose value changed tells it by its change message, %@ replaced each time, the value
    written plainly by its kind."""
    old = {"key": "k", "value": "old"}
    new = {"key": "k", "changeMessage": "Now %@, %@", **field}
    [change] = compare_fields(shown(old), shown(new))
    assert (change.key, change.lock_screen_message) == ("k", message)


def test_fields_that_come_go_and_move() -> None:
    """Fields that are the same are no change, wherever they stand; new ones tell, gone ones and new
    labels do not."""
    same = {"key": "same", "value": 1}
    before = shown(
        same, {"key": "gone", "value": "x", "changeMessage": "%@"}, {"key": "l", "value": 2}
    )
    after = shown(
        {"key": "new", "value": "y", "changeMessage": "New: %@"},
        {"key": "l", "value": 2, "label": "L", "changeMessage": "%@"},
        same,
    )
    changes = [(each.key, each.lock_screen_message) for each in compare_fields(before, after)]
    assert changes == [("new", "New: y"), ("l", ""), ("gone", "")]
    moved = shown(same, position="headerFields")
    assert compare_fields(shown(same), moved) == []


POINTS = Slot(name="points", type=SlotType.INTEGER, default_value=3)
TIER = Slot(name="tier", type=SlotType.TEXT)
BALANCE = Slot(name="balance", type=SlotType.MONEY)
EUR, USD = (json.dumps([Money(minor_units=1, currency=c).minor_units, c]) for c in ("EUR", "USD"))


@pytest.mark.parametrize(
    ("condition", "path"),
    [
        (ValueCondition(slot="nothing", any_of="[1]"), "segment.values[1].slot"),
        (ValueCondition(slot="tier", at_least='"a"'), "segment.values[1]"),
        (ValueCondition(slot="tier", any_of="[1]"), "segment.values[1]"),
        (ValueCondition(slot="points", less_than='"a"'), "segment.values[1]"),
        (ValueCondition(slot="points", any_of="[true]"), "segment.values[1]"),
        (ValueCondition(slot="balance", at_least=EUR, less_than=USD), "segment.values[1]"),
        (ValueCondition(slot="balance", any_of="[1]"), "segment.values[1]"),
    ],
)
def test_conditions_that_nothing_meets_are_refused(condition: ValueCondition, path: str) -> None:
    """A condition on a slot that no revision has, of another type, or that orders what has no
    order, is refused by its place."""
    good = ValueCondition(slot="points", at_least="1")
    with pytest.raises(AppError, match="INVALID_CAMPAIGN") as refusal:
        check_conditions([good, condition], {RevisionId(1): [POINTS, TIER, BALANCE]})
    assert [each.path for each in refusal.value.fields] == [path]


def test_a_condition_is_read_by_each_revision() -> None:
    """Revisions whose slot is alike are read together; one where the condition does not fit, and
    one without the slot, have no reading."""
    text = Slot(name="points", type=SlotType.TEXT)
    decimal = Slot(name="points", type=SlotType.DECIMAL)
    revisions = {
        RevisionId(1): [POINTS],
        RevisionId(2): [POINTS, TIER],
        RevisionId(3): [text],
        RevisionId(4): [decimal],
        RevisionId(5): [TIER],
    }
    conditions = [ValueCondition(slot="points", at_least="4"), ValueCondition(slot="points")]
    check_conditions(conditions, revisions)
    [readings] = type_conditions(conditions, revisions)
    assert [(each.type, each.default, list(each.revision_ids)) for each in readings] == [
        (SlotType.INTEGER, "3", [1, 2]),
        (SlotType.DECIMAL, None, [4]),
    ]
