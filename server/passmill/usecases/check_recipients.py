"""Check recipients when they are loaded, so that what a worker finds can be served as it stands.

Half a million of them come in a minute: no look-up, no exception and no await for one that is
sound, and all references of a chunk are looked up at once by whoever calls this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias, assert_never
from uuid import UUID

from passmill.domain.apple import PassData, encode_pass_data
from passmill.domain.campaigns import (
    CampaignAction,
    Failure,
    FailureKind,
    IssueAction,
    NotifyAction,
    UpdateAction,
    VoidAction,
)
from passmill.domain.ids import PassId, SerialNumbers, parse_uuid
from passmill.domain.passes import Holder, PassDraft
from passmill.domain.recipients import RecipientColumns
from passmill.domain.reference_ids import ReferenceNumber, parse_reference_id
from passmill.domain.templates.placeholders import BARCODE
from passmill.domain.templates.value_rules import sample_texts
from passmill.errors import AppError, FieldError, Reason
from passmill.signing.revisions import LoadedRevision
from passmill.usecases.find_pass import PassRef
from passmill.usecases.pass_content import CheckedDraft, check_draft, size_refused

# Values of more characters than this may make a pass too large: a trial tells. What it misses, of a
# template that repeats a short text thousands of times, fails when it is signed.
_LARGE_VALUES: Final = 1_000
_MAX_EXTERNAL_ID: Final = 128
_MAX_SYSTEMS: Final = 8
_MAX_MESSAGE: Final = 500
_MAX_FIELDS: Final = 20
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_SYSTEM: Final = re.compile("[a-z][a-z0-9_]{0,31}")
_DRAFT: Final = "draft"

# Which pass: by its id, or by its reference number.
PassKey: TypeAlias = PassId | ReferenceNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRow:
    """One recipient as sent. None: that part was left out."""

    external_id: str
    ref: PassRef | None
    draft: PassDraft | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A recipient that was refused; `index`: its place in the chunk. It keeps its place."""

    index: int
    external_id: str
    reason: Reason
    message: str
    fields: Sequence[str]

    def as_failure(self, *, row_offset: int) -> Failure:
        """How it is kept."""
        return Failure(
            row_offset=row_offset,
            kind=FailureKind.INVALID,
            external_id=self.external_id,
            reason=self.reason,
            message=self.message,
        )


@dataclass(slots=True, kw_only=True)
class _Columns:
    external_ids: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    phones: list[str | None] = field(default_factory=list)
    expire_times: list[str | None] = field(default_factory=list)
    holder_ids: list[str | None] = field(default_factory=list)
    values: list[str | None] = field(default_factory=list)
    tags: list[str | None] = field(default_factory=list)
    keys: list[PassKey | None] = field(default_factory=list)


