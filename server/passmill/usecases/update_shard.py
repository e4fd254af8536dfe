"""Serve a shard that changes passes: moves them to a revision, sets values, shows a message, or
takes another campaign's changes back."""

from __future__ import annotations

from passmill.domain.campaigns import NotifyAction, UpdateAction
from passmill.store.balance_units import ledger_slots
from passmill.store.database import Database
from passmill.usecases.alterations import (
    Alter,
    altered_by_notice,
    altered_by_roll_back,
    altered_by_update,
)
from passmill.usecases.change_passes import ChangePasses, ShardChange
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.shard_targets import Targets, read_targets, read_undo_targets
from passmill.usecases.shard_work import ShardWork


class UpdateShard:
    """Changes the passes of a shard; what they were is kept with it."""

    def __init__(
        self, *, database: Database, load_revision: LoadRevision, change_passes: ChangePasses
    ) -> None:
        self._database = database
        self._load_revision = load_revision
        self._change_passes = change_passes

    async def __call__(self, work: ShardWork) -> None:
        """Serves the shard of a campaign that updates or notifies. As `ShardAct`; AppError
        NO_SIGNING_IDENTITY, SIGNING_IDENTITY_EXPIRED, UNAVAILABLE, DEADLINE_EXCEEDED.

        Recipients fail with PASS_ERASED, PASS_VOIDED, NOT_FOUND (also for a pass of another
        template), INVALID_VALUES, INTERNAL when the signer cannot sign it, UNAVAILABLE when others
        change it all the time; in a roll-back with ETAG_MISMATCH when somebody changed it since.
        """
        targets, ledger = await self._targets(work)
        action = work.campaign.definition.action
        revision_ids = {each.undo.revision_id for each in targets.targets if each.undo is not None}
        if isinstance(action, UpdateAction):
            revision_ids.add(action.revision.revision_id)
        await self._change_passes(
            work,
            ShardChange(
                targets=targets,
                alter=await self._alter(work, ledger),
                action="notify" if isinstance(action, NotifyAction) else "update",
                revision_ids=revision_ids,
                keeps_undo=True,
                ledger_slots=ledger,
            ),
        )

    async def _targets(self, work: ShardWork) -> tuple[Targets, frozenset[str]]:
        """With them the slots in which their passes show the ledger."""
        action = work.campaign.definition.action
        if not isinstance(action, UpdateAction | NotifyAction):
            raise TypeError("This campaign changes no values.")
        async with self._database.transaction(work.caller, read_only=True) as tx:
            ledger = await ledger_slots(tx, action.revision.template_id)
            if work.campaign.rolls_back is not None:
                return await read_undo_targets(tx, work.shard), ledger
            return await read_targets(tx, work.campaign, work.shard), ledger

    async def _alter(self, work: ShardWork, ledger: frozenset[str]) -> Alter:
        action = work.campaign.definition.action
        if work.campaign.rolls_back is not None:
            return altered_by_roll_back()
        match action:
            case UpdateAction():
                after = await self._load_revision.by_id(work.caller, action.revision.revision_id)
                return altered_by_update(action, after, ledger)
            case NotifyAction():
                return altered_by_notice(action, ledger)
            case _:
                raise ValueError("This campaign changes no values.")
