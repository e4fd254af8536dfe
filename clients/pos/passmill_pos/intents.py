"""What staff want done, noted down before it is tried."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final

from passmill_pos.outcomes import Outcome
from passmill_pos.scanned_text import NamedBy, PassName


class Action(enum.StrEnum):
    """What can be done to a pass at the counter. Kept in queues as its text."""

    REDEEM = "redeem"
    CHECK_IN = "check_in"
    CHECK_OUT = "check_out"
    EARN = "earn"
    BURN = "burn"
    PAY = "pay"
    REVERSE_REDEMPTION = "reverse_redemption"
    REVERSE_ENTRY = "reverse_entry"


SCANS: Final = frozenset({Action.REDEEM, Action.CHECK_IN, Action.CHECK_OUT})
"""What the service is told of offline as scans; EARN and BURN are entries of the ledger."""

REVERSALS: Final = frozenset({Action.REVERSE_REDEMPTION, Action.REVERSE_ENTRY})
"""What takes back what was done, and names no pass."""

ONLINE: Final = REVERSALS | {Action.PAY}
"""What only the service can judge: it is not begun without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One thing to be done. Amounts are in the smallest part of their unit.

    `amount`: of EARN and BURN; of PAY the most to use, 0 for all that may be. `total`, `currency`:
    of PAY, what the sale comes to. `reference`: whatever the till will know it by; of a reversal
    why. `target_id`: of a reversal, the redemption or the entry; it has no `name`.
    """

    action: Action
    name: PassName | None
    target_id: str = ""
    offer_id: str = ""
    unit: str = ""
    amount: int = 0
    total: int = 0
    currency: str = ""
    reference: str = ""
    staff: str = ""
    venue_id: str = ""

    @property
    def pass_name(self) -> PassName:
        """The name of the pass. ValueError: there is none."""
        if self.name is None:
            raise ValueError(f"{self.action} names no pass")
        return self.name

    def to_json(self) -> str:
        """All of it but the name of the pass."""
        parts = asdict(self)
        del parts["name"]
        return json.dumps(parts, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, *, by: str, name: str) -> Intent:
        """The intent that `to_json` gave, about the pass that is named so; none when `by` is
        empty."""
        parts = json.loads(text)
        action = Action(parts.pop("action"))
        return cls(action=action, name=PassName(by=NamedBy(by), text=name) if by else None, **parts)


class EntryState(enum.StrEnum):
    """Where a noted intent is in its life."""

    TRYING = "trying"
    """A command waits for its answer, or died over it. Nobody was told anything."""
    KEPT = "kept"
    """Staff were told that it is sent later."""
    DONE = "done"
    """It has an outcome."""


class PayStep(enum.StrEnum):
    """How far a payment is. Before CAPTURE it is undone when the service is not reached: RELEASE,
    from which it never is paid."""

    NONE = ""
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An intent as it is kept.

    `sequence`: its place, never used twice. `key`: a UUID, under which it is done once. `is_tried`:
    the service may have heard of it under its key. `pass_id`: once the service said which pass the
    name is of. `details`: what a payment holds, as JSON. `origin`: of the API key under which it
    was noted; empty when that is not known. `outcome`: of DONE.
    """

    sequence: int
    key: str
    intent: Intent
    noted: datetime
    state: EntryState
    is_tried: bool
    pass_id: str = ""
    step: PayStep = PayStep.NONE
    details: str = field(default="", repr=False)
    problem: str = ""
    origin: str = ""
    outcome: Outcome | None = None
