"""What a pass looked like before it took a step of a chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUndo:
    """`slots`: in the stored form of values, what each slot that changed was and what it became,
    None for nothing. `revision`: number of the one it had, None when it keeps that."""

    slots: Mapping[str, tuple[object, object]]
    revision: int | None
