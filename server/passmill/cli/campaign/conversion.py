"""Rows as recipients."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from passmill.cli.campaign.cells import (
    BadCell,
    Cell,
    Reading,
    is_empty,
    put_into_slot,
    read_instant,
    read_text,
)
from passmill.cli.campaign.mapping import Place, Target
from passmill_client import Recipient, messages

Put: TypeAlias = Callable[[Recipient, Cell], None]

NOT_READABLE = "UNREADABLE_ROW"
"""The reason of a row that is none; beside the reasons of the service."""
_INVALID = "INVALID_VALUES"
# A message of the service is bounded; one row must leave room for nothing else.
_MAX_BYTES = 1 << 20
_BETWEEN_TAGS = re.compile(r"[\s,;|]+")


class BadRow(ValueError):
    """A row that cannot be a recipient. `reason`: in one word, as the service has them."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Conversion:
    """Makes recipients of rows whose cells come in the order of the columns mapped."""

    def __init__(
        self,
        columns: Sequence[tuple[str, Target]],
        *,
        slots: Iterable[messages.Slot],
        reading: Reading,
        has_draft: bool = True,
    ) -> None:
        """`columns`: name and target of each cell of a row. `has_draft`: whether a recipient
        without any value still has a draft, an empty one."""
        by_name = {slot.name: slot for slot in slots}
        self._columns = [column for column, _ in columns]
        self._puts = [_put(target, by_name, reading) for _, target in columns]
        self._has_draft = has_draft
        self._is_numbered = Place.EXTERNAL_ID not in {target.place for _, target in columns}

    def recipient(self, line: int, cells: Sequence[Cell]) -> Recipient:
        """The recipient in a row. BadRow names every cell that is not right."""
        recipient = Recipient()
        try:
            for put, cell in zip(self._puts, cells, strict=True):
                if cell is not None and cell != "":
                    put(recipient, cell)
        except ValueError:
            # UnicodeEncodeError, which is one, tells of bytes that are not of the file's encoding.
            raise self._bad_row(cells) from None
        if not recipient.external_id:
            if not self._is_numbered:
                raise BadRow(_INVALID, "external_id: is empty")
            recipient.external_id = f"row-{line}"
        if self._has_draft:
            recipient.draft.SetInParent()
        if recipient.ByteSize() > _MAX_BYTES:
            raise BadRow(_INVALID, "the row is larger than 1 MiB")
        return recipient

    def _bad_row(self, cells: Sequence[Cell]) -> BadRow:
        problems = []
        reason = _INVALID
        for column, put, cell in zip(self._columns, self._puts, cells, strict=True):
            if is_empty(cell):
                continue
            try:
                put(Recipient(), cell)
            except UnicodeEncodeError as error:
                reason = NOT_READABLE
                problems.append(f"{column}: {_undecoded(error)}")
            except ValueError as error:
                problems.append(f"{column}: {error}")
        return BadRow(reason, "; ".join(problems))


def _undecoded(error: UnicodeEncodeError) -> str:
    if "\udc80" <= error.object[error.start] <= "\udcff":  # how bytes come that are no text
        return (
            "holds bytes that are not of the file's encoding; is it another one? --encoding says"
            " which"
        )
    return "holds half a character, as \\ud800 in JSON is without its other half"


def _put(target: Target, slots: dict[str, messages.Slot], reading: Reading) -> Put:
    match target.place:
        case Place.VALUE:
            return _put_value(slots[target.key], reading)
        case Place.HOLDER_ID:
            return _put_holder_id(target.key)
        case place:
            return _SIMPLE[place](reading)


def _put_value(slot: messages.Slot, reading: Reading) -> Put:
    into_slot = put_into_slot(slot, reading)

    def put(recipient: Recipient, cell: Cell) -> None:
        into_slot(recipient.draft.values, cell)

    return put


def _put_holder_id(system: str) -> Put:
    def put(recipient: Recipient, cell: Cell) -> None:
        recipient.draft.holder.external_ids[system] = read_text(cell)

    return put


def _put_external_id(recipient: Recipient, cell: Cell) -> None:
    recipient.external_id = read_text(cell)


def _put_name(recipient: Recipient, cell: Cell) -> None:
    recipient.draft.holder.name = read_text(cell)


def _put_phone(recipient: Recipient, cell: Cell) -> None:
    recipient.draft.holder.phone = read_text(cell).strip()


def _put_holder_ids(recipient: Recipient, cell: Cell) -> None:
    if isinstance(cell, list):  # how Parquet's maps come
        cell = dict(cell)
    if not isinstance(cell, dict):
        raise BadCell('is no object such as {"crm": "4711"}')
    for system, text in cell.items():
        if not is_empty(text):
            recipient.draft.holder.external_ids[str(system)] = read_text(text)


def _put_tags(recipient: Recipient, cell: Cell) -> None:
    words = cell if isinstance(cell, list) else _BETWEEN_TAGS.split(read_text(cell))
    # Each once, in their order: the file may hold one twice.
    recipient.draft.tags.extend(dict.fromkeys(read_text(word) for word in words if word))


def _put_pass_id(recipient: Recipient, cell: Cell) -> None:
    recipient.ref.pass_id = read_text(cell).strip()


def _put_reference_id(recipient: Recipient, cell: Cell) -> None:
    recipient.ref.reference_id = read_text(cell).strip()


def _put_serial_number(recipient: Recipient, cell: Cell) -> None:
    recipient.ref.serial_number = read_text(cell).strip()


def _expire_time(reading: Reading) -> Put:
    def put(recipient: Recipient, cell: Cell) -> None:
        recipient.draft.expire_time.seconds = read_instant(cell, reading)[0]

    return put


_SIMPLE: dict[Place, Callable[[Reading], Put]] = {
    Place.EXTERNAL_ID: lambda _: _put_external_id,
    Place.NAME: lambda _: _put_name,
    Place.PHONE: lambda _: _put_phone,
    Place.HOLDER_IDS: lambda _: _put_holder_ids,
    Place.TAGS: lambda _: _put_tags,
    Place.PASS_ID: lambda _: _put_pass_id,
    Place.REFERENCE_ID: lambda _: _put_reference_id,
    Place.SERIAL_NUMBER: lambda _: _put_serial_number,
    Place.EXPIRE_TIME: _expire_time,
}
