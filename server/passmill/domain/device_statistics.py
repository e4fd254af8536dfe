"""What is counted of devices: installs, pushes, and how far a revision has come."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from passmill.domain.ids import CampaignId, TemplateId
from passmill.domain.registrations import Registration, Wallet

NO_CAMPAIGN: Final = CampaignId(UUID(int=0))
"""Where the campaign that issued a pass is counted by, and none did."""


class InstallDimension(enum.Enum):
    """What installs are counted by."""

    TEMPLATE = enum.auto()
    CAMPAIGN = enum.auto()
    DAY = enum.auto()
    WALLET = enum.auto()
    SYSTEM_VERSION = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallFilter:
    """Which installs are counted; every part that is not None narrows them. Days are UTC's,
    `day_before` itself is not among them."""

    template_ids: Sequence[TemplateId] | None = None
    campaign_id: CampaignId | None = None
    day_from: date | None = None
    day_before: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallCount:
    """How many installs a group has. A name is None where it was not asked for.

    `removals`: that happened in the days counted. `live`: of the installs, those still there.
    """

    template_id: TemplateId | None
    campaign_id: CampaignId | None
    day: date | None
    wallet: Wallet | None
    system_version: str | None
    installs: int
    removals: int
    live: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PushCount:
    """How many pushes ended in one way on one day. `state`: as passmill.domain.push_outcomes
    numbers it."""

    pass_type_identifier: str
    day: date
    state: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedTopic:
    """A pass type that is not pushed to. `probe_time`: when one push is to try again."""

    pass_type_identifier: str
    reason: str
    stop_time: datetime
    probe_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPush:
    """The last push to a device that ended. `state`: as in `PushCount`."""

    state: int
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRegistration:
    """A registration with what its device was pushed and told. `is_told`: of the pass's last
    change."""

    registration: Registration
    last_push: LastPush | None
    is_told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """How far a revision has come: passes that are on a device, each as far as the first of its
    devices.

    `moved`: made to show it or a later one. Of these `changed`: since they were issued, so that a
    device must fetch them. Of these `pushed`, `told` and `fetched` since the last change.
    `converged`: that have it or a later one, fetched or issued with it.
    """

    installed: int
    moved: int
    changed: int
    pushed: int
    told: int
    fetched: int
    converged: int

    @property
    def share(self) -> float:
        """Of the installed those that have it, 0 to 1; 0 when there is none."""
        return self.converged / self.installed if self.installed else 0.0
