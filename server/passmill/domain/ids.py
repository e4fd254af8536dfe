"""Identifiers: what each is made of and how it is written.

Database ids are UUIDv7 or random 63-bit integers; neither is a secret. What a stranger could use to
reach somebody's pass (serial numbers, keys) has at least 128 bits nobody can guess.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import secrets
import struct
from collections.abc import Iterable, Sequence
from typing import Final, NewType
from uuid import UUID

import uuid_utils.compat
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

TenantId = NewType("TenantId", int)
ProgramId = NewType("ProgramId", UUID)
TemplateId = NewType("TemplateId", UUID)
RevisionId = NewType("RevisionId", int)
PassId = NewType("PassId", UUID)
SigningIdentityId = NewType("SigningIdentityId", int)
CampaignId = NewType("CampaignId", UUID)
StreamId = NewType("StreamId", UUID)
HolderId = NewType("HolderId", UUID)

# Requests of operators, which belong to no tenant, keep their answers under this one.
OPERATOR_TENANT = TenantId(0)

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SERIAL_NUMBER = re.compile(f"[{_CROCKFORD}]{{26}}")  # ceil(128 / 5)
_DIGITS = str.maketrans(_CROCKFORD, "0123456789abcdefghijklmnopqrstuv")  # as int() reads them


def new_uuid() -> UUID:
    """A time-ordered UUIDv7 (RFC 9562): neighbours in time are neighbours in an index."""
    return uuid_utils.compat.uuid7()


def new_number() -> int:
    """A random positive 63-bit integer, for keys that many rows repeat: half as wide as a UUID."""
    return secrets.randbits(62) + 1


def campaign_pass_id(campaign_id: CampaignId, external_id: str) -> PassId:
    """The id of the pass that a campaign issues to a recipient: a UUIDv8 (RFC 9562) that anybody
    who makes it again makes alike, so that a recipient gets one pass however often it is tried.

    It begins with the campaign's time, for neighbours in an index, and goes on with a SHA-256.
    """
    digest = hashlib.sha256(campaign_id.bytes + external_id.encode()).digest()
    block = bytearray(campaign_id.bytes[:6] + digest[:10])
    block[6] = _DERIVED_VERSION << 4 | block[6] & 0x0F
    block[8] = 0x80 | block[8] & 0x3F
    return PassId(UUID(bytes=bytes(block)))


def campaign_pass_ids(campaign_id: CampaignId, external_ids: Iterable[str]) -> list[bytes]:
    """`campaign_pass_id` of many recipients, in their order: the 16 bytes of each, quickly."""
    prefix = campaign_id.bytes
    heads = [prefix[:6] + bytes([0x80 | first & 0x0F]) for first in range(256)]
    ninths = [bytes([0x80 | third & 0x3F]) for third in range(256)]
    sha256 = hashlib.sha256
    digests = [sha256(prefix + external_id.encode()).digest() for external_id in external_ids]
    return [heads[digest[0]] + digest[1:2] + ninths[digest[2]] + digest[3:10] for digest in digests]


_DERIVED_VERSION: Final = 8


def derived_uuid(text: str) -> UUID:
    """A UUIDv8 (RFC 9562) that is always the same for the same text: SHA-256 of it."""
    block = bytearray(hashlib.sha256(text.encode()).digest()[:16])
    block[6] = _DERIVED_VERSION << 4 | block[6] & 0x0F
    block[8] = 0x80 | block[8] & 0x3F
    return UUID(bytes=bytes(block))


def is_derived(request_id: UUID) -> bool:
    """Whether it is of the kind that `derived_uuid` makes. Callers may not choose such request ids:
    who knows what one is derived from could take it before the service does."""
    return request_id.version == _DERIVED_VERSION


def parse_uuid(text: str) -> UUID | None:
    """The UUID that `text` spells in canonical form, else None."""
    try:
        parsed = UUID(text)
    except ValueError:
        return None
    return parsed if str(parsed) == text.lower() else None


def parse_number(text: str) -> int | None:
    """The positive 63-bit integer that `text` spells in decimal, else None."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    number = int(text)
    return number if 0 < number < 1 << 63 else None


class SerialNumbers:
    """Apple serial numbers of one tenant: the pass id enciphered with AES-128 under the tenant's
    own key.

    So a serial number is unique because the pass id is, tells nothing of it (pass ids of a campaign
    can be computed by whoever knows its recipients), needs neither a column nor an index, and is
    found again by deciphering it. The key is kept with the tenant and never changes: serial numbers
    must not either (https://developer.apple.com/documentation/walletpasses/pass).
    """

    __slots__ = ("_cipher", "_decryptor", "_encryptor")

    def __init__(self, key: bytes) -> None:
        """`key`: 16 random bytes."""
        # One block, each plain text used once: ECB is a plain permutation here. Its contexts hold
        # no state between blocks, so one of each serves for good.
        self._cipher = Cipher(algorithms.AES128(key), modes.ECB())  # noqa: S305
        self._encryptor = self._cipher.encryptor()
        self._decryptor = self._cipher.decryptor()

    def of(self, pass_id: PassId) -> str:
        """The serial number of a pass: 26 symbols of Crockford's base 32."""
        return encode_base32(self._encryptor.update(pass_id.bytes))

    def of_many(self, pass_ids: Sequence[bytes]) -> list[str]:
        """`of` many passes, each given by its 16 bytes, in their order, quickly. From any thread:
        with a context of its own, as two threads must not be in one."""
        blocks = self._cipher.encryptor().update(b"".join(pass_ids))
        two, three = _symbols(2), _symbols(3)
        numbers = [high << 64 | low for high, low in struct.iter_unpack(">QQ", blocks)]
        return [
            f"{two[n >> 120]}{three[n >> 105 & 32767]}{three[n >> 90 & 32767]}"
            f"{three[n >> 75 & 32767]}{three[n >> 60 & 32767]}{three[n >> 45 & 32767]}"
            f"{three[n >> 30 & 32767]}{three[n >> 15 & 32767]}{three[n & 32767]}"
            for n in numbers
        ]

    def find(self, serial_number: str) -> PassId | None:
        """The pass id behind a serial number, None when no pass can have it."""
        block = decode_base32(serial_number)
        if block is None:
            return None
        return PassId(UUID(bytes=self._decryptor.update(block)))


@functools.cache
def _symbols(count: int) -> list[str]:
    # Every run of so many symbols, in the order of their numbers.
    return ["".join(run) for run in itertools.product(_CROCKFORD, repeat=count)]


def encode_base32(block: bytes) -> str:
    """16 bytes as 26 symbols of Crockford's base 32, most significant first."""
    number = int.from_bytes(block, "big")
    return "".join([_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5)])


def decode_base32(text: str) -> bytes | None:
    """The 16 bytes that `encode_base32` wrote, None when `text` is not its exact output."""
    if _SERIAL_NUMBER.fullmatch(text) is None:
        return None
    number = int(text.translate(_DIGITS), 32)
    return number.to_bytes(17, "big")[1:] if number < 1 << 128 else None
