"""Values of any kind: each makes a correct pass, or is refused by the name of its field."""

import unicodedata
from dataclasses import replace
from decimal import Decimal

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passmill.domain.money import Money
from passmill.domain.templates import Field, FieldPosition, Slot, SlotType
from passmill.domain.values import Value as DomainValue
from passmill.v1.template_pb2 import Instant, Value
from passmill.v1.template_pb2 import Money as ProtoMoney
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft
from tests.support.bundles import pass_json, verify
from tests.support.refusals import refused
from tests.support.service import Club, Service, authority, update_request
from tests.support.small_card import NOTE_LENGTH, SINCE, draft, small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

MAX_NAME = 200
OF_EACH_TYPE: dict[str, DomainValue] = {
    "points": 7,
    "tier": "Gold",
    "note": "Hello",
    "balance": Money(minor_units=1250, currency="EUR"),
    "discount": Decimal("0.150"),
    "since": SINCE,
    "is_founder": True,
    "offers": "https://example.com/offers?for=you",
}
SHOWN_TEXTS = {
    "a quote": 'Ask for "Łukasz" \\ at the bar',
    "right to left": "مرحبا بكم \u2067שבת\u2069",
    "emoji": "👩‍👩‍👧‍👦 ☕ 🇺🇦 e\u0301",
    "markup": "<a href='x'>&amp; %@ {points} ${x} </script>",
    "lines": "one\ntwo\n\nfour",
    "a placeholder's look": "{holder.name}{{}}",
    "astral": "𝒵𝓸ë 𠜎",
    "separators": "a\u2028b\u2029c\u00a0d",
    "its limit": "x" * NOTE_LENGTH,
}
REFUSED_TEXTS = {
    "a null": "a\x00b",
    "a bell": "a\ab",
    "a tab": "a\tb",
    "an escape": "\x1b[31m",
    "an override": "a\u202eb",
    "an open isolate": "a\u2067b",
    "a byte order mark": "\ufeffa",
    "a control of Latin-1": "a\x85b",
    "one more than its limit": "x" * (NOTE_LENGTH + 1),
    "a megabyte": "x" * (1 << 20),
    "a megabyte of combining marks": "e" + "\u0301" * (1 << 19),
}


def back_field(document: dict[str, object], key: str) -> object:
    """What a field on the back shows."""
    generic = document["generic"]
    assert isinstance(generic, dict)
    [shown] = [each["value"] for each in generic["backFields"] if each["key"] == key]
    return shown


async def refusal_fields(club: Club, wanted: PassDraft) -> dict[str, str]:
    """The fields that an issue is refused for, by name."""
    refusal = await refused(club.passes.IssuePass(club.issue_request(wanted)))
    assert refusal.reason == "INVALID_VALUES"
    assert next(iter(refusal.fields)) in refusal.message
    assert await club.tenant.count("passes") == 0
    return refusal.fields


@pytest.mark.parametrize("text", SHOWN_TEXTS.values(), ids=list(SHOWN_TEXTS))
async def test_text_is_shown_as_it_is(rowing_club: Club, text: str) -> None:
    """Text of any script, with quotes, markup or braces, is answered and shown unchanged (in NFC),
    in slots and in the holder's name."""
    issued = await rowing_club.get(await rowing_club.issue(draft(text[:MAX_NAME], note=text)))
    wanted = unicodedata.normalize("NFC", text)
    assert issued.values["note"].text == wanted
    document = verify(await rowing_club.bundle(issued), authority())
    assert back_field(document, "note") == wanted
    [name] = document["generic"]["primaryFields"]
    assert name["value"] == issued.holder.name == wanted[:MAX_NAME]


@pytest.mark.parametrize("text", REFUSED_TEXTS.values(), ids=list(REFUSED_TEXTS))
async def test_text_that_no_pass_may_hold_is_refused(rowing_club: Club, text: str) -> None:
    """Control characters, overrides and text over the slot's limit are refused by the slot's name;
    nothing is cut off."""
    assert set(await refusal_fields(rowing_club, draft(note=text))) == {'draft.values["note"]'}


async def test_a_pass_too_large_to_sign_is_refused(service: Service) -> None:
    """Values that make a pass of more than two mebibytes are refused by the longest one's name, in
    issues, dry runs and changes, and nothing is written."""
    card = small_card(Slot(name="story", type=SlotType.TEXT, max_length=10_000))
    texts = [
        Field(key=f"{slot}{at}", position=FieldPosition.BACK, value=f"{{{slot}}}" * 10)
        for slot in ("note", "story")
        for at in range(40)
    ]
    club = await service.add_club(replace(card, fields=(*card.fields, *texts)))
    for slot, length in (("note", NOTE_LENGTH), ("story", 10_000)):
        wanted = draft()
        wanted.values[slot].CopyFrom(value("☕" * length))
        assert set(await refusal_fields(club, wanted)) == {f'draft.values["{slot}"]'}
        dry_run = club.issue_request(wanted, validate_only=True)
        refusal = await refused(club.passes.IssuePass(dry_run))
        assert set(refusal.fields) == {f'draft.values["{slot}"]'}
    issued = await club.issue(draft(note="short"))
    too_long = Pass(values={"note": value("☕" * NOTE_LENGTH)})
    request = update_request(issued, "values.note", wanted=too_long)
    refusal = await refused(club.passes.UpdatePass(request))
    assert set(refusal.fields) == {'wallet_pass.values["note"]'}
    assert (await club.get(issued)).values["note"].text == "short"


