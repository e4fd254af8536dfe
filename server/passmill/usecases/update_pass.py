"""Change an issued pass: its holder, its values, its expiry, the revision it shows."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from passmill.domain.passes import Holder, PassDraft, WalletPass
from passmill.domain.values import Value
from passmill.errors import FieldError
from passmill.signing.revisions import LoadedRevision
from passmill.usecases.change_pass import ChangePass, PassChange
from passmill.usecases.find_pass import PassRef
from passmill.usecases.issue_passes import IssuedPass
from passmill.usecases.mutation import Answer, Mutation
from passmill.usecases.pass_content import check_draft, not_the_ledgers, stored_values


@dataclass(frozen=True, slots=True, kw_only=True)
class PassPatch:
    """What shall be different. None leaves a part as it is.

    `all_values` replaces the values whole; `some_values` sets single ones, and where it holds None
    the slot goes back to its default. `expire_time` counts only if `sets_expire_time`. `problems`:
    of values that could not even be read.
    """

    holder_name: str | None = None
    holder_phone: str | None = None
    external_ids: Mapping[str, str] | None = None
    all_values: Mapping[str, Value] | None = None
    some_values: Mapping[str, Value | None] = field(default_factory=dict)
    sets_expire_time: bool = False
    expire_time: datetime | None = None
    revision: int | None = None
    tags: tuple[str, ...] | None = None
    problems: tuple[FieldError, ...] = ()


class UpdatePass:
    """Applies a patch to a pass."""

    def __init__(self, *, change_pass: ChangePass) -> None:
        self._change_pass = change_pass

    async def __call__(
        self, mutation: Mutation[IssuedPass], *, ref: PassRef, etag: str, patch: PassPatch
    ) -> Answer:
        """The answer with the pass as it is now. AppError as ChangePass; PASS_ERASED when its
        holder was erased; INVALID_VALUES names the fields that do not fit, as in `wallet_pass` of
        the request."""

        def alter(
            current: WalletPass,
            before: LoadedRevision,
            after: LoadedRevision,
            ledger_slots: Set[str],
        ) -> WalletPass:
            current.require_not_erased()
            return _patched(current, before, after, patch, ledger_slots)

        return await self._change_pass(
            mutation,
            PassChange(
                ref=ref, etag=etag, event="pass.updated", alter=alter, revision=patch.revision
            ),
        )


def _patched(
    current: WalletPass,
    before: LoadedRevision,
    after: LoadedRevision,
    patch: PassPatch,
    ledger_slots: Set[str],
) -> WalletPass:
    holder = current.holder
    own = stored_values(before, current)
    given = {**(patch.all_values or {}), **patch.some_values}
    slots = {slot.name for slot in after.content.slots}
    problems = [
        FieldError(path=f'values["{name:.64}"]', message="the template has no slot of this name")
        for name, value in patch.some_values.items()
        if value is None and name not in slots
    ]
    checked = check_draft(
        after,
        PassDraft(
            holder=Holder(
                name=holder.name if patch.holder_name is None else patch.holder_name,
                phone=holder.phone if patch.holder_phone is None else patch.holder_phone,
                external_ids=holder.external_ids
                if patch.external_ids is None
                else patch.external_ids,
            ),
            values=_new_values(own, slots, patch, ledger_slots),
            expire_time=None,
            problems=(
                *patch.problems,
                *problems,
                *not_the_ledgers(own, given, ledger_slots & slots),
            ),
        ),
        path="wallet_pass",
    )
    return replace(
        current,
        holder=checked.holder,
        slot_values=checked.slot_values,
        expire_time=patch.expire_time if patch.sets_expire_time else current.expire_time,
        tags=current.tags if patch.tags is None else patch.tags,
    )


def _new_values(
    own: Mapping[str, Value], slots: Set[str], patch: PassPatch, ledger_slots: Set[str]
) -> Mapping[str, Value]:
    if patch.all_values is not None:
        # What is the ledger's stays also when all else is given anew.
        kept = {name: value for name, value in own.items() if name in ledger_slots & slots}
        values = {**kept, **patch.all_values}
    else:
        # What the present revision knows and the next does not is given up with its slot.
        values = {name: value for name, value in own.items() if name in slots}
    for name, value in patch.some_values.items():
        if value is None:
            values.pop(name, None)
        else:
            values[name] = value
    return values
