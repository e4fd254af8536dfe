"""What makes an import the same one when its command is run again: the ids of its requests follow
from what is imported, so that the service answers as it did the first time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid5

_NAMESPACE: Final = UUID("7f1f4c3e-63a5-5a0e-9d0c-2f6f0e0c6a10")


class ImportIdentity:
    """Names one import."""

    def __init__(self, *parts: str | int | Sequence[Sequence[str]]) -> None:
        """`parts`: the file's hash and everything that says what its rows become."""
        self._id = uuid5(_NAMESPACE, json.dumps(parts, ensure_ascii=False))

    def request_id(self, step: str) -> UUID:
        """The request id of one of its steps."""
        return uuid5(self._id, step)