@pytest.mark.parametrize("name", ["a\x00b", "\u202eAda", "A\nB\x7f"])
async def test_a_name_that_no_pass_may_hold_is_refused(rowing_club: Club, name: str) -> None:
    """The holder's name has the same rules."""
    assert set(await refusal_fields(rowing_club, draft(name))) == {"draft.holder.name"}


@pytest.mark.parametrize("slot", OF_EACH_TYPE)
async def test_a_value_of_another_type_is_refused(rowing_club: Club, slot: str) -> None:
    """A slot takes its own type alone; text and addresses are both sent as text."""
    for kind, other in OF_EACH_TYPE.items():
        if type(other) is type(OF_EACH_TYPE[slot]):
            continue
        wanted = draft()
        wanted.values[slot].CopyFrom(value(other))
        assert set(await refusal_fields(rowing_club, wanted)) == {f'draft.values["{slot}"]'}, kind
    await rowing_club.issue(draft(**OF_EACH_TYPE))  # type: ignore[arg-type]


async def test_every_bad_field_is_named(rowing_club: Club) -> None:
    """One refusal names everything that does not fit: an unknown slot, a missing one, a wrong one
    and the telephone number."""
    wanted = PassDraft(
        holder=Holder(phone="call me"),
        values={"nothing": value("x"), "balance": value(1), "offers": value("http://example.com")},
    )
    assert set(await refusal_fields(rowing_club, wanted)) == {
        'draft.values["nothing"]',
        'draft.values["points"]',
        'draft.values["balance"]',
        'draft.values["offers"]',
        "draft.holder.phone",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        Value(decimal="1e5"),
        Value(decimal="NaN"),
        Value(decimal=""),
        Value(decimal="٣"),
        Value(money=ProtoMoney(minor_units=1, currency_code="XQQ")),
        Value(instant=Instant(at=Timestamp(seconds=1 << 50))),
        Value(instant=Instant(at=Timestamp(seconds=253_402_300_799), utc_offset_minutes=60)),
        Value(instant=Instant(at=Timestamp(seconds=-62_135_596_800), utc_offset_minutes=-60)),
        Value(instant=Instant(at=Timestamp(nanos=5))),
    ],
    ids=lambda wrong: str(wrong).replace("\n", " "),
)
async def test_an_unreadable_value_is_refused(rowing_club: Club, wrong: Value) -> None:
    """A number, currency or time that is none is refused by its slot's name."""
    slot = {"decimal": "discount", "money": "balance", "instant": "since"}
    name = slot[str(wrong.WhichOneof("kind"))]
    wanted = draft()
    wanted.values[name].CopyFrom(wrong)
    [field] = await refusal_fields(rowing_club, wanted)
    assert field.startswith(f'draft.values["{name}"]')


async def test_an_absent_value_is_its_default(rowing_club: Club) -> None:
    """A slot left out, or sent as empty text, shows its default; without one its field is not
    shown."""
    issued = await rowing_club.get(await rowing_club.issue(draft(tier="", note="")))
    assert dict(issued.values) == {"points": value(7)}
    document = pass_json(await rowing_club.bundle(issued))
    assert [each["key"] for each in document["generic"]["backFields"]] == ["tier"]
    assert back_field(document, "tier") == "Silver"


async def test_any_text_is_shown_or_refused(rowing_club: Club) -> None:
    """Property: whatever the text, the answer is a pass that shows it in NFC, or a refusal that
    names the slot; never a failure of the service."""
    drafts: list[PassDraft] = []

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)
    @given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
    def collect(text: str) -> None:
        drafts.append(draft(note=text))

    collect()
    results = (await rowing_club.passes.BatchIssuePasses(rowing_club.batch_request(drafts))).results
    outcomes = {each.WhichOneof("outcome") for each in results}
    assert outcomes == {"wallet_pass", "error"}
    for wanted, result in zip(drafts, results, strict=True):
        text = wanted.values["note"].text
        if result.HasField("error"):
            assert 'values["note"]' in result.error.message
            continue
        shown = pass_json(await rowing_club.bundle(result.wallet_pass))
        keys = {each["key"] for each in shown["generic"]["backFields"]}
        assert ("note" in keys) == bool(text)
        if text:
            assert back_field(shown, "note") == unicodedata.normalize("NFC", text)
