"""What is wrong with one field of an input: values, not exceptions, so all are told at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """`path` names the field, as in `values["points"]`; `message` says what to do about it."""

    path: str
    message: str
