"""What passes were before a campaign changed them: kept with each shard, so that one call takes a
roll-out back.

It is written as recipients are, with two columns more: so a part of it is a chunk of recipients of
the campaign that takes it back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from passmill.domain.ids import PassId, RevisionId
from passmill.domain.passes import Holder, WalletPass


@dataclass(frozen=True, slots=True, kw_only=True)
class PassUndo:
    """One pass: `version` is the one it got by the change, all else what it was before.

    `expire_time` counts only if `sets_expire_time`; `name`, `phone`, `holder_ids` and `tags` are
    None where the change left them alone. `values`: canonical JSON, as the revision's slots read
    it.
    """

    external_id: str
    pass_id: PassId
    version: int
    revision_id: RevisionId
    values: str
    name: str | None = None
    phone: str | None = None
    holder_ids: Mapping[str, str] | None = None
    tags: tuple[str, ...] | None = None
    sets_expire_time: bool = False
    expire_time: datetime | None = None

    def restored(self, current: WalletPass) -> WalletPass:
        """The pass as it was, with the number and state it has now."""
        holder = current.holder
        return replace(
            current,
            revision_id=self.revision_id,
            slot_values=self.values,
            holder=Holder(
                name=holder.name if self.name is None else self.name,
                phone=holder.phone if self.phone is None else self.phone,
                external_ids=holder.external_ids if self.holder_ids is None else self.holder_ids,
            ),
            expire_time=self.expire_time if self.sets_expire_time else current.expire_time,
            tags=current.tags if self.tags is None else self.tags,
        )


def undo_of(before: WalletPass, after: WalletPass, *, external_id: str) -> PassUndo:
    """What takes the change from `before` to `after` back."""
    old, new = before.holder, after.holder
    return PassUndo(
        external_id=external_id,
        pass_id=before.pass_id,
        version=after.version,
        revision_id=before.revision_id,
        values=before.slot_values,
        name=None if old.name == new.name else old.name,
        phone=None if old.phone == new.phone else old.phone,
        holder_ids=None if old.external_ids == new.external_ids else old.external_ids,
        tags=None if before.tags == after.tags else before.tags,
        sets_expire_time=before.expire_time != after.expire_time,
        expire_time=before.expire_time,
    )


def undo_to_json(undo: Sequence[PassUndo]) -> str:
    """The stored form: the keys of a chunk of recipients, and `versions` and `revision_ids`.

    In `expire_times` an empty text is for a pass that had none.
    """
    return json.dumps(
        {
            "external_ids": [each.external_id for each in undo],
            "names": _column([each.name for each in undo]),
            "phones": _column([each.phone for each in undo]),
            "expire_times": _column([_expire_text(each) for each in undo]),
            "holder_ids": _column(
                [
                    None if each.holder_ids is None else json.dumps(dict(each.holder_ids))
                    for each in undo
                ]
            ),
            "tags": _column(
                [None if each.tags is None else json.dumps(each.tags) for each in undo]
            ),
            "values": [each.values for each in undo],
            "pass_ids": [each.pass_id.hex for each in undo],
            "versions": [each.version for each in undo],
            "revision_ids": [each.revision_id for each in undo],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def undo_from_json(text: str) -> list[PassUndo]:
    """What `undo_to_json` wrote."""
    stored = json.loads(text)
    nothing = [None] * len(stored["pass_ids"])
    rows = zip(
        stored["external_ids"],
        stored["pass_ids"],
        stored["versions"],
        stored["revision_ids"],
        stored["values"],
        stored["names"] or nothing,
        stored["phones"] or nothing,
        stored["holder_ids"] or nothing,
        stored["expire_times"] or nothing,
        stored.get("tags") or nothing,
        strict=True,
    )
    return [
        PassUndo(
            external_id=external_id,
            pass_id=PassId(UUID(hex=pass_id)),
            version=version,
            revision_id=RevisionId(revision_id),
            values=values,
            name=name,
            phone=phone,
            holder_ids=None if holder_ids is None else json.loads(holder_ids),
            tags=None if tags is None else tuple(json.loads(tags)),
            sets_expire_time=expire_time is not None,
            expire_time=datetime.fromisoformat(expire_time) if expire_time else None,
        )
        for (
            external_id,
            pass_id,
            version,
            revision_id,
            values,
            name,
            phone,
            holder_ids,
            expire_time,
            tags,
        ) in rows
    ]


def _expire_text(undo: PassUndo) -> str | None:
    if not undo.sets_expire_time:
        return None
    return "" if undo.expire_time is None else undo.expire_time.isoformat()


def _column(values: Sequence[str | None]) -> Sequence[str | None] | None:
    return values if any(value is not None for value in values) else None
