"""A template's life: one draft that can be edited, and the revisions frozen from it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from passmill.domain.ids import ProgramId, RevisionId, TemplateId
from passmill.domain.templates import TemplateContent
from passmill.errors import AppError, Reason


class TemplateState(enum.IntEnum):
    """Stored as its number."""

    ACTIVE = 1
    ARCHIVED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template and its draft. `draft` is None in lists. `latest_revision` is 0 before the first
    publishing."""

    template_id: TemplateId
    program_id: ProgramId
    display_name: str
    draft: TemplateContent | None
    version: int
    latest_revision: int
    state: TemplateState
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """Changes with each change."""
        return f"v{self.version}"

    def require_active(self) -> None:
        """AppError TEMPLATE_ARCHIVED when nothing new may come of it."""
        if self.state is TemplateState.ARCHIVED:
            raise AppError(
                reason=Reason.TEMPLATE_ARCHIVED,
                message="The template is archived: its passes live on, nothing new is made.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRevision:
    """A published, immutable revision. `content` is None in lists. What rendering depends on
    besides it is pinned."""

    revision_id: RevisionId
    template_id: TemplateId
    program_id: ProgramId
    number: int
    content: TemplateContent | None
    pass_type_identifier: str
    team_identifier: str
    web_service_url: str | None
    publish_time: datetime


class TemplateCodec(Protocol):
    """Turns contents into the bytes they are stored as; bytes of older versions stay readable."""

    def encode(self, content: TemplateContent) -> bytes:
        """The bytes to store; equal contents give equal bytes."""
        ...

    def decode(self, stored: bytes) -> TemplateContent:
        """The inverse of `encode`, also of an older version's."""
        ...
