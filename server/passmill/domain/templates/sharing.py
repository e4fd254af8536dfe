"""On how many devices a pass may be, and what happens when it is on one more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

OVER_SHARED_TAG: Final = "over_shared"
"""The tag of a pass that was found on more devices than it may be on."""


class SharingExcess(StrEnum):
    """What happens when a device more than may be registers for a pass."""

    ALLOW = "allow"
    FLAG = "flag"
    REFUSE = "refuse"
    VOID_AND_REISSUE = "void_and_reissue"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingPolicy:
    """Devices are told apart by their push tokens; 0 for no limit, and for no decay."""

    max_devices: int = 0
    decay_days: int = 0
    excess: SharingExcess
    binds_first_device: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether it says anything."""
        return self.max_devices > 0

    def is_exceeded(self, devices: int) -> bool:
        """Whether a pass may not be on so many."""
        return self.is_limited and devices > self.max_devices

    def counted_since(self, now: datetime) -> datetime | None:
        """Devices that were last seen before then do not count; None: all count."""
        return now - timedelta(days=self.decay_days) if self.decay_days else None


def policy_to_json(policy: SharingPolicy | None) -> str | None:
    """A policy for storage beside its revision; None for what limits nothing."""
    if policy is None or not policy.is_limited:
        return None
    return json.dumps(
        {
            "max_devices": policy.max_devices,
            "decay_days": policy.decay_days,
            "excess": policy.excess.value,
            "binds_first_device": policy.binds_first_device,
        }
    )


def policy_from_json(text: str) -> SharingPolicy:
    """What `policy_to_json` wrote."""
    said = json.loads(text)
    return SharingPolicy(
        max_devices=said["max_devices"],
        decay_days=said["decay_days"],
        excess=SharingExcess(said["excess"]),
        binds_first_device=said["binds_first_device"],
    )
