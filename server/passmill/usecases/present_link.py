"""From a link's token to the link and its tenant: how people without a credential are let in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from passmill.domain.api_keys import hash_secret
from passmill.domain.callers import Caller, internal_caller, public_caller
from passmill.domain.claims import ClaimLink, ClaimState, is_claim_token
from passmill.domain.passes import PassState
from passmill.domain.tenants import TenantState
from passmill.errors import AppError, Reason
from passmill.store.claim_links import find_presented_link
from passmill.store.database import Database, Transaction
from passmill.store.passes import find_passes


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedLink:
    """A link whose token was given. `caller`: the service's own work inside its tenant."""

    caller: Caller
    link: ClaimLink


async def refusal_of(tx: Transaction, link: ClaimLink, *, now: datetime) -> ClaimState | None:
    """Why nobody new may claim by the link, None when somebody may. One to a pass that was voided
    is withdrawn with it."""
    refusal = link.refusal(now)
    if refusal is not None or link.pass_id is None:
        return refusal
    found = await find_passes(tx, pass_ids=[link.pass_id], references=())
    if found and found[0].wallet_pass.state is PassState.VOIDED:
        return ClaimState.REVOKED
    return None


class PresentLink:
    """Knows links by their tokens."""

    __slots__ = ("_database",)

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def __call__(self, token: str, *, deadline: float) -> PresentedLink:
        """The link. `deadline`: of the whole request, by the event loop's clock.

        AppError NOT_FOUND for a token that is unknown or malformed, TENANT_SUSPENDED.
        """
        if not is_claim_token(token):
            raise _not_found()
        token_hash = hash_secret(token)
        async with self._database.transaction(
            public_caller(deadline=deadline), read_only=True, presented_secret=token_hash
        ) as tx:
            found = await find_presented_link(tx, token_hash)
        if found is None:
            raise _not_found()
        tenant_id, state, link = found
        if state is TenantState.SUSPENDED:
            raise AppError(
                reason=Reason.TENANT_SUSPENDED, message="This link does not work at present."
            )
        return PresentedLink(caller=internal_caller(tenant_id, deadline=deadline), link=link)


def _not_found() -> AppError:
    return AppError(reason=Reason.NOT_FOUND, message="No claim link with this token.")
