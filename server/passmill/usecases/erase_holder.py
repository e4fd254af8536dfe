"""Erase a holder: nothing that the passes show, and nothing that finds them, is the person's any
more. What else holds something of them goes soon after (`complete_erasures`)."""

from __future__ import annotations

import structlog

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.erasure import erased_pass
from passmill.domain.holders import KnownHolder, identities_of
from passmill.domain.ids import HolderId, PassId
from passmill.domain.passes import PassState, WalletPass
from passmill.store import holders
from passmill.store.claim_links import erase_links_for
from passmill.store.database import Database, Transaction
from passmill.store.passes import get_passes
from passmill.telemetry.metrics import Metrics
from passmill.usecases.edit_pass import EditPass, PassInHand, PreparedEdit, RevisionMoved
from passmill.usecases.find_holder import FindHolder, HolderKey, HolderRef
from passmill.usecases.finish_signing import FinishSigning
from passmill.usecases.holder_in_hand import HolderMoved, retried, take_holder
from passmill.usecases.mutation import Answer, Mutation, Mutator


class EraseHolder:
    """Erases holders, each once."""

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        find_holder: FindHolder,
        edit_pass: EditPass,
        finish_signing: FinishSigning,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._find_holder = find_holder
        self._edit_pass = edit_pass
        self._finish_signing = finish_signing
        self._clock = clock
        self._metrics = metrics
        self._log = structlog.get_logger("passmill.holders")

    async def __call__(self, mutation: Mutation[KnownHolder], *, ref: HolderRef) -> Answer:
        """The answer with the holder, erased now or before. It does not wait for somebody who can
        sign: the passes are signed when somebody can. AppError NOT_FOUND."""
        caller = mutation.caller
        key = await self._find_holder.resolve(caller, ref)

        async def attempt() -> Answer:
            prepared = await self._prepare(caller, key)
            unsigned: list[PassId] = []

            async def work(tx: Transaction) -> KnownHolder:
                unsigned[:] = await self._erase(tx, caller, key, prepared)
                holder_id = await key.current(tx)
                if holder_id is None:
                    raise HolderMoved
                [known] = await holders.read_known(tx, [holder_id], [])
                return known

            try:
                answer = await self._mutator.run(mutation, work)
            except RevisionMoved as moved:
                raise HolderMoved from moved
            if unsigned and not mutation.validate_only:
                await self._sign(caller, unsigned)
            return answer

        return await retried(attempt)

    async def _prepare(self, caller: Caller, key: HolderKey) -> list[PreparedEdit]:
        """All that is slow about the holder's passes, in the order of their ids."""
        async with self._database.transaction(caller, read_only=True) as tx:
            listed = await get_passes(tx, await _pass_ids(tx, key))
        return [await self._edit_pass.prepare(caller, each) for each in listed]

    async def _erase(
        self, tx: Transaction, caller: Caller, key: HolderKey, prepared: list[PreparedEdit]
    ) -> list[PassId]:
        """Erases the holder, unless that was done; gives the passes that are to be signed."""
        now = self._clock.now()
        holder_id = await key.current(tx)
        if holder_id is None:
            holder_id = await _make(tx, key, self._clock)
        if not await holders.mark_erased(tx, holder_id, now=now):
            return []
        # From here on nobody links anything to the holder.
        if await _pass_ids(tx, key) != [each.listed.wallet_pass.pass_id for each in prepared]:
            raise HolderMoved
        keys = set(await holders.delete_identities(tx, holder_id))
        unsigned = []
        for each in prepared:
            in_hand = PassInHand(tx, each, clock=self._clock)
            current = await in_hand.lock()
            known_by = identities_of(current.holder)
            keys |= {self._find_holder.key_of(caller, identity).key_hash for identity in known_by}
            if await _erase_pass(in_hand, current):
                unsigned.append(each.listed.wallet_pass.pass_id)
        await erase_links_for(tx, keys, now=now)
        return unsigned

    async def _sign(self, caller: Caller, pass_ids: list[PassId]) -> None:
        # As with any change: it is committed, and the sweeper finishes what is left.
        self._metrics.changed("erased", len(pass_ids))
        try:
            await self._finish_signing(caller, pass_ids)
        except Exception:  # noqa: BLE001 - whatever it is, the holder is erased
            self._log.exception("erasure.signing_left_to_sweeper", passes=len(pass_ids))


async def _erase_pass(in_hand: PassInHand, current: WalletPass) -> bool:
    """Voids and empties a pass; gives whether it is to be signed."""
    await in_hand.change(
        current,
        erased_pass(current, in_hand.prepared.before.content),
        event="pass.updated" if current.state is PassState.VOIDED else "pass.voided",
    )
    return in_hand.changes[-1][1]


async def _pass_ids(tx: Transaction, key: HolderKey) -> list[PassId]:
    holder_id = await key.current(tx)
    if holder_id is not None:
        return await holders.list_pass_ids(tx, holder_id)
    return [] if key.pass_id is None else [key.pass_id]


async def _make(tx: Transaction, key: HolderKey, clock: Clock) -> HolderId:
    """A holder for a pass that was never linked, to be erased."""
    in_hand = await take_holder(tx, key)
    await in_hand.make(tx, now=clock.now())
    return in_hand.holder_id