class RecipientChecks:
    """Checks the recipients of one chunk, one after the other, and collects what is kept."""

    def __init__(
        self,
        *,
        action: CampaignAction,
        loaded: LoadedRevision | None,
        serial_numbers: SerialNumbers,
    ) -> None:
        """`loaded`: the action's revision, with issue and update."""
        self._action = action
        self._loaded = loaded
        self._serial_numbers = serial_numbers
        self._columns = _Columns()
        self._refused: list[RefusedRow] = []

    def add(self, row: RecipientRow) -> None:
        """Checks the next recipient."""
        problems = _external_id_problems(row.external_id)
        match self._action:
            case IssueAction():
                if row.ref is not None:
                    problems.append(_problem("ref", "goes with update, void and notify alone"))
                self._add_draft(row, None, row.draft or _EMPTY_DRAFT, problems)
            case UpdateAction():
                key = self._key(row, problems)
                self._add_draft(row, key, row.draft or _EMPTY_DRAFT, problems, partial=True)
            case VoidAction() | NotifyAction():
                key = self._key(row, problems)
                if row.draft is not None:
                    problems.append(_problem(_DRAFT, "goes with issue and update alone"))
                if problems:
                    self._refuse(row.external_id, Reason.INVALID_FIELD, problems)
                else:
                    self._keep(row.external_id, key, _NOTHING, None, partial=True)
            case _:
                assert_never(self._action)

    @property
    def sought(self) -> tuple[list[PassId], list[ReferenceNumber]]:
        """The passes that recipients name: those by id, and those by reference number."""
        keys = self._columns.keys
        return (
            [key for key in keys if isinstance(key, UUID)],
            [key for key in keys if isinstance(key, int)],
        )

    def finish(
        self, found: dict[PassId, ReferenceNumber]
    ) -> tuple[RecipientColumns, list[RefusedRow]]:
        """What is kept of the chunk, and those of it that were refused, in order. `found`: the
        passes there are among those `sought`."""
        columns = self._columns
        pass_ids: dict[PassKey, str] = {}
        for pass_id, reference in found.items():
            pass_ids[pass_id] = pass_ids[reference] = pass_id.hex
        named: list[str | None] = [None] * len(columns.keys)
        for index, key in enumerate(columns.keys):
            if key is None:
                continue
            named[index] = pass_ids.get(key)
            if named[index] is None:
                self._refused.append(
                    RefusedRow(
                        index=index,
                        external_id=columns.external_ids[index],
                        reason=Reason.NOT_FOUND,
                        message="ref: No pass with this id.",
                        fields=("ref",),
                    )
                )
                self._blank(index)
        self._refused.sort(key=lambda each: each.index)
        return (
            RecipientColumns(
                external_ids=columns.external_ids,
                names=columns.names,
                phones=columns.phones,
                expire_times=columns.expire_times,
                holder_ids=columns.holder_ids,
                values=columns.values,
                pass_ids=named,
                tags=columns.tags,
            ),
            self._refused,
        )

    def _add_draft(
        self,
        row: RecipientRow,
        key: PassKey | None,
        draft: PassDraft,
        problems: list[FieldError],
        *,
        partial: bool = False,
    ) -> None:
        if self._loaded is None:
            raise ValueError("Drafts are checked against a revision.")
        reason = Reason.INVALID_FIELD
        problems += _holder_problems(draft.holder)
        try:
            checked = check_draft(self._loaded, draft, path=_DRAFT, partial=partial)
            if len(checked.slot_values) > _LARGE_VALUES and not partial:
                _require_size(self._loaded, checked, draft.expire_time)
        except AppError as error:
            reason = error.reason if not problems else reason
            problems += [
                _problem(each.path.removeprefix("draft."), each.message) for each in error.fields
            ]
            self._refuse(row.external_id, reason, problems)
            return
        if problems:
            self._refuse(row.external_id, reason, problems)
            return
        expire_time = None if draft.expire_time is None else draft.expire_time.isoformat()
        self._keep(row.external_id, key, checked, expire_time, partial=partial)

    def _key(self, row: RecipientRow, problems: list[FieldError]) -> PassKey | None:
        ref = row.ref
        if ref is None:
            problems.append(_problem("ref", "must say which pass"))
            return None
        if ref.serial_number is not None:
            key: PassKey | None = self._serial_numbers.find(ref.serial_number)
        elif ref.pass_id is not None:
            parsed = parse_uuid(ref.pass_id)
            key = None if parsed is None else PassId(parsed)
        else:
            key = parse_reference_id(ref.reference_id or "")
        # What no pass can be called is told as what none is called, and looked up as that.
        return _NOBODY if key is None else key

    def _keep(
        self,
        external_id: str,
        key: PassKey | None,
        checked: CheckedDraft,
        expire_time: str | None,
        *,
        partial: bool,
    ) -> None:
        columns = self._columns
        holder = checked.holder
        columns.external_ids.append(external_id)
        columns.names.append(None if partial and not holder.name else holder.name)
        columns.phones.append(None if partial and not holder.phone else holder.phone)
        columns.expire_times.append(expire_time)
        columns.holder_ids.append(
            json.dumps(dict(holder.external_ids), ensure_ascii=False, separators=(",", ":"))
            if holder.external_ids
            else None
        )
        columns.values.append(checked.slot_values)
        columns.tags.append(json.dumps(checked.tags) if checked.tags else None)
        columns.keys.append(key)

    def _refuse(self, external_id: str, reason: Reason, problems: Sequence[FieldError]) -> None:
        index = len(self._columns.external_ids)
        shown = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", external_id[:_MAX_EXTERNAL_ID])
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        message = f"{problems[0].path}: {problems[0].message}{more}"
        self._refused.append(
            RefusedRow(
                index=index,
                external_id=shown,
                reason=reason,
                message=_storable(message)[:_MAX_MESSAGE],
                fields=[_storable(each.path) for each in problems[:_MAX_FIELDS]],
            )
        )
        self._keep(shown, None, _NOTHING, None, partial=True)
        self._blank(index)

    def _blank(self, index: int) -> None:
        columns = self._columns
        for column in (
            columns.names,
            columns.phones,
            columns.expire_times,
            columns.holder_ids,
            columns.values,
            columns.tags,
        ):
            column[index] = None


