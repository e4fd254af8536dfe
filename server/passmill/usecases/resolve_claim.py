"""Say what a claim link gives and asks for. Uses nothing of it up, however often it is asked: mail
scanners and previews ask, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passmill.domain.api_keys import hash_secret
from passmill.domain.callers import Caller
from passmill.domain.claim_forms import ClaimField
from passmill.domain.claims import Claim, ClaimLink, ClaimState, Recovery, recovery_of
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId
from passmill.domain.passes import WalletPass
from passmill.domain.reference_ids import format_reference_id
from passmill.store.claims import find_any_claim, find_claim_by_key
from passmill.store.database import Database, Transaction
from passmill.store.passes import find_passes
from passmill.usecases.claim_branding import Branding, ClaimBranding, branding_of
from passmill.usecases.present_link import PresentLink, refusal_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedClaim:
    """What a link gives whoever asks. `caller`: the service's own work inside its tenant.
    `pass_id`, `reference_id`: of the pass claimed with the key given."""

    caller: Caller
    state: ClaimState
    branding: Branding
    fields: Sequence[ClaimField]
    default_region: str
    recovery: Recovery | None = None
    pass_id: PassId | None = None
    reference_id: str = ""


class ResolveClaim:
    """Looks at links."""

    __slots__ = ("_branding", "_clock", "_database", "_present_link")

    def __init__(
        self,
        *,
        database: Database,
        present_link: PresentLink,
        branding: ClaimBranding,
        clock: Clock,
    ) -> None:
        self._database = database
        self._present_link = present_link
        self._branding = branding
        self._clock = clock

    async def __call__(self, token: str, claim_key: str, *, deadline: float) -> ResolvedClaim:
        """What the link gives whoever has this claim key ('' for nobody yet). AppError NOT_FOUND,
        TENANT_SUSPENDED."""
        presented = await self._present_link(token, deadline=deadline)
        caller, link = presented.caller, presented.link
        loaded = await self._branding.revision(caller, link)
        state, claim, wallet_pass = await self._look(caller, link, claim_key)
        if state is ClaimState.OPEN and loaded is None:
            state = ClaimState.UNAVAILABLE
        is_mine = state is ClaimState.CLAIMED
        return ResolvedClaim(
            caller=caller,
            state=state,
            branding=Branding() if loaded is None else branding_of(loaded.content),
            fields=link.fields,
            default_region=link.default_region,
            recovery=recovery_of(wallet_pass.holder) if wallet_pass and not is_mine else None,
            pass_id=claim.pass_id if claim is not None and is_mine else None,
            reference_id=format_reference_id(wallet_pass.reference_number)
            if wallet_pass and is_mine
            else "",
        )

    async def logo(self, token: str, *, deadline: float) -> bytes:
        """The logo's PNG, b'' when there is none. AppError as the call."""
        presented = await self._present_link(token, deadline=deadline)
        loaded = await self._branding.revision(presented.caller, presented.link)
        if loaded is None:
            return b""
        return await self._branding.logo(presented.caller, branding_of(loaded.content))

    async def _look(
        self, caller: Caller, link: ClaimLink, claim_key: str
    ) -> tuple[ClaimState, Claim | None, WalletPass | None]:
        async with self._database.transaction(caller, read_only=True) as tx:
            if claim_key:
                mine = await find_claim_by_key(tx, link.link_id, hash_secret(claim_key))
                if mine is not None:
                    return ClaimState.CLAIMED, mine, await _pass_of(tx, mine)
            refusal = await refusal_of(tx, link, now=self._clock.now())
            if refusal is not ClaimState.CLAIMED_ELSEWHERE:
                return refusal or ClaimState.OPEN, None, None
            theirs = await find_any_claim(tx, link.link_id)
            return refusal, theirs, await _pass_of(tx, theirs)


async def _pass_of(tx: Transaction, claim: Claim | None) -> WalletPass | None:
    if claim is None or claim.pass_id is None:
        return None
    found = await find_passes(tx, pass_ids=[claim.pass_id], references=())
    return found[0].wallet_pass if found else None
