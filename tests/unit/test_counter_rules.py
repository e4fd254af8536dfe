"""The rules of the counter, without a service: states, marks, demands, rates, codes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.counter_policies import CounterPolicy, DemandRule, StaffDemand
from passmill.domain.ids import (
    PassId,
    ProgramId,
    RevisionId,
    SigningIdentityId,
    TemplateId,
    derived_uuid,
)
from passmill.domain.offers import Offer, OfferId, OfferMark, OfferState, UnitAmount, mark_from_json
from passmill.domain.offline_scans import OfflineOutcome, outcome_of
from passmill.domain.pass_marks import marked, unmarked, void_reason
from passmill.domain.passes import Holder, PassState, WalletPass
from passmill.domain.rates import Rates
from passmill.domain.redemptions import OfferUses
from passmill.domain.reference_ids import ReferenceNumber
from passmill.domain.scanners import new_scanner_code, scanner_code_hash
from passmill.domain.scans import (
    PassFacts,
    RefusalReason,
    ScanState,
    Standing,
    refusal_of_offer,
    state_of,
)
from passmill.domain.values import Slot, SlotType, Value, values_to_json
from passmill.domain.venues import VenueId
from passmill.v1 import scan_pb2
from passmill.v1.scan_service_pb2 import OfflineScanResult

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PROGRAM, TEMPLATE = ProgramId(UUID(int=1)), TemplateId(UUID(int=2))
HERE, THERE = VenueId(UUID(int=3)), VenueId(UUID(int=4))
SLOTS = (
    Slot(name="count", type=SlotType.INTEGER),
    Slot(name="note", type=SlotType.TEXT),
    Slot(name="tier", type=SlotType.TEXT, default_value="Silver"),
)
_times = st.none() | st.integers(-2, 2).map(lambda hours: NOON + timedelta(hours=hours))


def offer(**changes: object) -> Offer:
    """A coupon of the template, good everywhere for ever."""
    made = Offer(
        offer_id=OfferId(UUID(int=9)),
        program_id=PROGRAM,
        template_id=TEMPLATE,
        display_name="Coffee",
        max_uses=1,
        cost=None,
        worth=None,
        valid_from=None,
        valid_until=None,
        venue_ids=(),
        tiers=(),
        attention="",
        mark=OfferMark(),
        state=OfferState.ACTIVE,
        version=1,
        create_time=NOON,
        update_time=NOON,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def whatever(_: Mapping[str, object]) -> bool:
    """What a template has to say that takes all."""
    return True


def facts(**changes: object) -> PassFacts:
    """An active pass of the template that never ends."""
    made = PassFacts(
        program_id=PROGRAM,
        template_id=TEMPLATE,
        state=PassState.ACTIVE,
        expires_at=None,
        tier="",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def wallet_pass(**values: Value) -> WalletPass:
    """A pass with these values."""
    return WalletPass(
        pass_id=PassId(UUID(int=5)),
        revision_id=RevisionId(1),
        signing_identity_id=SigningIdentityId(1),
        reference_number=ReferenceNumber(1),
        create_time=NOON,
        signing_time=NOON,
        expire_time=None,
        version=1,
        token_generation=0,
        state=PassState.ACTIVE,
        holder=Holder(),
        slot_values=values_to_json(values),
        void_reason="",
        digest=b"",
        signature=None,
    )


_offers = st.builds(
    offer,
    offer_id=st.builds(uuid4),
    template_id=st.sampled_from([None, TEMPLATE, TemplateId(UUID(int=8))]),
    max_uses=st.integers(0, 2),
    valid_from=_times,
    valid_until=_times,
    venue_ids=st.sampled_from([(), (HERE,), (THERE,)]),
    tiers=st.sampled_from([(), ("Gold",)]),
    state=st.sampled_from(OfferState),
    mark=st.builds(OfferMark, void_when_used_up=st.booleans()),
)
_facts = st.builds(
    facts, state=st.sampled_from(PassState), expires_at=_times, tier=st.sampled_from(["", "Gold"])
)
_uses = st.integers(0, 2).map(lambda uses: OfferUses(uses=uses))


def test_names_are_the_protocols() -> None:
    """States, reasons and outcomes have the protocol's names, each of them and no other."""
    for ours, theirs, prefix in (
        (ScanState, scan_pb2.ScanState, "SCAN_STATE_"),
        (RefusalReason, scan_pb2.RefusalReason, "REFUSAL_REASON_"),
        (OfflineOutcome, OfflineScanResult.Outcome, "OUTCOME_"),
    ):
        assert [f"{prefix}{each.name}" for each in ours] == list(theirs.keys())[1:]


