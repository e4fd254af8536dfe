"""Devices that hold passes, as Apple's web service knows them.

https://developer.apple.com/documentation/walletpasses/adding-a-web-service-to-update-passes
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NewType

from passmill.domain.ids import CampaignId, PassId, TemplateId

DeviceNumber = NewType("DeviceNumber", int)
UpdateTag = NewType("UpdateTag", int)

BUCKETS: Final = 256
"""Parts of a tenant's fan-out index: each is whole or missing by itself."""

_APPLE_TOKEN: Final = re.compile(r"(?:[0-9a-fA-F]{2}){1,100}")
_OTHER_TOKEN: Final = re.compile(r"[A-Za-z0-9_.:=+/-]{1,512}")
_PASS_TYPE: Final = re.compile(r"pass\.[A-Za-z0-9.-]{1,250}")
_DEVICE: Final = re.compile(r"[\x21-\x7e]{1,255}")
# "passd/1.0 CFNetwork/1494.0.7 Darwin/23.4.0" is what an iPhone says.
_DARWIN: Final = re.compile(r"\bDarwin/(\d{1,3}(?:\.\d{1,4}){0,3})")
_ANDROID: Final = re.compile(r"\bAndroid[ /](\d{1,3}(?:\.\d{1,4}){0,3})")


class Wallet(enum.IntEnum):
    """Which wallet a device uses, by the scheme of its Authorization header."""

    APPLE = 1
    ANDROID_PASS = 2
    WALLET_UNION = 3

    @property
    def is_pushed(self) -> bool:
        """Whether APNs reaches it; the others ask from time to time."""
        return self is Wallet.APPLE


SCHEMES: Final = {
    "applepass": Wallet.APPLE,
    "androidpass": Wallet.ANDROID_PASS,
    "walletunionpass": Wallet.WALLET_UNION,
}
"""Wallets by their scheme in lower case: schemes are compared so (RFC 9110, 11.1)."""


class RemoveReason(enum.IntEnum):
    """Why a registration ended."""

    DEVICE_ASKED = 1
    TOKEN_GONE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceClaim:
    """What a device says of itself when it registers."""

    device_library_identifier: str
    pass_type_identifier: str
    push_token: str = field(repr=False)
    wallet: Wallet
    system_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A device that wants updates of a pass."""

    device_number: DeviceNumber
    pass_id: PassId
    wallet: Wallet
    system_version: str
    template_id: TemplateId
    campaign_id: CampaignId | None
    create_time: datetime
    remove_time: datetime | None
    remove_reason: RemoveReason | None
    last_seen_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedPasses:
    """What a device has to fetch: serial numbers, and the tag to ask with the next time."""

    serial_numbers: Sequence[str]
    last_updated: UpdateTag


def bucket_of(pass_id: PassId) -> int:
    """The part of the fan-out index that a pass is in: its last byte, which is random in every
    pass id."""
    return pass_id.int & (BUCKETS - 1)


def check_push_token(text: str, wallet: Wallet) -> str | None:
    """The token as it is kept, None when it cannot be one: APNs' are bytes in hex."""
    if wallet is Wallet.APPLE:
        return text.lower() if _APPLE_TOKEN.fullmatch(text) else None
    return text if _OTHER_TOKEN.fullmatch(text) else None


def is_device_library_identifier(text: str) -> bool:
    """Whether a device may call itself so."""
    return _DEVICE.fullmatch(text) is not None


def is_pass_type_identifier(text: str) -> bool:
    """Whether a pass type may be named so."""
    return _PASS_TYPE.fullmatch(text) is not None


def parse_update_tag(text: str | None) -> UpdateTag:
    """The tag a device gives back; 0, for everything, for what is none of ours."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 18):
        return UpdateTag(0)
    return UpdateTag(int(text))


def parse_system_version(user_agent: str) -> str:
    """ "Darwin/23.4.0" or "Android/14" from a user agent, '' when it says neither."""
    if found := _DARWIN.search(user_agent):
        return f"Darwin/{found[1]}"
    if found := _ANDROID.search(user_agent):
        return f"Android/{found[1]}"
    return ""
