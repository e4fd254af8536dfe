"""Give a pass the look of a step of its chain, and the one it had before back.

A look is values, and maybe another revision. In its own revision, what a pass cannot show is left
out, as with marks; another revision it gets whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from passmill.domain.chains import ChainStep
from passmill.domain.pass_looks import LookUndo
from passmill.domain.pass_marks import laid_over
from passmill.domain.passes import WalletPass
from passmill.domain.values import (
    InvalidValue,
    Slot,
    Value,
    admit_value,
    value_from_json,
    value_to_json,
    values_to_json,
)
from passmill.errors import AppError, Reason
from passmill.signing.revisions import LoadedRevision
from passmill.store.database import Transaction
from passmill.usecases.edit_pass import EditPass, PassInHand, PreparedEdit
from passmill.usecases.find_pass import PassRef
from passmill.usecases.mutation import Answer, Mutation
from passmill.usecases.pass_content import still_fits, stored_values

# Why no pass gets a revision any more.
_NOT_TO_BE_HAD: Final = frozenset(
    {Reason.REVISION_NOT_PUBLISHED, Reason.TEMPLATE_ARCHIVED, Reason.PROGRAM_ARCHIVED}
)

T = TypeVar("T")


class RevisionWanted(Exception):
    """The edit was not prepared for the revision that the pass is to have: the transaction is
    undone, and all to be done again with this one."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class LookUnfit(Exception):
    """The pass cannot get the revision, which is gone or does not fit its values: it is to keep its
    own, for a step is a step, whatever the pass can show."""


async def edit_into(
    edit_pass: EditPass,
    mutation: Mutation[T],
    ref: PassRef,
    work: Callable[[Transaction, PassInHand], Awaitable[T]],
    *,
    revision: int | None,
    kind: str,
) -> Answer:
    """As EditPass; raises LookUnfit where the revision is not to be had any more."""
    try:
        return await edit_pass(mutation, ref, work, revision=revision, kind=kind)
    except AppError as error:
        if revision is None or error.reason not in _NOT_TO_BE_HAD:
            raise
        raise LookUnfit from error


def require_revision(in_hand: PassInHand, number: int) -> None:
    """Raises RevisionWanted unless the edit leads to the revision; 0 is the one the pass has."""
    number = number or in_hand.prepared.before.revision.number
    if number != in_hand.prepared.after.revision.number:
        raise RevisionWanted(number)


def dressed(
    current: WalletPass, step: ChainStep, prepared: PreparedEdit
) -> tuple[WalletPass, LookUndo]:
    """The pass after the step, in the revision that the edit leads to, and what takes that back.
    Raises LookUnfit when it is another revision than its own."""
    before, after = prepared.before, prepared.after
    is_moved = before.revision.revision_id != after.revision.revision_id
    if is_moved:
        altered = _moved(current, step.next_values, before, after)
    else:
        values = laid_over(
            json.loads(current.slot_values),
            _admitted(after, step.next_values),
            still_fits(after, current),
        )
        altered = _with_values(current, values)
    undo = LookUndo(
        slots=_differences(current, altered),
        revision=before.revision.number if is_moved else None,
    )
    return altered, undo


def undressed(current: WalletPass, undo: LookUndo, prepared: PreparedEdit) -> WalletPass:
    """The pass as before the step, in the revision that the edit leads to; what somebody has
    changed since stays as they changed it. Raises LookUnfit as `dressed`."""
    before, after = prepared.before, prepared.after
    slots = {slot.name: slot for slot in after.content.slots}
    values: dict[str, object] = json.loads(current.slot_values)
    back = {name: was for name, (was, became) in undo.slots.items() if values.get(name) == became}
    if before.revision.revision_id == after.revision.revision_id:
        for name, was in back.items():
            if was is None:
                values.pop(name, None)
            elif name in slots:
                values[name] = was
        return _with_values(current, values)
    gone = {name for name, was in back.items() if was is None}
    kept = {name: value for name, value in values.items() if name not in gone}
    restored = {
        name: value_from_json(slots[name].type, was)
        for name, was in back.items()
        if was is not None and name in slots
    }
    return _moved(_with_values(current, kept), restored, before, after)


def _moved(
    current: WalletPass,
    overlaid: Mapping[str, Value],
    before: LoadedRevision,
    after: LoadedRevision,
) -> WalletPass:
    # What the revision before knows and the next does not is given up with its slot.
    names = {slot.name for slot in after.content.slots}
    values = {**stored_values(before, current), **overlaid}
    checked = after.rules.check(
        {name: value for name, value in values.items() if name in names},
        holder_name=current.holder.name,
        holder_phone=current.holder.phone,
    )
    if checked.violations:
        raise LookUnfit
    return replace(current, slot_values=values_to_json(checked.values))


def _admitted(loaded: LoadedRevision, values: Mapping[str, Value]) -> dict[str, object]:
    slots = {slot.name: slot for slot in loaded.content.slots}
    stored = {name: _stored(slots[name], value) for name, value in values.items() if name in slots}
    return {name: value for name, value in stored.items() if value is not None}


def _stored(slot: Slot, value: Value) -> object | None:
    try:
        return value_to_json(admit_value(slot, value))
    except InvalidValue:
        return None


def _differences(before: WalletPass, after: WalletPass) -> dict[str, tuple[object, object]]:
    old: dict[str, object] = json.loads(before.slot_values)
    new: dict[str, object] = json.loads(after.slot_values)
    return {
        name: (old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def _with_values(current: WalletPass, values: Mapping[str, object]) -> WalletPass:
    # As `values_to_json` writes them.
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return replace(current, slot_values=text)
