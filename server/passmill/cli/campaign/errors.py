"""What stops a campaign command, told so that the reader knows what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from passmill_client import PassmillError


class CommandFailed(Exception):
    """The command cannot go on; the message says why and what to do."""


_NEXT: Final[Mapping[str, str]] = {
    "UNAVAILABLE": "Is the service running, and --address (or PASSMILL_ADDRESS) right?"
    " Run the same command again to go on where it stopped.",
    "DEADLINE_EXCEEDED": "Run the same command again to go on where it stopped.",
    "RATE_LIMITED": "Run the same command again later; it goes on where it stopped.",
    "UNAUTHENTICATED": "Set PASSMILL_API_KEY to a valid API key, or name its file with"
    " --api-key-file.",
    "SCOPE_MISSING": "Use an API key that has this scope.",
    "NOT_FOUND": "Check the id; an API key sees only what belongs to its own tenant.",
    "REVISION_NOT_PUBLISHED": "Publish the template, or choose another --revision.",
    "REQUEST_ID_REUSED": "This file was imported before with another name, revision, priority or"
    " plan. Repeat them to go on there; --run NAME makes another campaign of the same file, and so"
    " a second pass to each row.",
    "WRITER_FENCED": "Another import of this file is under way and has taken over.",
    "STREAM_STATE": "Another import of this file has finished it meanwhile: run the command again.",
    "CAMPAIGN_STATE": "`passmill campaign list` shows the state of each campaign.",
    "NO_SIGNING_IDENTITY": "Upload and activate a signing identity first.",
}


def explain(error: PassmillError) -> str:
    """A refused or failed call in words, with what to do about it."""
    lines = [f"{error.message} ({error.reason})"]
    lines += [f"  {problem.path}: {problem.message}" for problem in error.fields]
    if error.reason in _NEXT:
        lines.append(_NEXT[error.reason])
    return "\n".join(lines)