def test_an_offer_of_a_venue_is_had_there() -> None:
    """Where it belongs an offer is had, and neither elsewhere nor where nobody knows where."""
    made, of = offer(venue_ids=(HERE,)), facts()
    refusals = [
        refusal_of_offer(made, OfferUses(), of, venue_id=venue_id, at=NOON)
        for venue_id in (HERE, THERE, None)
    ]
    assert refusals == [None, RefusalReason.WRONG_VENUE, RefusalReason.WRONG_VENUE]


@given(_offers, _uses, _facts, st.sampled_from([None, HERE, THERE]))
def test_what_can_be_had_breaks_no_rule(
    made: Offer, uses: OfferUses, of: PassFacts, venue_id: VenueId | None
) -> None:
    """An offer can be had exactly when each of its conditions holds, said here one by one."""
    holds = (
        made.state is OfferState.ACTIVE
        and of.state is PassState.ACTIVE
        and made.template_id in (None, of.template_id)
        and (made.max_uses == 0 or uses.uses < made.max_uses)
        and (of.expires_at is None or of.expires_at > NOON)
        and (made.valid_from is None or made.valid_from <= NOON)
        and (made.valid_until is None or made.valid_until > NOON)
        and (not made.venue_ids or venue_id in made.venue_ids)
        and (not made.tiers or of.tier in made.tiers)
    )
    refusal = refusal_of_offer(made, uses, of, venue_id=venue_id, at=NOON)
    assert (refusal is None) == holds


@given(st.lists(st.tuples(_offers, _uses), max_size=4), _facts)
def test_the_state_agrees_with_the_offers(
    drawn: list[tuple[Offer, OfferUses]], of: PassFacts
) -> None:
    """A pass is valid when something it stands for can be had, or when it stands for nothing and is
    neither voided nor over; a voided one is never valid, and what is for all passes of the program
    says nothing of one."""
    standings = [
        Standing(
            offer=made, uses=uses, refusal=refusal_of_offer(made, uses, of, venue_id=HERE, at=NOON)
        )
        for made, uses in drawn
    ]
    own = [each for each in standings if each.offer.template_id == of.template_id]
    state = state_of(of, standings, at=NOON)
    assert state == state_of(of, own, at=NOON)
    is_over = of.expires_at is not None and of.expires_at <= NOON
    if of.state is PassState.VOIDED:
        assert state in (ScanState.VOIDED, ScanState.USED_UP)
    elif is_over:
        assert state is ScanState.EXPIRED
    elif not own or any(each.refusal is None for each in own):
        assert state is ScanState.VALID


@given(
    st.dictionaries(st.sampled_from(["note", "tier"]), st.text("abc", max_size=3)),
    st.dictionaries(st.sampled_from(["note", "tier", "none"]), st.text("abc", max_size=3)),
    st.booleans(),
    st.sampled_from(["", "count", "note", "none"]),
)
def test_a_mark_is_taken_back(
    own: dict[str, str], used: dict[str, str], voids: bool, counted: str
) -> None:
    """Marking and taking back gives the pass as it was, but for the count, whatever the mark names;
    a mark goes through its stored form."""
    mark = OfferMark(uses_slot=counted, used_up_values=used, void_when_used_up=voids)
    made = offer(mark=mark_from_json(mark.to_json()))
    before = wallet_pass(count=0, **own)
    after = marked(before, made, SLOTS, uses=1, fits=whatever)
    assert after.undo is not None
    assert (after.wallet_pass.state is PassState.VOIDED) == voids
    shown = json.loads(after.wallet_pass.slot_values)
    assert all(shown[name] == text for name, text in used.items() if name != "none")
    assert unmarked(after.wallet_pass, made, SLOTS, uses=0, undo=after.undo) == before


def test_what_does_not_fit_is_left_out() -> None:
    """Of a mark that the pass cannot take whole, all that it can take is shown, and that alone is
    taken back; a count that does not fit is not shown."""
    mark = OfferMark(uses_slot="count", used_up_values={"note": "used", "tier": "Ü"})
    made, before = offer(mark=mark), wallet_pass(note="hello", tier="a")
    after = marked(
        before,
        made,
        SLOTS,
        uses=1,
        fits=lambda values: values.get("tier") == "a" and "count" not in values,
    )
    assert after.wallet_pass == wallet_pass(note="used", tier="a")
    assert after.undo is not None
    assert after.undo.slots == {"note": ("hello", "used")}


