"""Recipients as a stream keeps them: a chunk is one text with a list a column, so that a worker
gets columns with one parse, and the database one row for hundreds.

A recipient that was refused keeps its place: every column but `external_ids` holds None there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

# As much as one message carries, so that the first offset of a chunk is never far before a place.
MAX_CHUNK_RECIPIENTS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientColumns:
    """Recipients of one chunk, checked: a list a column, all of one length.

    `values`: canonical JSON (`values_to_json`). `holder_ids`: a JSON object of the holder's ids in
    other systems, or None for none. `tags`: a JSON list, or None for none. `expire_times`: RFC
    3339, or None. `pass_ids`: which pass, in hex without hyphens; None with issue. `names` and
    `phones` are empty when unknown, and with update None when they stay as they are. Where `values`
    is None the recipient was refused.
    """

    external_ids: Sequence[str]
    names: Sequence[str | None]
    phones: Sequence[str | None]
    expire_times: Sequence[str | None]
    holder_ids: Sequence[str | None]
    values: Sequence[str | None]
    pass_ids: Sequence[str | None]
    tags: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.external_ids)

    def slice(self, start: int, end: int) -> RecipientColumns:
        """The recipients from `start` up to, without, `end`."""
        return RecipientColumns(
            **{each.name: getattr(self, each.name)[start:end] for each in fields(self)}
        )


def columns_to_json(columns: RecipientColumns) -> str:
    """The stored form. A column of nothing but None is null."""
    stored: dict[str, Sequence[str | None] | None] = {}
    for each in fields(columns):
        column = getattr(columns, each.name)
        stored[each.name] = column if any(value is not None for value in column) else None
    return json.dumps(stored, ensure_ascii=False, separators=(",", ":"))


def columns_from_json(text: str) -> RecipientColumns:
    """What `columns_to_json` wrote."""
    stored = json.loads(text)
    nothing: list[Any] = [None] * len(stored["external_ids"] or ())
    return RecipientColumns(
        **{each.name: stored.get(each.name) or nothing for each in fields(RecipientColumns)}
    )


def join_columns(chunks: Sequence[RecipientColumns]) -> RecipientColumns:
    """Several chunks as one."""
    return RecipientColumns(
        **{
            each.name: [value for chunk in chunks for value in getattr(chunk, each.name)]
            for each in fields(RecipientColumns)
        }
    )
