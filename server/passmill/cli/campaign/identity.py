"""What makes an import the same one when its command is run again: the ids of its requests follow
from what is imported, so that the service answers as it did the first time.

An import is a campaign, and a recipient stream that loads it.

- The campaign is named by the file's content, the action, the template and --run. Nothing else
  makes a second campaign of a file, so nothing else issues its passes a second time.
- The stream is named by these and by everything that says what the rows become: how the file is
  read, which column is what, and how cells are read; and by `READING`, as a program that reads
  files otherwise would go on at another row than the one that stopped.

Run again with the same options, both are found and the import goes on where it stopped, whatever
was published meanwhile. With other options of reading the campaign is found and the stream is not:
that is refused once a row was loaded, as rows would come in twice, or as two things. With another
name, revision, priority or plan the service refuses the campaign's request id. The service keeps
request ids for thirty days.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID, uuid5

from passmill_client import PassmillError

READING: Final = 1
"""To be raised whenever some file yields other rows, or other rows are refused here, than
before."""
_NAMESPACE: Final = UUID("7f1f4c3e-63a5-5a0e-9d0c-2f6f0e0c6a10")


class ImportIdentity:
    """Names one import."""

    def __init__(
        self, *, content: str, action: str, template_id: str, run: str, reading: Sequence[object]
    ) -> None:
        """`content`: the file's hash. `reading`: all that says what its rows become."""
        self._campaign = _named(_NAMESPACE, [content, action, template_id, run])
        self._stream = _named(self._campaign, [READING, *reading])

    def of_campaign(self, step: str) -> UUID:
        """The request id of a step of the campaign."""
        return uuid5(self._campaign, step)

    def of_stream(self, step: str) -> UUID:
        """The request id of a step of the stream."""
        return uuid5(self._stream, step)


def was_sent(dry_run: Callable[[], object]) -> bool:
    """Whether a change was made before under its request id. `dry_run` sends it with that id and
    `validate_only`: another request to the service, which refuses it where the id is known, and
    makes nothing where it is not. PassmillError when it is refused for anything else."""
    try:
        dry_run()
    except PassmillError as error:
        if error.reason == "REQUEST_ID_REUSED":
            return True
        raise
    return False


def _named(namespace: UUID, parts: Sequence[object]) -> UUID:
    return uuid5(namespace, json.dumps(parts, ensure_ascii=True))
