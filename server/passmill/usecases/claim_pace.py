"""How fast one visitor may go at one claim link."""

from __future__ import annotations

from datetime import timedelta

from passmill.domain.claims import ClaimLink
from passmill.domain.rates import Rates
from passmill.errors import AppError, Reason


class ClaimPace:
    """Counts what each client does by each link, apart from all others."""

    __slots__ = ("_rates",)

    def __init__(self, rates: Rates | None) -> None:
        """`rates`: None for no limit."""
        self._rates = rates

    def take(self, link: ClaimLink, client: str) -> None:
        """Counts one more. `client`: the address that somebody comes from, '' where none is known
        and nothing is counted. AppError RATE_LIMITED with `retry_after`."""
        if self._rates is None or not client:
            return
        key = f"{link.link_id}/{client}"
        wait = self._rates.wait(key)
        if wait > 0:
            raise AppError(
                reason=Reason.RATE_LIMITED,
                message="Too much by this link from one address. Wait, or come from another.",
                retry_after=timedelta(seconds=wait),
            )
        self._rates.charge(key)