# No pass has it: version and variant bits of a pass id are never all zero.
_NOBODY: Final = PassId(UUID(int=0))
_NOTHING: Final = CheckedDraft(holder=Holder(), values={}, slot_values="{}", tags=())
_EMPTY_DRAFT: Final = PassDraft(holder=Holder(), values={}, expire_time=None)


def _require_size(
    loaded: LoadedRevision, checked: CheckedDraft, expire_time: datetime | None
) -> None:
    """AppError INVALID_VALUES when the pass would be too large, by a trial with made-up numbers."""
    pass_data = PassData(
        serial_number="0" * 26,
        authentication_token="0" * 32,
        reference_id="K7M3-Q8TX",
        holder_name=checked.holder.name,
        holder_phone=checked.holder.phone,
        expires_at=expire_time,
        barcode=sample_texts(loaded.barcode_kind)[BARCODE],
    )
    with size_refused(checked.values, path=_DRAFT):
        loaded.render(encode_pass_data(pass_data, checked.slot_values))


def _external_id_problems(external_id: str) -> list[FieldError]:
    if not external_id:
        return [_problem("external_id", "must not be empty")]
    if len(external_id) > _MAX_EXTERNAL_ID:
        message = f"has {len(external_id)} characters, at most {_MAX_EXTERNAL_ID} are allowed"
        return [_problem("external_id", message)]
    if _CONTROL.search(external_id):
        return [_problem("external_id", "holds a control character; remove it")]
    return []


def _holder_problems(holder: Holder) -> list[FieldError]:
    """What the protocol says of a holder; a rule a message would be too slow here."""
    problems: list[FieldError] = []
    if len(holder.name) > 200:
        problems.append(_problem("holder.name", "has more than 200 characters"))
    if len(holder.phone) > 32:
        problems.append(_problem("holder.phone", "has more than 32 characters"))
    if len(holder.external_ids) > _MAX_SYSTEMS:
        problems.append(_problem("holder.external_ids", f"has more than {_MAX_SYSTEMS} entries"))
        return problems
    for system, external_id in holder.external_ids.items():
        path = f'holder.external_ids["{system:.32}"]'
        if not _SYSTEM.fullmatch(system):
            message = "the system must be small letters, digits and _, beginning with a letter"
            problems.append(_problem(path, message))
        elif not 0 < len(external_id) <= _MAX_EXTERNAL_ID or _CONTROL.search(external_id):
            message = f"must be 1 to {_MAX_EXTERNAL_ID} characters without control characters"
            problems.append(_problem(path, message))
    return problems


def _problem(path: str, message: str) -> FieldError:
    return FieldError(path=path, message=message)


def _storable(text: str) -> str:
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
