"""Whether one more device may have a pass, by the sharing policy of its template."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Final

from passmill.domain.clock import Clock
from passmill.domain.events import EventKind
from passmill.domain.passes import PassState
from passmill.domain.registrations import DeviceClaim
from passmill.domain.templates.sharing import OVER_SHARED_TAG, SharingExcess, SharingPolicy
from passmill.errors import not_found
from passmill.store import sharing
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.push_jobs import enqueue_device_push
from passmill.store.registrations import PassKey
from passmill.store.sharing import Newcomer, Sharers

# In which APNs says of the devices that were pushed whether their tokens are gone.
SECOND_LOOK_AFTER: Final = timedelta(minutes=1)

_HARD: Final = frozenset({SharingExcess.REFUSE, SharingExcess.VOID_AND_REISSUE})


class AdmitDevice:
    """Counts the devices of a pass, one registration after the other, and does what its policy says
    about one too many."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    async def __call__(
        self, tx: Transaction, key: PassKey, claim: DeviceClaim, newcomer: Newcomer
    ) -> bool:
        """Whether the device may register; what is done about it is written in any case. The caller
        holds the device's lock, so that nobody waits for one while counting. AppError
        NOT_FOUND."""
        locked = await sharing.hold_shared_pass(tx, key)
        if locked is None:
            raise not_found("pass")
        state, policy = locked
        # Whoever has a voided pass shall hear that it is.
        if policy is None or state is PassState.VOIDED:
            return True
        others = await sharing.count_sharers(
            tx, key.pass_id, policy, beside=newcomer, now=self._clock.now()
        )
        # Who has the pass keeps it, however many there are.
        if others.has_newcomer or not policy.is_exceeded(others.devices + 1):
            return True
        is_news = await sharing.note_over_share(
            tx, key.pass_id, claim.push_token, now=self._clock.now()
        )
        if is_news:
            await self._tell(tx, key, claim, policy, others)
        if policy.excess is SharingExcess.FLAG:
            await sharing.add_tag(tx, key.pass_id, OVER_SHARED_TAG)
        if policy.excess is SharingExcess.VOID_AND_REISSUE:
            await sharing.begin_reissue(
                tx, key.pass_id, now=self._clock.now(), delay=SECOND_LOOK_AFTER
            )
        return policy.excess is not SharingExcess.REFUSE

    async def _tell(
        self,
        tx: Transaction,
        key: PassKey,
        claim: DeviceClaim,
        policy: SharingPolicy,
        others: Sharers,
    ) -> None:
        detail = {
            "action": policy.excess.value,
            "device_count": others.devices + 1,
            "max_devices": policy.max_devices,
            "wallet": claim.wallet,
            "system_version": claim.system_version,
        }
        await insert_event(
            tx,
            kind=EventKind.PASS_OVER_SHARED,
            pass_ids=[key.pass_id],
            detail=json.dumps(detail),
            now=self._clock.now(),
        )
        if policy.excess in _HARD:
            # A phone that was changed for this one, and wiped, is found out by a push: its token is
            # gone, and with that its place is free.
            await enqueue_device_push(tx, others.pushed)
