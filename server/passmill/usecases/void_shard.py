"""Serve a shard that voids passes: those its recipients name, or those the campaign issued and was
cancelled for."""

from __future__ import annotations

from passmill.domain.campaigns import ShardKind, VoidAction
from passmill.store.database import Database
from passmill.usecases.alterations import altered_by_voiding
from passmill.usecases.change_passes import ChangePasses, ShardChange
from passmill.usecases.shard_targets import read_issued_targets, read_targets
from passmill.usecases.shard_work import ShardWork

_CANCELLED = "The campaign that issued it was cancelled."


class VoidShard:
    """Voids the passes of a shard. Like a single one, that waits for nobody who can sign."""

    def __init__(self, *, database: Database, change_passes: ChangePasses) -> None:
        self._database = database
        self._change_passes = change_passes

    async def __call__(self, work: ShardWork) -> None:
        """Serves the shard of a campaign that voids, or one of kind VOID_ISSUED. As `ShardAct`.

        A pass that is voided already counts as served, and keeps its reason; of a cancelled
        campaign's only those count that are voided now, and recipients without a pass are passed
        over. Recipients fail with NOT_FOUND, UNAVAILABLE when others change the pass all the time.
        """
        voids_issued = work.shard.kind is ShardKind.VOID_ISSUED
        action = work.campaign.definition.action
        async with self._database.transaction(work.caller, read_only=True) as tx:
            targets = (
                await read_issued_targets(tx, work.campaign, work.shard)
                if voids_issued
                else await read_targets(tx, work.campaign, work.shard)
            )
        reason = action.reason if isinstance(action, VoidAction) else _CANCELLED
        await self._change_passes(
            work,
            ShardChange(
                targets=targets,
                alter=altered_by_voiding(reason),
                action="void",
                can_sign_later=True,
                skips_missing=voids_issued,
                counts_unchanged=not voids_issued,
            ),
        )
