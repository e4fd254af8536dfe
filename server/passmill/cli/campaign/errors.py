"""What stops a campaign command, told so that the reader knows what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from passmill_client import PassmillError


class CommandFailed(Exception):
    """The command cannot go on; the message says why and what to do."""


class Interrupted(Exception):
    """Ctrl-C; the message says what goes on, and what can be done about it."""


_NEXT: Final[Mapping[str, str]] = {
    "UNAVAILABLE": "Is the service running, and --address (or PASSMILL_ADDRESS) right?",
    "RATE_LIMITED": "There are too many calls just now: wait a little.",
    "UNAUTHENTICATED": "Set PASSMILL_API_KEY to a valid API key, or name its file with"
    " --api-key-file.",
    "SCOPE_MISSING": "Use an API key that has this scope.",
    "NOT_FOUND": "Check the id; an API key sees only what belongs to its own tenant.",
    "REVISION_NOT_PUBLISHED": "Publish the template, or choose another --revision.",
    "REQUEST_ID_REUSED": "This file was imported before with another name, revision, message,"
    " priority or plan. Repeat them to go on there; --run NAME makes another campaign of the same"
    " file: if it issues, a second pass to each row.",
    "WRITER_FENCED": "Another import of this file is under way and has taken over.",
    "STREAM_STATE": "Another import of this file has finished it meanwhile: run the command again.",
    "CAMPAIGN_STATE": "`passmill campaign list` shows the state of each campaign.",
    "NO_SIGNING_IDENTITY": "Upload and activate a signing identity first.",
}


# Nobody knows whether it was done.
_UNCERTAIN: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RATE_LIMITED"})


def explain(error: PassmillError, *, again: str = "") -> str:
    """A refused or failed call in words, with what to do about it. `again`: what running the same
    command again does, told when it could help."""
    lines = [f"{error.message} ({error.reason})"]
    lines += [
        f"  {problem.path}: {problem.message}"
        for problem in error.fields
        if problem.message not in error.message
    ]
    if error.reason in _NEXT:
        lines.append(_NEXT[error.reason])
    if again and error.reason in _UNCERTAIN:
        lines.append(again)
    return "\n".join(lines)
