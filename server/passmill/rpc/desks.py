"""What a scanner may ask of services that others call, too."""

from __future__ import annotations

from collections.abc import Iterable

from passmill.domain.callers import Caller
from passmill.domain.scanners import Desk, ScannerRight
from passmill.usecases.find_desk import FindDesk
from passmill.usecases.find_pass import PassRef


class Desks:
    """Finds out at which desk a call is made, and whether that may make it."""

    __slots__ = ("_find_desk",)

    def __init__(self, *, find_desk: FindDesk) -> None:
        self._find_desk = find_desk

    async def __call__(
        self, caller: Caller, rights: Iterable[ScannerRight], refs: Iterable[PassRef] = ()
    ) -> Desk:
        """The caller's desk, which has these rights, and may look up what it names; of a key that
        is no scanner's, one that may do everything. AppError SCANNER_RIGHT_MISSING."""
        desk = await self._find_desk(caller)
        for right in rights:
            desk.require(right)
        if any(ref.reference_id is not None for ref in refs):
            desk.require(ScannerRight.LOOK_UP)
        return desk
