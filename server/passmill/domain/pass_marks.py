"""How a pass shows that an offer was used, and how that is taken back. Pure: values in the stored
form in, values in the stored form out; whether they fit the template its rules say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from passmill.domain.offers import Offer, OfferId
from passmill.domain.passes import PassState, WalletPass
from passmill.domain.redemptions import MarkUndo
from passmill.domain.values import (
    InvalidValue,
    Slot,
    SlotType,
    Value,
    admit_value,
    value_to_json,
)

_BY_USE: Final = re.compile(r"offer [0-9a-f-]{36} used up")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A pass with its mark. `undo`: what it showed before it was used up, None when it is not."""

    wallet_pass: WalletPass
    undo: MarkUndo | None


def void_reason(offer_id: OfferId) -> str:
    """Why a pass is void that its use made so."""
    return f"offer {offer_id} used up"


def is_voided_by_use(wallet_pass: WalletPass) -> bool:
    """Whether it is void because of a use, and good again once that is taken back."""
    return wallet_pass.state is PassState.VOIDED and bool(
        _BY_USE.fullmatch(wallet_pass.void_reason or "")
    )


def marked(
    current: WalletPass,
    offer: Offer,
    slots: Iterable[Slot],
    *,
    uses: int,
    fits: Callable[[Mapping[str, object]], bool],
) -> Marked:
    """The pass after an offer was used so often. Slots that its revision does not have, and values
    that are not of their type or break a barcode, are left out: a use is a use, whatever the pass
    can show. `fits`: whether a pass with these values, in their stored form, keeps the rules."""
    by_name = {slot.name: slot for slot in slots}
    values: dict[str, object] = json.loads(current.slot_values)
    counted = dict(values)
    _count(counted, offer.mark.uses_slot, by_name, uses)
    if fits(counted):
        values = counted
    if not offer.is_used_up(uses):
        return Marked(wallet_pass=_with_values(current, values), undo=None)
    wanted = {
        name: after
        for name, value in offer.mark.used_up_values.items()
        if name in by_name and (after := _stored(by_name[name], value)) is not None
    }
    shown = laid_over(values, wanted, fits)
    changed = {
        name: (values.get(name), after)
        for name, after in wanted.items()
        if shown.get(name) == after
    }
    altered = _with_values(current, shown)
    is_voided = offer.mark.void_when_used_up and current.state is PassState.ACTIVE
    if is_voided:
        altered = altered.voided(void_reason(offer.offer_id))
    return Marked(wallet_pass=altered, undo=MarkUndo(slots=changed, is_voided=is_voided))


def laid_over(
    values: Mapping[str, object],
    wanted: Mapping[str, object],
    fits: Callable[[Mapping[str, object]], bool],
) -> dict[str, object]:
    """The values, in their stored form, with those wanted in their places: with all of them, or
    where that does not fit, with each that does."""
    if fits(together := {**values, **wanted}):
        return together
    shown = dict(values)
    for name, value in wanted.items():
        if fits({**shown, name: value}):
            shown[name] = value
    return shown


def unmarked(
    current: WalletPass,
    offer: Offer,
    slots: Iterable[Slot],
    *,
    uses: int,
    undo: MarkUndo | None,
) -> WalletPass:
    """The pass after a use was taken back, so that the offer is used so often. What somebody has
    changed since stays as they changed it."""
    by_name = {slot.name: slot for slot in slots}
    values: dict[str, object] = json.loads(current.slot_values)
    _count(values, offer.mark.uses_slot, by_name, uses)
    if undo is None or offer.is_used_up(uses):
        return _with_values(current, values)
    for name, (before, after) in undo.slots.items():
        if values.get(name) != after:
            continue
        if before is None:
            del values[name]
        elif name in by_name:
            values[name] = before
    altered = _with_values(current, values)
    is_ours = altered.void_reason == void_reason(offer.offer_id)
    if undo.is_voided and altered.state is PassState.VOIDED and is_ours:
        return altered.reinstated()
    return altered


def _count(values: dict[str, object], name: str, by_name: Mapping[str, Slot], uses: int) -> None:
    slot = by_name.get(name)
    if slot is not None and slot.type is SlotType.INTEGER:
        values[name] = uses


def _stored(slot: Slot, value: Value) -> object | None:
    try:
        return value_to_json(admit_value(slot, value))
    except InvalidValue:
        return None


def _with_values(current: WalletPass, values: Mapping[str, object]) -> WalletPass:
    # As `values_to_json` writes them.
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return replace(current, slot_values=text)
