"""What devices send in when somebody signs up, and the holder that comes of it."""

import json
from typing import Any
from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.ids import PassId, new_uuid
from passmill.domain.passes import Holder
from passmill.domain.personalizations import (
    BadSignUp,
    SignUp,
    given_holder,
    holder_from_json,
    holder_to_json,
    parse_sign_up,
    sign_up_id,
    signed_up,
)
from passmill.domain.templates import PersonalizationField

_TOKEN = "dG9rZW4="
_ALL = frozenset(PersonalizationField)
_INFO = {
    "fullName": "Zoë Ōtani",
    "givenName": "Zoë",
    "familyName": "Ōtani",
    "emailAddress": "zoe@club.example",
    "postalCode": "8004",
    "ISOCountryCode": "CH",
    "phoneNumber": "+41 44 668 18 00",
}
_TEXTS = st.text(max_size=40)


def _body(info: Any = _INFO, *, token: Any = _TOKEN) -> bytes:
    sent = {"personalizationToken": token, "requiredPersonalizationInfo": info}
    return json.dumps(sent).encode()


def test_a_whole_sign_up_is_taken() -> None:
    """What a device sends with every field becomes name, number and ids of the holder."""
    holder = given_holder(parse_sign_up(_body()), _ALL)
    assert holder == Holder(
        name="Zoë Ōtani",
        phone="+41446681800",
        external_ids={"email": "zoe@club.example", "postal_code": "8004", "country": "CH"},
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 10_000,
        b'{"personalizationToken":' + b"1" * 5_000 + b"}",
        _body(token=None),
        _body(token=7),
        _body(token=""),
        _body(token="a" * 4097),
        _body(token='{"pass.json":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}'),
        _body(token="token\n"),
        _body(token="tökén"),
        _body(info=None),
        _body(info=["fullName"]),
        _body(info={"fullName": 7}),
        _body(info={"emailAddress": {"a": "b"}}),
    ],
)
def test_what_is_no_sign_up_is_refused(body: bytes) -> None:
    """Anything but the two members of the right kind, and a token that might be a manifest, is
    refused without its content being told."""
    with pytest.raises(BadSignUp) as caught:
        parse_sign_up(body)
    assert "da39" not in str(caught.value)


@given(
    body=st.binary(max_size=200)
    | st.builds(_body, token=_TEXTS, info=st.dictionaries(_TEXTS, _TEXTS))
)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    """No body makes anything but a sign-up or a refusal."""
    try:
        sign_up = parse_sign_up(body)
    except BadSignUp:
        return
    assert sign_up.token.isascii()


@given(
    texts=st.fixed_dictionaries(dict.fromkeys(_INFO, _TEXTS)),
    asked_for=st.sets(st.sampled_from(PersonalizationField)),
)
def test_only_what_was_asked_for_is_kept(
    texts: dict[str, str], asked_for: set[PersonalizationField]
) -> None:
    """Whatever was sent, the holder has nothing that the form did not ask for, and all of it is
    what a pass can hold; it survives storage."""
    holder = given_holder(parse_sign_up(_body(info=texts)), asked_for)
    allowed = {
        PersonalizationField.EMAIL_ADDRESS: {"email"},
        PersonalizationField.POSTAL_CODE: {"postal_code", "country"},
    }
    names = set[str]().union(*(allowed.get(each, set()) for each in asked_for))
    assert holder.external_ids.keys() <= names
    assert not holder.name or PersonalizationField.NAME in asked_for
    assert not holder.phone or PersonalizationField.PHONE_NUMBER in asked_for
    for text in (holder.name, *holder.external_ids.values()):
        assert "\n" not in text
        assert len(text) <= 200
    assert holder_from_json(holder_to_json(holder)) == holder


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("+1 (408) 555-0123", "+14085550123"),
        ("+4930.901820", "+4930901820"),
        ("(408) 555-0123", ""),
        ("0049 30 901820", ""),
        ("+1", ""),
        ("+49 30 CALL", ""),
    ],
)
def test_numbers_without_country_are_left_out(number: str, kept: str) -> None:
    """A telephone number is kept in E.164, and not at all where its country is not known."""
    sign_up = SignUp(token="t", phone_number=number)
    assert given_holder(sign_up, {PersonalizationField.PHONE_NUMBER}).phone == kept


@pytest.mark.parametrize(
    ("sign_up", "name"),
    [
        (SignUp(token="t", full_name="  Ada \n Lovelace "), "Ada Lovelace"),
        (SignUp(token="t", given_name="Ada", family_name="Lovelace"), "Ada Lovelace"),
        (SignUp(token="t", full_name="\u202eAda", given_name="Ada"), "Ada"),
        (SignUp(token="t", full_name="x" * 201), ""),
    ],
)
def test_a_name_is_one_line(sign_up: SignUp, name: str) -> None:
    """The name is one line without what no pass may hold; of two parts where it is not whole."""
    assert given_holder(sign_up, {PersonalizationField.NAME}).name == name


def test_what_was_known_stays_unless_it_was_given() -> None:
    """A sign-up replaces what it gives and leaves the rest, also ids of other systems; of those
    there are never more than eight."""
    current = Holder(name="N", phone="+14085550123", external_ids={"crm": "7", "email": "old@x"})
    given = Holder(name="Ada", external_ids={"email": "a@b"})
    assert signed_up(current, given) == Holder(
        name="Ada", phone="+14085550123", external_ids={"crm": "7", "email": "a@b"}
    )
    full = Holder(external_ids={f"s{at}": "x" for at in range(8)})
    assert signed_up(full, given).external_ids == full.external_ids


def test_the_same_sign_up_has_the_same_id() -> None:
    """The id is that of pass, token and answers: any other of them gives another, a repetition the
    same."""
    pass_id, other = PassId(new_uuid()), PassId(new_uuid())
    sign_up = parse_sign_up(_body())
    ids = {
        sign_up_id(pass_id, sign_up),
        sign_up_id(pass_id, parse_sign_up(_body())),
        sign_up_id(other, sign_up),
        sign_up_id(pass_id, parse_sign_up(_body(token="other"))),
        sign_up_id(pass_id, parse_sign_up(_body(info={**_INFO, "fullName": "Ada"}))),
    }
    assert len(ids) == 4
    assert {(each.version, each.variant) for each in ids} == {(8, RFC_4122)}


def test_a_sign_up_shows_nothing_of_itself() -> None:
    """Neither token nor answers get into a log by their repr."""
    assert repr(parse_sign_up(_body())) == "SignUp()"
