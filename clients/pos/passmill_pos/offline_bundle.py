"""What this till knows for the time without the service: the keys that sign barcodes, the passes
that were voided, how often offers may be had. In a file of its owner alone, whole or not at all."""

from __future__ import annotations

import base64
import bisect
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from passmill_pos.config import write_private
from passmill_pos.signed_barcodes import PUBLIC_KEY_BYTES

CLOCK_SLACK: Final = timedelta(minutes=5)
"""A till's clock may be so far behind the service's."""

_FORMAT: Final = 1
_HASH_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineBundle:
    """A bundle of the service. `keys`: public keys, 32 bytes, by the ids that barcodes name.
    `voided`: of each voided pass the first 8 bytes of its id's SHA-256, sorted. `max_uses`: of
    offers by their ids, 0 for without end."""

    tenant_id: int
    keys: Mapping[int, bytes]
    voided: bytes = field(repr=False)
    digest: bytes
    create_time: datetime
    valid_until: datetime
    max_uses: Mapping[str, int]

    @property
    def voided_count(self) -> int:
        """How many passes it lists."""
        return len(self.voided) // _HASH_BYTES

    def is_fresh(self, now: datetime) -> bool:
        """Whether it is to be trusted still: not when it is too old, or the clock was set back."""
        return self.create_time - CLOCK_SLACK <= now < self.valid_until

    def is_voided(self, pass_id: UUID) -> bool:
        """Whether it lists the pass."""
        wanted = hashlib.sha256(pass_id.bytes).digest()[:_HASH_BYTES]

        def at(place: int) -> bytes:
            return self.voided[place * _HASH_BYTES : (place + 1) * _HASH_BYTES]

        places = range(self.voided_count)
        place = bisect.bisect_left(places, wanted, key=at)
        return place < len(places) and at(place) == wanted


class BundleFile:
    """The file that a bundle is kept in, for the API key that it was fetched with: another key may
    be of another tenant."""

    def __init__(self, path: Path, *, api_key: str) -> None:
        self.path = path
        self._of_key = hashlib.sha256(b"offline bundle " + api_key.encode()).hexdigest()

    def write(self, bundle: OfflineBundle) -> None:
        """Keeps a bundle instead of the one before. OSError."""
        kept = {
            "format": _FORMAT,
            "of_key": self._of_key,
            "tenant_id": bundle.tenant_id,
            "keys": {str(key_id): key.hex() for key_id, key in bundle.keys.items()},
            "voided": base64.b64encode(bundle.voided).decode("ascii"),
            "digest": bundle.digest.hex(),
            "create_time": bundle.create_time.isoformat(),
            "valid_until": bundle.valid_until.isoformat(),
            "max_uses": dict(bundle.max_uses),
        }
        write_private(self.path, json.dumps(kept))

    def read(self) -> OfflineBundle | None:
        """The bundle of this key; None when there is none, or the file cannot be trusted: others
        may write to it, or it is not as `write` leaves it."""
        try:
            with self.path.open("rb") as file:
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & (
                    stat.S_IRWXG | stat.S_IRWXO
                ):
                    return None
                kept = json.load(file)
            if kept["format"] != _FORMAT or kept["of_key"] != self._of_key:
                return None
            return _bundle(kept)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def _bundle(kept: Mapping[str, Any]) -> OfflineBundle:
    """What `BundleFile.write` kept. ValueError, KeyError, TypeError, AttributeError when it is not
    as that."""
    keys = {int(key_id): bytes.fromhex(key) for key_id, key in kept["keys"].items()}
    voided = base64.b64decode(kept["voided"], validate=True)
    times = [datetime.fromisoformat(kept[name]) for name in ("create_time", "valid_until")]
    if (
        any(len(key) != PUBLIC_KEY_BYTES for key in keys.values())
        or len(voided) % _HASH_BYTES
        or any(time.tzinfo is None for time in times)
    ):
        raise ValueError("is no bundle")
    return OfflineBundle(
        tenant_id=int(kept["tenant_id"]),
        keys=keys,
        voided=voided,
        digest=bytes.fromhex(kept["digest"]),
        create_time=times[0],
        valid_until=times[1],
        max_uses={str(offer_id): int(most) for offer_id, most in kept["max_uses"].items()},
    )
