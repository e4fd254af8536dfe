"""Tags of a pass: words by which segments choose it, and which nobody sees on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from passmill.errors import FieldError

MAX_TAGS: Final = 16
_TAG: Final = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,63}")


def canonical_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Sorted, each once."""
    return tuple(sorted(set(tags)))


def tag_problems(tags: Sequence[str], *, path: str) -> list[FieldError]:
    """What is wrong with the tags of one pass: too many, or one that is no tag."""
    if len(tags) > MAX_TAGS:
        message = f"are {len(tags)}, at most {MAX_TAGS} are allowed"
        return [FieldError(path=path, message=message)]
    wanted = "must be 1 to 64 of a-z, 0-9, _ . : and -, beginning with a letter or a digit"
    return [
        FieldError(path=f"{path}[{index}]", message=wanted)
        for index, tag in enumerate(tags)
        if not _TAG.fullmatch(tag)
    ]
