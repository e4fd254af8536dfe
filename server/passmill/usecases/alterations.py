"""What campaigns do to one pass: as it shall be, from what it is. The same for a shard and for a
preview."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from passmill.domain.campaigns import NotifyAction, UpdateAction
from passmill.domain.ids import RevisionId
from passmill.domain.merging import merge_values
from passmill.domain.passes import Holder, PassState, WalletPass
from passmill.domain.templates import tells_changes
from passmill.domain.values import Slot, SlotType, Value, values_from_json, values_to_json
from passmill.errors import AppError, FieldError, Reason, etag_mismatch
from passmill.signing.revisions import LoadedRevision
from passmill.store.passes import ListedPass
from passmill.usecases.pass_content import invalid_values, not_the_ledgers, stored_values
from passmill.usecases.shard_targets import Target

Revisions: TypeAlias = Mapping[RevisionId, LoadedRevision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """A pass as it shall be, in the revision it shall show, and its values as that reads them."""

    wallet_pass: WalletPass
    values: Mapping[str, Value]


# From a target, its pass and the revisions that these show and shall show; None when there is
# nothing to change. AppError when this pass cannot be changed so.
Alter: TypeAlias = Callable[[Target, ListedPass, Revisions], Alteration | None]


def altered_by_update(action: UpdateAction, after: LoadedRevision, ledger_slots: Set[str]) -> Alter:
    """Moves a pass to `after` and sets the action's values and the recipient's own. What it shows
    of the ledger, in `ledger_slots`, it keeps. AppError NOT_FOUND for a pass of another template,
    PASS_ERASED, PASS_VOIDED, INVALID_VALUES, also for another value in such a slot."""
    slots = {slot.name for slot in after.content.slots}
    given = values_from_json(after.content.slots, action.values)

    def alter(target: Target, listed: ListedPass, revisions: Revisions) -> Alteration | None:
        current = listed.wallet_pass
        _require_changeable(listed, action.revision.template_id)
        own = stored_values(revisions[current.revision_id], current)
        wanted = given
        if target.values != "{}":
            wanted = {**given, **values_from_json(after.content.slots, target.values)}
        if wrong := not_the_ledgers(own, wanted, ledger_slots):
            raise invalid_values(wrong)
        return _checked(
            after,
            current,
            own=own,
            values=merge_values(own, slots, wanted),
            holder=_holder(current.holder, target),
            expire_time=current.expire_time
            if target.expire_time is None
            else datetime.fromisoformat(target.expire_time),
            tags=current.tags if target.tags is None else tuple(json.loads(target.tags)),
        )

    return alter


def altered_by_notice(action: NotifyAction, ledger_slots: Set[str]) -> Alter:
    """Sets one text slot of a pass, in the revision it shows. AppError NOT_FOUND for a pass of
    another template, PASS_ERASED, PASS_VOIDED, INVALID_VALUES when no lock screen would show the
    message: the pass's revision cannot, the ledger is shown there, or the message is no news."""
    slots: dict[RevisionId, Slot] = {}

    def alter(_: Target, listed: ListedPass, revisions: Revisions) -> Alteration | None:
        current = listed.wallet_pass
        _require_changeable(listed, action.revision.template_id)
        loaded = revisions[current.revision_id]
        slot = slots.get(current.revision_id)
        if slot is None:  # once for all passes that show this revision
            slot = slots[current.revision_id] = _telling_slot(loaded, action.slot)
        own = stored_values(loaded, current)
        if wrong := not_the_ledgers(own, {action.slot: action.message}, ledger_slots):
            raise invalid_values(wrong)
        if own.get(action.slot, slot.default_value) == action.message:
            raise _untold(action.slot, "the pass shows this already, so no phone would tell of it")
        values = {**own, action.slot: action.message}
        return _checked(
            loaded,
            current,
            own=own,
            values=values,
            holder=current.holder,
            expire_time=current.expire_time,
            tags=current.tags,
        )

    return alter


def _telling_slot(loaded: LoadedRevision, name: str) -> Slot:
    slot = next((each for each in loaded.content.slots if each.name == name), None)
    shown = f"revision {loaded.revision.number}, which the pass shows, has no"
    if slot is None or slot.type is not SlotType.TEXT:
        raise _untold(name, f"{shown} text slot of this name")
    if not tells_changes(loaded.content, name):
        raise _untold(name, f"{shown} field with a change message for this slot")
    return slot


def _untold(slot_name: str, message: str) -> AppError:
    return invalid_values([FieldError(path=f'values["{slot_name:.64}"]', message=message)])


def altered_by_voiding(reason: str) -> Alter:
    """Makes a pass unusable; one that is already stays as it is, with its first reason."""

    def alter(_: Target, listed: ListedPass, revisions: Revisions) -> Alteration | None:
        current = listed.wallet_pass
        if current.state is PassState.VOIDED:
            return None
        values = stored_values(revisions[current.revision_id], current)
        return Alteration(wallet_pass=current.voided(reason), values=values)

    return alter


def altered_by_roll_back() -> Alter:
    """Makes a pass what it was before a campaign changed it, if nobody changed it since. AppError
    PASS_ERASED, ETAG_MISMATCH, PASS_VOIDED."""

    def alter(target: Target, listed: ListedPass, revisions: Revisions) -> Alteration | None:
        current = listed.wallet_pass
        undo = target.undo
        if undo is None:
            raise ValueError("A roll-back knows what each pass was.")
        current.require_not_erased()
        if current.version != undo.version:
            raise etag_mismatch("pass")
        _require_usable(current)
        restored = undo.restored(current)
        values = stored_values(revisions[restored.revision_id], restored)
        return Alteration(wallet_pass=restored, values=values)

    return alter


def _require_changeable(listed: ListedPass, template_id: object) -> None:
    if listed.template_id != template_id:
        raise AppError(reason=Reason.NOT_FOUND, message="The pass is of another template.")
    _require_usable(listed.wallet_pass)


def _require_usable(wallet_pass: WalletPass) -> None:
    wallet_pass.require_not_erased()
    if wallet_pass.state is PassState.VOIDED:
        raise AppError(reason=Reason.PASS_VOIDED, message="The pass is voided.")


def _checked(
    loaded: LoadedRevision,
    current: WalletPass,
    *,
    own: Mapping[str, Value],
    values: Mapping[str, Value],
    holder: Holder,
    expire_time: datetime | None,
    tags: tuple[str, ...],
) -> Alteration | None:
    """The pass in this revision with the values that it admits; None when nothing is different."""
    checked = loaded.rules.check(values, holder_name=holder.name, holder_phone=holder.phone)
    if checked.violations:
        raise invalid_values(list(checked.violations))
    revision_id = loaded.revision.revision_id
    # As they are written: 1.5 and 1.50 are one number, but not one text on a pass.
    slot_values = values_to_json(checked.values)
    if (
        slot_values == values_to_json(own)
        and revision_id == current.revision_id
        and holder == current.holder
        and expire_time == current.expire_time
        and tags == current.tags
    ):
        return None
    altered = replace(
        current,
        revision_id=revision_id,
        slot_values=slot_values,
        holder=holder,
        expire_time=expire_time,
        tags=tags,
    )
    return Alteration(wallet_pass=altered, values=checked.values)


def _holder(holder: Holder, target: Target) -> Holder:
    if target.name is None and target.phone is None and target.holder_ids is None:
        return holder
    return Holder(
        name=holder.name if target.name is None else target.name,
        phone=holder.phone if target.phone is None else target.phone,
        external_ids=holder.external_ids
        if target.holder_ids is None
        else json.loads(target.holder_ids),
    )
