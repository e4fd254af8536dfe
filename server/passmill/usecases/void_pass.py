"""Void a pass: it stays in the wallet, marked as no longer usable.

This must be possible at any time, so it does not wait for somebody who can sign.
"""

from __future__ import annotations

from dataclasses import replace

from passmill.domain.pass_marks import is_voided_by_use
from passmill.domain.passes import WalletPass
from passmill.usecases.change_pass import ChangePass, PassChange
from passmill.usecases.find_pass import PassRef
from passmill.usecases.issue_passes import IssuedPass
from passmill.usecases.mutation import Answer, Mutation


class VoidPass:
    """Makes a pass unusable."""

    def __init__(self, *, change_pass: ChangePass) -> None:
        self._change_pass = change_pass

    async def __call__(
        self, mutation: Mutation[IssuedPass], *, ref: PassRef, etag: str, reason: str
    ) -> Answer:
        """The answer with the voided pass. AppError PASS_VOIDED when it already is, but by a use:
        then it stays so when that is taken back."""

        def alter(current: WalletPass, *_: object) -> WalletPass:
            if is_voided_by_use(current):
                return replace(current, void_reason=reason)
            return current.voided(reason)

        return await self._change_pass(
            mutation, PassChange(ref=ref, etag=etag, event="pass.voided", alter=alter)
        )
