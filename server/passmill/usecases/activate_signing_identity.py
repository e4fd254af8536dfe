"""Make a signing identity the one that signs its pass type."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import structlog

from passmill.domain.clock import Clock
from passmill.domain.ids import SigningIdentityId
from passmill.domain.tenants import StoredIdentity
from passmill.errors import AppError, Reason
from passmill.signing.identities import require_in_time
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.signing_identities import (
    find_other_team,
    get_identity,
    lock_active,
    set_active,
)
from passmill.usecases.mutation import Answer, Mutation, Mutator


class ActivateSigningIdentity:
    """Activates identities of the tenant that the mutation's caller acts for."""

    __slots__ = ("_audit", "_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(
        self, mutation: Mutation[StoredIdentity], *, signing_identity_id: SigningIdentityId
    ) -> Answer:
        """The identity, which all processes sign with within five seconds.

        AppError NOT_FOUND, SIGNING_IDENTITY_EXPIRED, or INVALID_SIGNING_IDENTITY with cause
        TEAM_CHANGED.
        """

        async def work(tx: Transaction) -> StoredIdentity:
            identity = await get_identity(tx, signing_identity_id)
            return await activate(tx, identity, now=self._clock.now())

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only):
            self._audit.info(
                "signing_identity.activated",
                tenant_id=mutation.caller.tenant_id,
                signing_identity_id=signing_identity_id,
                by=mutation.caller.key_id,
            )
        return answer


async def activate(tx: Transaction, identity: StoredIdentity, *, now: datetime) -> StoredIdentity:
    """Makes a stored identity the active one of its pass type.

    AppError SIGNING_IDENTITY_EXPIRED, or INVALID_SIGNING_IDENTITY with cause TEAM_CHANGED when
    published revisions name another team: Wallet refuses a pass whose teamIdentifier is not the
    certificate's (https://developer.apple.com/documentation/walletpasses/pass), and a published
    revision never changes.
    """
    require_in_time(identity, now)
    # Before the look at the revisions: one that is being published now pins the active identity.
    await lock_active(tx, identity.pass_type_identifier)
    other_team = await find_other_team(
        tx,
        pass_type_identifier=identity.pass_type_identifier,
        team_identifier=identity.team_identifier,
    )
    if other_team is not None:
        raise AppError(
            reason=Reason.INVALID_SIGNING_IDENTITY,
            message=f"The certificate is of team {identity.team_identifier}, but published"
            f" revisions of {identity.pass_type_identifier} are of team {other_team}. Use a"
            " certificate of that team, or another pass type identifier for the new team.",
            metadata={"cause": "TEAM_CHANGED"},
        )
    await set_active(
        tx,
        identity.signing_identity_id,
        pass_type_identifier=identity.pass_type_identifier,
    )
    await insert_event(
        tx,
        kind="signing_identity.activated",
        pass_ids=[],
        detail=json.dumps({"signing_identity_id": str(identity.signing_identity_id)}),
        now=now,
    )
    return replace(identity, is_active=True)
