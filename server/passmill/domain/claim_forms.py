"""What whoever claims a pass is asked for, and what they answer."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from passmill.domain.telephones import read_number
from passmill.domain.values import InvalidValue, normalise_text
from passmill.errors import FieldError

EMAIL_SYSTEM: Final = "email"
"""The system under which a holder's e-mail address is an external id."""

_MAX_NAME: Final = 200
_MAX_EMAIL: Final = 128
_EMAIL_FORM: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")

NEEDED: Final = "is needed"
NO_NUMBER: Final = "is no telephone number"
NO_NUMBER_WITH_CODE: Final = "is no telephone number, with country code"
NO_ADDRESS: Final = "is no e-mail address"


class FieldKind(enum.StrEnum):
    """What is asked for. Stored as its text."""

    NAME = "name"
    PHONE = "phone"
    EMAIL = "email"
    SLOT = "slot"
    CONSENT = "consent"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimField:
    """One thing asked for. `name`: of the slot or consent; `label`: what stands beside it."""

    kind: FieldKind
    name: str = ""
    label: str = ""
    is_required: bool = False

    @property
    def path(self) -> str:
        """Where its answer is, and what is wrong with that: `phone`, `values["drink"]`,
        `consents["newsletter"]`."""
        match self.kind:
            case FieldKind.SLOT:
                return f'values["{self.name}"]'
            case FieldKind.CONSENT:
                return f'consents["{self.name}"]'
            case FieldKind.NAME | FieldKind.PHONE | FieldKind.EMAIL:
                return self.kind.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimAnswers:
    """What somebody filled in; empty where nothing. `values`: texts by slot; `consents`: the names
    of those given."""

    name: str = field(default="", repr=False)
    phone: str = field(default="", repr=False)
    email: str = field(default="", repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    consents: Sequence[str] = ()


def admit_answers(
    fields: Iterable[ClaimField], given: ClaimAnswers, *, region: str
) -> tuple[ClaimAnswers, list[FieldError]]:
    """The answers to keep, and what is wrong with them, by the fields' paths. What was not asked
    for is left out. `region`: the country of numbers without country code, or ''.

    A slot's text is looked at where the slot is known.
    """
    problems: list[FieldError] = []
    texts: dict[FieldKind, str] = {}
    values: dict[str, str] = {}
    consents: list[str] = []
    for each in fields:
        problem = ""
        match each.kind:
            case FieldKind.CONSENT:
                is_given = each.name in given.consents
                if is_given:
                    consents.append(each.name)
            case FieldKind.SLOT:
                text = given.values.get(each.name, "").strip()
                is_given = bool(text)
                if text:
                    values[each.name] = text
            case FieldKind.NAME | FieldKind.PHONE | FieldKind.EMAIL:
                text, problem = _admit_text(each.kind, given, region)
                is_given = bool(text) or bool(problem)
                texts[each.kind] = text
        if each.is_required and not is_given:
            problem = NEEDED
        if problem:
            problems.append(FieldError(path=each.path, message=problem))
    admitted = ClaimAnswers(
        name=texts.get(FieldKind.NAME, ""),
        phone=texts.get(FieldKind.PHONE, ""),
        email=texts.get(FieldKind.EMAIL, ""),
        values=values,
        consents=tuple(consents),
    )
    return admitted, problems


def _admit_text(kind: FieldKind, given: ClaimAnswers, region: str) -> tuple[str, str]:
    """The text to keep, or what is wrong with it."""
    if kind is FieldKind.PHONE:
        number = read_number(given.phone, region=region)
        if number is None:
            return "", NO_NUMBER if region else NO_NUMBER_WITH_CODE
        return number, ""
    is_name = kind is FieldKind.NAME
    text = " ".join((given.name if is_name else given.email).split())
    try:
        text = normalise_text(text, max_length=_MAX_NAME if is_name else _MAX_EMAIL)
    except InvalidValue as error:
        return "", str(error)
    if text and not is_name and not _EMAIL_FORM.fullmatch(text):
        return "", NO_ADDRESS
    return text, ""


def persons_of(fields: Iterable[ClaimField], answers: ClaimAnswers) -> list[str]:
    """By what somebody is known again, each by itself: the number, then the address, as far as they
    are required and given. What may be left out would make somebody another person at will."""
    required = {each.kind for each in fields if each.is_required}
    persons = []
    if answers.phone and FieldKind.PHONE in required:
        persons.append(f"phone:{answers.phone}")
    if answers.email and FieldKind.EMAIL in required:
        persons.append(f"email:{answers.email.casefold()}")
    return persons


def fields_to_json(fields: Iterable[ClaimField]) -> str:
    """Fields for storage."""
    rows = [[each.kind.value, each.name, each.label, each.is_required] for each in fields]
    return json.dumps(rows, ensure_ascii=False)


def fields_from_json(text: str) -> tuple[ClaimField, ...]:
    """What `fields_to_json` wrote."""
    return tuple(
        ClaimField(kind=FieldKind(kind), name=name, label=label, is_required=is_required)
        for kind, name, label, is_required in json.loads(text)
    )


def answers_to_json(answers: ClaimAnswers) -> str:
    """Answers for storage."""
    row = [answers.name, answers.phone, answers.email, dict(answers.values), list(answers.consents)]
    return json.dumps(row, ensure_ascii=False)


def answers_from_json(text: str) -> ClaimAnswers:
    """What `answers_to_json` wrote."""
    name, phone, email, values, consents = json.loads(text)
    return ClaimAnswers(name=name, phone=phone, email=email, values=values, consents=consents)
