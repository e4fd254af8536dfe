"""Which passes a segment's conditions choose: each condition typed by the slots it meets.

A stored condition does not say its type ("12.5" may be text or a decimal); the slot does, and it
may be another in another revision of the template.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from passmill.domain.balance_units import Tier
from passmill.domain.campaigns import ValueCondition
from passmill.domain.ids import RevisionId
from passmill.domain.money import Money
from passmill.domain.values import Slot, SlotType, Value, value_from_json, value_to_json
from passmill.errors import AppError, FieldError, Reason

_ORDERED: Final = frozenset({SlotType.INTEGER, SlotType.DECIMAL, SlotType.MONEY, SlotType.INSTANT})


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedCondition:
    """A condition on the slots called `slot` of one type and default, in these revisions.

    `default`: what a pass without an own value has, in its stored JSON form; None for nothing.
    `any_of` empty: any. Money at the borders is of one currency, which the value must have too.
    """

    slot: str
    type: SlotType
    default: str | None
    revision_ids: Sequence[RevisionId]
    any_of: Sequence[Value]
    at_least: Value | None
    less_than: Value | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The tiers of a program, the lowest first, and the revisions that its passes show."""

    tiers: Sequence[Tier]
    revision_ids: Sequence[RevisionId]


class MisfitCondition(ValueError):
    """A condition that no value of a slot can meet; the message says why."""


def type_conditions(
    conditions: Iterable[ValueCondition], revisions: Mapping[RevisionId, Sequence[Slot]]
) -> list[list[TypedCondition]]:
    """For each condition that says something, its readings by the slots of these revisions.

    A pass must meet one reading of each. A condition that fits no revision has none: no pass meets
    it.
    """
    return [
        _readings(condition, revisions)
        for condition in conditions
        if condition.any_of or condition.at_least or condition.less_than
    ]


def check_conditions(
    conditions: Sequence[ValueCondition], revisions: Mapping[RevisionId, Sequence[Slot]]
) -> None:
    """AppError INVALID_CAMPAIGN that names each condition which fits none of these revisions."""
    problems: list[FieldError] = []
    for index, condition in enumerate(conditions):
        slots = [s for slots in revisions.values() for s in slots if s.name == condition.slot]
        if not slots:
            message = "no published revision has a slot of this name"
            problems.append(FieldError(path=f"segment.values[{index}].slot", message=message))
            continue
        misfits: list[str] = []
        for slot in slots:
            try:
                _read(condition, slot)
            except MisfitCondition as error:
                misfits.append(str(error))
        if len(misfits) == len(slots):
            problems.append(FieldError(path=f"segment.values[{index}]", message=misfits[-1]))
    if problems:
        raise AppError(
            reason=Reason.INVALID_CAMPAIGN,
            message=f"{problems[0].path}: {problems[0].message}",
            fields=problems,
        )


def check_tiers(wanted: Sequence[str], ladders: Iterable[Ladder]) -> None:
    """AppError INVALID_CAMPAIGN that names each tier which none of these programs has."""
    known = {tier.tier for ladder in ladders for tier in ladder.tiers}
    problems = [
        FieldError(path=f"segment.tiers[{index}]", message="no program has a tier of this name")
        for index, name in enumerate(wanted)
        if name not in known
    ]
    if problems:
        raise AppError(
            reason=Reason.INVALID_CAMPAIGN,
            message=f"{problems[0].path}: {problems[0].message}",
            fields=problems,
        )


def _readings(
    condition: ValueCondition, revisions: Mapping[RevisionId, Sequence[Slot]]
) -> list[TypedCondition]:
    alike: dict[tuple[SlotType, str | None], list[RevisionId]] = {}
    slots: dict[tuple[SlotType, str | None], Slot] = {}
    for revision_id, its_slots in revisions.items():
        for slot in its_slots:
            if slot.name == condition.slot:
                key = (slot.type, _default(slot))
                alike.setdefault(key, []).append(revision_id)
                slots[key] = slot
    readings: list[TypedCondition] = []
    for key, revision_ids in alike.items():
        try:
            any_of, at_least, less_than = _read(condition, slots[key])
        except MisfitCondition:
            continue
        readings.append(
            TypedCondition(
                slot=condition.slot,
                type=key[0],
                default=key[1],
                revision_ids=revision_ids,
                any_of=any_of,
                at_least=at_least,
                less_than=less_than,
            )
        )
    return readings


def _default(slot: Slot) -> str | None:
    if slot.default_value is None:
        return None
    return json.dumps(value_to_json(slot.default_value), ensure_ascii=False)


def _read(
    condition: ValueCondition, slot: Slot
) -> tuple[Sequence[Value], Value | None, Value | None]:
    """The condition's values as the slot's. Raises MisfitCondition."""
    borders = [text for text in (condition.at_least, condition.less_than) if text]
    if borders and slot.type not in _ORDERED:
        raise MisfitCondition(f"a value of type {slot.type} is neither more nor less than another")
    any_of = [_value(slot, raw) for raw in json.loads(condition.any_of or "[]")]
    at_least = _value(slot, json.loads(condition.at_least)) if condition.at_least else None
    less_than = _value(slot, json.loads(condition.less_than)) if condition.less_than else None
    if (
        isinstance(at_least, Money)
        and isinstance(less_than, Money)
        and at_least.currency != less_than.currency
    ):
        raise MisfitCondition("amounts of different currencies cannot be compared")
    return any_of, at_least, less_than


def _value(slot: Slot, raw: object) -> Value:
    # A whole number is a decimal too: a slot may have become one in a later revision.
    if slot.type is SlotType.DECIMAL and isinstance(raw, int) and not isinstance(raw, bool):
        return Decimal(raw)
    try:
        return value_from_json(slot.type, raw)
    except (ValueError, ArithmeticError) as error:
        raise MisfitCondition(f"the slot takes values of type {slot.type}") from error
