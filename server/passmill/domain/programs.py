"""A program: the scheme that templates belong to."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.ids import ProgramId
from passmill.errors import AppError, Reason


class ProgramState(enum.IntEnum):
    """Stored as its number."""

    ACTIVE = 1
    ARCHIVED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A scheme: a loyalty club, a coupon series, an event. All its passes share one pass type
    identifier."""

    program_id: ProgramId
    display_name: str
    pass_type_identifier: str
    state: ProgramState
    version: int
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """Changes with each change."""
        return f"v{self.version}"

    def require_active(self) -> None:
        """AppError PROGRAM_ARCHIVED when nothing new may come of it."""
        if self.state is ProgramState.ARCHIVED:
            raise AppError(
                reason=Reason.PROGRAM_ARCHIVED,
                message="The program is archived: its passes live on, nothing new is made.",
            )
