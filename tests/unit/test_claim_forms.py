"""What is taken of a claim form, and what is kept."""

import hmac
import string
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.claim_forms import (
    ClaimAnswers,
    ClaimField,
    FieldKind,
    admit_answers,
    answers_from_json,
    answers_to_json,
    fields_from_json,
    fields_to_json,
    persons_of,
)
from passmill.domain.claims import ClaimId, ClaimLink, ClaimLinkId, ClaimPersons, KnownHolder
from passmill.domain.ids import TemplateId, TenantId
from passmill.domain.telephones import is_e164, read_number
from passmill.store.claims import ClaimPayload

KINDS = st.sampled_from(FieldKind)
NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=5)


@st.composite
def claim_fields(draw: st.DrawFn) -> tuple[ClaimField, ...]:
    """A form, each thing once."""
    fields = {}
    for kind in draw(st.lists(KINDS, max_size=6)):
        is_named = kind in (FieldKind.SLOT, FieldKind.CONSENT)
        one = ClaimField(
            kind=kind,
            name=draw(NAMES) if is_named else "",
            label=draw(st.text(max_size=10)),
            is_required=draw(st.booleans()),
        )
        fields[one.path] = one
    return tuple(fields.values())


ANSWERS = st.builds(
    ClaimAnswers,
    name=st.text(max_size=250),
    phone=st.one_of(st.text(max_size=20), st.from_regex(r"\+?[0-9 ]{3,18}", fullmatch=True)),
    email=st.one_of(st.text(max_size=20), st.emails()),
    values=st.dictionaries(NAMES, st.text(max_size=20)),
    consents=st.lists(NAMES, max_size=5).map(tuple),
)


@given(claim_fields(), ANSWERS, st.sampled_from(["", "CH", "US"]))
def test_only_what_was_asked_for_is_kept(
    fields: tuple[ClaimField, ...], answers: ClaimAnswers, region: str
) -> None:
    """Nothing that was not asked for is kept; numbers are in E.164; what is required is there or
    named; and what was kept is kept again, the same."""
    kept, problems = admit_answers(fields, answers, region=region)
    by_path = {each.path: each for each in fields}
    assert {problem.path for problem in problems} <= set(by_path)
    asked = {each.kind for each in fields}
    for kind in (FieldKind.NAME, FieldKind.PHONE, FieldKind.EMAIL):
        assert kind in asked or not getattr(kept, kind.value)
    assert {f'values["{name}"]' for name in kept.values} <= set(by_path)
    assert {f'consents["{name}"]' for name in kept.consents} <= set(by_path)
    assert not kept.phone or is_e164(kept.phone)
    wrong = {problem.path for problem in problems}
    for each in fields:
        if each.is_required and each.path not in wrong:
            match each.kind:
                case FieldKind.SLOT:
                    assert kept.values[each.name]
                case FieldKind.CONSENT:
                    assert each.name in kept.consents
                case FieldKind.NAME | FieldKind.PHONE | FieldKind.EMAIL:
                    assert getattr(kept, each.kind.value)
    if not problems:
        assert admit_answers(fields, kept, region=region) == (kept, [])


@given(claim_fields(), ANSWERS)
def test_forms_are_stored_whole(fields: tuple[ClaimField, ...], answers: ClaimAnswers) -> None:
    """What is stored of a form and of its answers is read again as it was."""
    assert fields_from_json(fields_to_json(fields)) == fields
    again = answers_from_json(answers_to_json(answers))
    assert (again.name, again.phone, again.email) == (answers.name, answers.phone, answers.email)
    assert (dict(again.values), tuple(again.consents)) == (answers.values, answers.consents)


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("", "", ""),
        ("  ", "CH", ""),
        ("044 668 18 00", "CH", "+41446681800"),
        ("044 668 18 00", "", None),
        ("+41 (0)44 668-18-00", "", "+41446681800"),
        ("0041446681800", "CH", "+41446681800"),
        ("(206) 555-0123", "US", "+12065550123"),
        ("+1 206 555 0123 ext. 4", "", None),
        ("+٤١٤٤٦٦٨١٨٠٠", "", "+41446681800"),
        ("12", "CH", None),
        ("hello", "CH", None),
        ("+999 123", "", None),
        ("+" + "1" * 60, "", None),
    ],
)
def test_numbers_as_people_write_them(text: str, region: str, number: str | None) -> None:
    """Numbers in their usual spellings come to one; what is none, or has an extension, to none."""
    assert read_number(text, region=region) == number


def test_people_are_known_by_what_they_must_give() -> None:
    """The number and the address tell who it is, in whatever case, each where it is required."""
    phone, email = (
        ClaimField(kind=kind, is_required=True) for kind in (FieldKind.PHONE, FieldKind.EMAIL)
    )
    may = ClaimField(kind=FieldKind.PHONE)
    given = ClaimAnswers(phone="+41446681800", email="A@B.c")
    assert persons_of([phone, email], given) == ["phone:+41446681800", "email:a@b.c"]
    assert persons_of([may, email], given) == ["email:a@b.c"]
    assert persons_of([phone], ClaimAnswers(name="Ada", email="A@B.c")) == []


def test_persons_are_known_by_a_hash() -> None:
    """A person's hash is the one computed by hand (HKDF of RFC 5869, then HMAC): those in the
    database are to be found again. Nothing shows the key."""
    edge_key = bytes(range(32))
    link = ClaimLink(
        link_id=ClaimLinkId(UUID("01890a5d-ac96-774b-bcce-b302099a8057")),
        template_id=TemplateId(UUID(int=1)),
        revision_number=0,
        pass_id=None,
        known=KnownHolder(),
        fields=(ClaimField(kind=FieldKind.EMAIL, is_required=True),),
        default_region="",
        max_uses=None,
        uses=0,
        once_per_person=True,
        expire_time=None,
        revoke_time=None,
        campaign_id=None,
        source="",
        utm={},
        create_time=datetime(2026, 11, 22, tzinfo=UTC),
    )
    extracted = hmac.digest(bytes(32), edge_key, "sha256")
    key = hmac.digest(extracted, b"passmill/claim-person\x01", "sha256")
    message = b"7/" + link.link_id.bytes + b"/email:zo\xc3\xab@a.b"
    persons = ClaimPersons(edge_key)
    found = persons.of(TenantId(7), link, ClaimAnswers(email="Zoë@a.b"))
    assert found == (hmac.digest(key, message, "sha256"),)
    assert repr(persons) == "ClaimPersons(…)"


def test_a_job_names_its_claim() -> None:
    """What the queue keeps of a claim comes back whole, and the log names tenant and claim."""
    claim_id = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    payload = ClaimPayload(tenant_id=TenantId(7), claim_id=ClaimId(claim_id))
    assert ClaimPayload.decode(payload.encode()) == payload
    assert payload.log_fields() == {"tenant_id": "7", "claim_id": str(claim_id)}
