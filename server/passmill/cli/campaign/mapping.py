"""Which column of a file becomes what of a recipient: found by name, or given."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from passmill.cli.campaign.errors import CommandFailed
from passmill_client import messages

EXTERNAL_IDS: Final = "external_ids"
VALUES: Final = "values"


class Place(enum.Enum):
    """A part of a recipient, by the name that a column may have."""

    EXTERNAL_ID = "external_id"
    NAME = "name"
    PHONE = "phone"
    EXPIRE_TIME = "expire_time"
    TAGS = "tags"
    PASS_ID = "pass_id"  # noqa: S105 - no password
    REFERENCE_ID = "reference_id"
    SERIAL_NUMBER = "serial_number"
    HOLDER_IDS = EXTERNAL_IDS  # an object of them
    HOLDER_ID = EXTERNAL_IDS + "."
    VALUE = VALUES + "."


REFS: Final = frozenset({Place.PASS_ID, Place.REFERENCE_ID, Place.SERIAL_NUMBER})
_WHOLE: Final[Mapping[str, Place]] = {
    place.value: place for place in Place if not place.value.endswith(".")
}
_SYSTEM = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a cell goes. `key`: the slot's name, or the other system's."""

    place: Place
    key: str = ""

    def __str__(self) -> str:
        return self.place.value + self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What becomes of the columns: those used, in their order, and those not."""

    columns: Sequence[tuple[str, Target]]
    unused: Sequence[str]


class ColumnMapping:
    """Finds targets for columns."""

    def __init__(
        self,
        *,
        slots: Iterable[messages.Slot],
        given: Sequence[tuple[str, str]] = (),
        wants_refs: bool = False,
        wants_only_refs: bool = False,
        needs_slots: bool = True,
        numbered: bool = False,
    ) -> None:
        """`given`: column and target of each --map. `wants_refs`: each row names a pass that there
        is already. `wants_only_refs`: and says no more than that. `needs_slots`: required slots
        need a column. `numbered`: the row's number is its external_id where there is no column
        for it."""
        self._slots = {slot.name: slot for slot in slots}
        self._given = given
        self._wants_refs = wants_refs
        self._wants_only_refs = wants_only_refs
        self._needs_slots = needs_slots
        self._numbered = numbered

    def resolve(self, columns: Sequence[str]) -> Mapped:
        """The targets of a file's columns. CommandFailed when a column that is needed is missing,
        or one is not clear."""
        if doubled := {column for column in columns if column and columns.count(column) > 1}:
            raise CommandFailed(
                f"Two columns have one name: {', '.join(sorted(doubled))}. Rename one of them."
            )
        mapped: list[tuple[str, Target]] = []
        for column, text in self._given:
            if column not in columns:
                raise CommandFailed(
                    f"--map {column}={text}: there is no column {column!r}."
                    f" There are: {', '.join(columns)}."
                )
            mapped.append((column, self._parse(column, text)))
        by_hand = [target for _, target in mapped]
        taken = set(by_hand)
        if len(taken) < len(by_hand):
            raise CommandFailed("Two --map name one target.")
        used = {column for column, _ in mapped}
        for column in columns:
            target = None if column in used else self._find(column)
            if target is None or target in by_hand:
                continue
            if target in taken:
                first = next(other for other, its_target in mapped if its_target == target)
                raise CommandFailed(
                    f"Two columns would be {target}: {first!r} and {column!r}. Say which one with"
                    f" --map COLUMN={target}."
                )
            taken.add(target)
            mapped.append((column, target))
        self._require(taken, columns)
        used = {column for column, _ in mapped}
        in_order = sorted(mapped, key=lambda pair: columns.index(pair[0]))
        return Mapped(columns=in_order, unused=[each for each in columns if each not in used])

    def names(self) -> list[str]:
        """Every name that a value can come under whatever the first rows hold: of files whose rows
        name their cells themselves."""
        return [*(place for place in _WHOLE), *(f"{VALUES}.{name}" for name in self._slots)]

    def _find(self, column: str) -> Target | None:
        name = re.sub(r"[\s-]+", "_", column.strip()).lower()
        try:
            return self._target(name)
        except CommandFailed:
            return None

    def _parse(self, column: str, text: str) -> Target:
        target = self._target(text)
        if target is None:
            raise CommandFailed(
                f"--map {column}={text}: {text!r} is nothing a recipient has. Targets are"
                f" {', '.join(sorted(_WHOLE))}, {EXTERNAL_IDS}.SYSTEM, and the template's slots:"
                f" {', '.join(sorted(self._slots)) or 'it has none'}."
            )
        return target

    def _target(self, name: str) -> Target | None:
        if self._wants_only_refs and _WHOLE.get(name) not in {Place.EXTERNAL_ID, *REFS}:
            return None
        if place := _WHOLE.get(name):
            return None if place in REFS and not self._wants_refs else Target(place=place)
        if name in self._slots:
            return Target(place=Place.VALUE, key=name)
        prefix, _, key = name.partition(".")
        if prefix == VALUES and key in self._slots:
            return Target(place=Place.VALUE, key=key)
        if prefix == EXTERNAL_IDS and key:
            if not _SYSTEM.fullmatch(key):
                raise CommandFailed(
                    f"{key!r} cannot name a system: small letters, digits and _, at most 32."
                )
            return Target(place=Place.HOLDER_ID, key=key)
        return None

    def _require(self, taken: set[Target], columns: Sequence[str]) -> None:
        there = f"The columns are: {', '.join(columns)}."
        if Target(place=Place.EXTERNAL_ID) not in taken and not self._numbered:
            raise CommandFailed(
                "No column is the external_id, your id of each recipient. Name one with"
                f" --map COLUMN=external_id, or number the rows with --number-rows. {there}"
            )
        if self._wants_refs and not REFS & {target.place for target in taken}:
            raise CommandFailed(
                "No column says which pass is meant: pass_id, reference_id or serial_number."
                f" Name one with --map COLUMN=reference_id. {there}"
            )
        missing = [
            slot.name
            for slot in self._slots.values()
            if slot.required
            and slot.default_value.WhichOneof("kind") is None
            and Target(place=Place.VALUE, key=slot.name) not in taken
        ]
        if missing and self._needs_slots:
            raise CommandFailed(
                f"The template needs {', '.join(missing)}, and no column has that name. Say which"
                f" one it is with --map COLUMN={missing[0]}. {there}"
            )
