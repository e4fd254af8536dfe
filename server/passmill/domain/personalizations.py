"""Reward sign-ups: what a device sends in, and the holder that a pass has by it.

Source: https://developer.apple.com/documentation/walletpasses/return-a-personalized-pass and the
Wallet Developer Guide on rewards enrollment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from passmill.domain.ids import PassId
from passmill.domain.passes import Holder
from passmill.domain.telephones import is_e164, without_punctuation
from passmill.domain.templates.content import PersonalizationField
from passmill.domain.values import InvalidValue, normalise_text

EMAIL: Final = "email"
POSTAL_CODE: Final = "postal_code"
COUNTRY: Final = "country"

_MAX_NAME: Final = 200
_MAX_EMAIL: Final = 128
_MAX_POSTAL_CODE: Final = 32
_MAX_EXTERNAL_IDS: Final = 8
# As the signer has it (signer_ext/crates/pkpass/src/token.rs says why): visible ASCII without
# quotes, brackets, backslash and semicolon, so that no token is a manifest in any reading of it.
_TOKEN: Final = re.compile(r"[!#-&(-:=?-Z^_a-z|~]{1,4096}")
_EMAIL_FORM: Final = re.compile(r"[^@\s]+@[^@\s]+")
_COUNTRY_FORM: Final = re.compile(r"[A-Z]{2}")


class BadSignUp(ValueError):
    """What was sent in is no sign-up; the message says why, without what it held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUp:
    """What a device sent in, as it stands there; empty where it says nothing. `token` is to be
    signed."""

    token: str = field(repr=False)
    full_name: str = field(default="", repr=False)
    given_name: str = field(default="", repr=False)
    family_name: str = field(default="", repr=False)
    email_address: str = field(default="", repr=False)
    postal_code: str = field(default="", repr=False)
    country_code: str = field(default="", repr=False)
    phone_number: str = field(default="", repr=False)


_NAMES: Final = {
    "fullName": "full_name",
    "givenName": "given_name",
    "familyName": "family_name",
    "emailAddress": "email_address",
    "postalCode": "postal_code",
    "ISOCountryCode": "country_code",
    "phoneNumber": "phone_number",
}


def parse_sign_up(body: bytes) -> SignUp:
    """A request's body, JSON in UTF-8: {"personalizationToken": …, "requiredPersonalizationInfo":
    {…}}. Raises BadSignUp, also for a token that is not to be signed."""
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise BadSignUp("the body is no JSON") from None
    if not isinstance(document, dict):
        raise BadSignUp("the body is no object")
    token = document.get("personalizationToken")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise BadSignUp("personalizationToken is none that can be signed")
    info = document.get("requiredPersonalizationInfo")
    if not isinstance(info, dict):
        raise BadSignUp("requiredPersonalizationInfo is no object")
    texts = {ours: info.get(theirs) for theirs, ours in _NAMES.items()}
    if any(not isinstance(text, str | None) for text in texts.values()):
        raise BadSignUp("requiredPersonalizationInfo holds something else than text")
    return SignUp(token=token, **{name: text or "" for name, text in texts.items()})


def sign_up_id(pass_id: PassId, sign_up: SignUp) -> UUID:
    """The id of a sign-up (UUIDv8, RFC 9562): the same one sent again has the same, any other has
    another."""
    said = [getattr(sign_up, name) for name in ("token", *_NAMES.values())]
    digest = hashlib.sha256(pass_id.bytes + json.dumps(said).encode()).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


def given_holder(sign_up: SignUp, asked_for: Collection[PersonalizationField]) -> Holder:
    """What a sign-up says of the holder, as far as it was asked for and can be kept: the rest is
    left empty, so that nobody's sign-up fails for how he writes his number."""
    name = phone = ""
    external_ids: dict[str, str] = {}
    if PersonalizationField.NAME in asked_for:
        parts = f"{sign_up.given_name} {sign_up.family_name}"
        name = _one_line(sign_up.full_name, _MAX_NAME) or _one_line(parts, _MAX_NAME)
    if PersonalizationField.PHONE_NUMBER in asked_for:
        number = without_punctuation(sign_up.phone_number)
        phone = number if is_e164(number) else ""
    if PersonalizationField.EMAIL_ADDRESS in asked_for:
        external_ids[EMAIL] = _one_line(sign_up.email_address, _MAX_EMAIL, _EMAIL_FORM)
    if PersonalizationField.POSTAL_CODE in asked_for:
        external_ids[POSTAL_CODE] = _one_line(sign_up.postal_code, _MAX_POSTAL_CODE)
        external_ids[COUNTRY] = _one_line(sign_up.country_code.upper(), 2, _COUNTRY_FORM)
    return Holder(
        name=name,
        phone=phone,
        external_ids={system: text for system, text in external_ids.items() if text},
    )


def signed_up(current: Holder, given: Holder) -> Holder:
    """The holder of a pass after the sign-up: what was given takes the place of what there was.
    Ids of other systems stay; of what is given, what then finds no room is left out."""
    external_ids = dict(current.external_ids)
    for system, text in given.external_ids.items():
        if system in external_ids or len(external_ids) < _MAX_EXTERNAL_IDS:
            external_ids[system] = text
    return replace(
        current,
        name=given.name or current.name,
        phone=given.phone or current.phone,
        external_ids=external_ids,
    )


def holder_to_json(holder: Holder) -> str:
    """A holder for storage."""
    return json.dumps([holder.name, holder.phone, dict(holder.external_ids)], ensure_ascii=False)


def holder_from_json(text: str) -> Holder:
    """What `holder_to_json` wrote. ValueError for anything else."""
    name, phone, external_ids = json.loads(text)
    if not isinstance(external_ids, Mapping):
        raise TypeError("external ids are an object")
    return Holder(name=name, phone=phone, external_ids=external_ids)


def _one_line(text: str, max_length: int, form: re.Pattern[str] | None = None) -> str:
    try:
        line = normalise_text(" ".join(text.split()), max_length=max_length)
    except InvalidValue:
        return ""
    return line if form is None or form.fullmatch(line) else ""