def test_a_use_that_is_not_the_last_only_counts() -> None:
    """As long as the offer is not used up the count alone changes."""
    mark = OfferMark(uses_slot="count", used_up_values={"note": "used"}, void_when_used_up=True)
    made = offer(max_uses=3, mark=mark)
    after = marked(wallet_pass(note="hello"), made, SLOTS, uses=2, fits=whatever)
    assert after.undo is None
    assert after.wallet_pass == wallet_pass(note="hello", count=2)


def test_a_pass_that_somebody_else_voided_stays_void() -> None:
    """Only the void that the use made is undone."""
    made = offer(mark=OfferMark(void_when_used_up=True))
    after = marked(wallet_pass(), made, SLOTS, uses=1, fits=whatever)
    assert after.wallet_pass.void_reason == void_reason(made.offer_id)
    stolen = replace(after.wallet_pass, void_reason="stolen")
    assert unmarked(stolen, made, SLOTS, uses=0, undo=after.undo) == stolen


def test_demands_go_by_value() -> None:
    """A demand is made from its amount on, in its unit alone; one without an amount always."""
    policy = CounterPolicy(
        program_id=PROGRAM,
        demands=(
            DemandRule(demand=StaffDemand.ASK_FOR_ID, at_least=UnitAmount(unit="EUR", amount=50)),
            DemandRule(demand=StaffDemand.LOOK_AT_PHOTO, at_least=None),
        ),
    )
    look, ask = StaffDemand.LOOK_AT_PHOTO, StaffDemand.ASK_FOR_ID
    assert policy.demanded([None]) == [look]
    assert policy.demanded([UnitAmount(unit="EUR", amount=49)]) == [look]
    assert policy.demanded([UnitAmount(unit="points", amount=50)]) == [look]
    assert policy.demanded([None, UnitAmount(unit="EUR", amount=50)]) == [look, ask]


@given(st.integers(1, 5), st.integers(1, 4), st.lists(st.integers(0, 3), max_size=30))
def test_no_key_gets_more_than_its_rate(burst: int, per_second: int, pauses: list[int]) -> None:
    """Over any time from the start no more is let in than the burst and what the rate adds."""
    now = [0.0]
    rates = Rates(per_second=per_second, burst=burst, capacity=10, monotonic=lambda: now[0])
    let_in = 0
    for pause in pauses:
        now[0] += pause
        for _ in range(3):
            if rates.wait("key") == 0.0:
                rates.charge("key")
                let_in += 1
    assert let_in <= burst + now[0] * per_second + 1e-6
    assert rates.wait("another") == 0.0


def test_rates_forget_the_oldest() -> None:
    """Of more keys than there is room for those charged longest ago begin anew."""
    rates = Rates(per_second=1, burst=1, capacity=2, monotonic=lambda: 0.0)
    for key in ("a", "b", "c"):
        rates.charge(key)
    assert [rates.wait(key) > 0 for key in ("a", "b", "c")] == [False, True, True]


def test_codes_in_any_spelling() -> None:
    """A code is known in small letters, without its hyphen, with O for 0; another is another."""
    codes = {new_scanner_code() for _ in range(200)}
    assert len(codes) == 200
    for code in codes:
        typed = code.replace("-", " ").lower().replace("0", "o").replace("1", "l")
        assert scanner_code_hash(typed) == scanner_code_hash(code)
    assert len({scanner_code_hash(code) for code in codes}) == 200
    assert scanner_code_hash("K7M3-Q8T") is None
    assert scanner_code_hash("U" * 8) is None


@pytest.mark.parametrize("reason", list(RefusalReason))
def test_what_happened_offline_conflicts_or_cannot_be(reason: RefusalReason) -> None:
    """Each reason makes a scan a conflict or refused, none accepts it."""
    assert outcome_of(reason) in (OfflineOutcome.CONFLICT, OfflineOutcome.REFUSED)
    assert outcome_of(None) is OfflineOutcome.ACCEPTED


def test_derived_ids() -> None:
    """The same text gives the same UUID of version 8, another another."""
    assert derived_uuid("a") == derived_uuid("a") != derived_uuid("b")
    assert derived_uuid("a").version == 8
