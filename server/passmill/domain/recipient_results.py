"""What became of a campaign's recipients."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from passmill.domain.ids import PassId, StreamId
from passmill.domain.reference_ids import ReferenceNumber

# A recipient's place: its stream, and its offset there.
Place: TypeAlias = tuple[StreamId, int]


class ResultState(enum.Enum):
    """What became of one."""

    PENDING = enum.auto()
    SUCCEEDED = enum.auto()
    INVALID = enum.auto()
    FAILED = enum.auto()
    DUPLICATE = enum.auto()
    SKIPPED = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientResult:
    """One recipient. `pass_id`: its pass, when there is one that it was issued or names, served or
    not; `reference_number`: that pass's; `claim_token`: of its claim link, where whoever
    asks may have it, or ''; `reason` and `message`: why not."""

    place: Place
    external_id: str
    state: ResultState
    pass_id: PassId | None = None
    reference_number: ReferenceNumber | None = None
    claim_token: str = field(default="", repr=False)
    reason: str = ""
    message: str = ""
