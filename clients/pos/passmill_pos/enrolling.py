"""Makes a scanner of this device: a one-time code for a key, kept in a file of its owner alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from passmill_client import Client, PassmillError, messages
from passmill_pos.answers import is_undecided
from passmill_pos.config import Config, write_config, write_private


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What the device is now."""

    scanner_id: str
    scanner_name: str
    venue_id: str
    venue_name: str


def enrol(
    code: str, *, display_name: str, config: Config, path: Path, connect: Callable[[], Client]
) -> Enrolled:
    """Spends the code, writes the configuration to `path` (0600). PassmillError: nothing was
    written; OSError when the file cannot be.

    A code is good once. When its answer is lost, the same code once more is sent under the same
    request id, which is kept beside `path` meanwhile, and so gives the same answer.
    """
    pending = path.with_name(f"{path.name}.enrolling")
    request_id = _request_id(pending, code)
    with connect() as client:
        try:
            answer: messages.EnrolScannerResponse = client.enrol_scanner(
                code, display_name, request_id=request_id, timeout=config.timeout_seconds
            )
        except PassmillError as error:
            if not is_undecided(error):
                pending.unlink()
            raise
    write_config(
        path,
        replace(
            config,
            api_key=answer.api_key,
            scanner_id=answer.scanner.scanner_id,
            venue_id=answer.venue.venue_id,
        ),
    )
    pending.unlink()
    return Enrolled(
        scanner_id=answer.scanner.scanner_id,
        scanner_name=answer.scanner.display_name,
        venue_id=answer.venue.venue_id,
        venue_name=answer.venue.display_name,
    )


def _request_id(pending: Path, code: str) -> str:
    spelling = "".join(c for c in code.upper() if c.isalnum())
    digest = hashlib.sha256(spelling.encode()).hexdigest()
    if pending.exists():
        kept = json.loads(pending.read_text(encoding="utf-8"))
        if kept["code_sha256"] == digest:
            return str(kept["request_id"])
    request_id = str(uuid4())
    # Also shows, before the code is spent, that the key can be written here.
    write_private(pending, json.dumps({"code_sha256": digest, "request_id": request_id}))
    return request_id
