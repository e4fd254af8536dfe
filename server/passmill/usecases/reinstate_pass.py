"""Reinstate a voided pass."""

from __future__ import annotations

from passmill.domain.passes import WalletPass
from passmill.usecases.change_pass import ChangePass, PassChange
from passmill.usecases.find_pass import PassRef
from passmill.usecases.issue_passes import IssuedPass
from passmill.usecases.mutation import Answer, Mutation


class ReinstatePass:
    """Makes a voided pass usable again."""

    def __init__(self, *, change_pass: ChangePass) -> None:
        self._change_pass = change_pass

    async def __call__(self, mutation: Mutation[IssuedPass], *, ref: PassRef, etag: str) -> Answer:
        """The answer with the usable pass. AppError PASS_NOT_VOIDED when it was not voided,
        PASS_ERASED when its holder was erased."""

        def alter(current: WalletPass, *_: object) -> WalletPass:
            return current.reinstated()

        return await self._change_pass(
            mutation, PassChange(ref=ref, etag=etag, event="pass.reinstated", alter=alter)
        )
