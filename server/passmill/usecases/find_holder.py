"""Find holders by any name there is for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.holders import Identity, IdentityKind, KnownHolder
from passmill.domain.ids import HolderId, PassId, parse_uuid
from passmill.domain.keyring import Keyring
from passmill.domain.ledger import AccountId, Balance
from passmill.domain.rates import Rates
from passmill.errors import AppError, Reason, not_found
from passmill.store import holders
from passmill.store.accounts import find_accounts
from passmill.store.database import Database, Transaction
from passmill.store.holders import IdentityKey
from passmill.store.ledger import get_balances
from passmill.usecases.find_pass import FindPass, PassRef

MOST_FOUND: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderRef:
    """A holder by its own id or by a pass; exactly one is not None."""

    holder_id: str | None = None
    wallet_pass: PassRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderKey:
    """A holder that exists or may be made: by its id, or by a pass that is there."""

    holder_id: HolderId | None
    pass_id: PassId | None

    async def current(self, tx: Transaction) -> HolderId | None:
        """The holder as it is now, None for a pass that was never linked."""
        if self.pass_id is None:
            return self.holder_id
        return await holders.find_pass_holder(tx, self.pass_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHolders:
    """Those found; `is_cut`: there are more."""

    holders: tuple[KnownHolder, ...]
    is_cut: bool


class FindHolder:
    """Resolves references, and finds holders."""

    __slots__ = ("_clock", "_database", "_find_pass", "_keyring", "_misses")

    def __init__(
        self,
        *,
        database: Database,
        find_pass: FindPass,
        keyring: Keyring,
        clock: Clock,
        misses: Rates,
    ) -> None:
        """`misses`: how often each till's key may name an identity that is nobody's."""
        self._database = database
        self._find_pass = find_pass
        self._keyring = keyring
        self._clock = clock
        self._misses = misses

    def key_of(self, caller: Caller, identity: Identity) -> IdentityKey:
        """How the caller's tenant keeps an identity."""
        key_hash = self._keyring.identity_hash(caller.tenant_id, identity.encode())
        return IdentityKey.of(identity, key_hash)

    async def resolve(self, caller: Caller, ref: HolderRef) -> HolderKey:
        """Whom a reference names. AppError NOT_FOUND when there is no such holder or pass."""
        if ref.wallet_pass is not None:
            listed = await self._find_pass(caller, ref.wallet_pass)
            return HolderKey(holder_id=None, pass_id=listed.wallet_pass.pass_id)
        parsed = parse_uuid(ref.holder_id or "")
        if parsed is None:
            raise not_found("holder")
        holder_id = HolderId(parsed)
        async with self._database.statement(caller) as tx:
            if await holders.find_holder(tx, holder_id) is None:
                raise not_found("holder")
        return HolderKey(holder_id=holder_id, pass_id=None)

    async def by_ref(self, caller: Caller, ref: HolderRef) -> FoundHolders:
        """The holder that a reference names. AppError NOT_FOUND when there is none."""
        key = await self.resolve(caller, ref)
        async with self._database.transaction(caller, read_only=True) as tx:
            return await self._known(
                tx,
                [] if key.holder_id is None else [key.holder_id],
                [] if key.pass_id is None else [key.pass_id],
            )

    async def identify(self, caller: Caller, identity: Identity) -> KnownHolder | None:
        """As `by_identity`, for tills. Numbers and addresses can be guessed: a key that names too
        many that are nobody's has to wait. Payment cards cannot, and most are nobody's. AppError
        RATE_LIMITED."""
        is_guessable = identity.kind is not IdentityKind.PAYMENT_CARD
        if not is_guessable:
            return await self.by_identity(caller, identity)
        self._require_misses_left(caller)
        known = await self.by_identity(caller, identity)
        # Many may have been asked at once: they learn no more than one after the other.
        self._require_misses_left(caller)
        if known is None:
            self._misses.charge(caller.key_id)
        return known

    def _require_misses_left(self, caller: Caller) -> None:
        if (wait := self._misses.wait(caller.key_id)) > 0:
            raise AppError(
                reason=Reason.RATE_LIMITED,
                message="This key has named too many identities that are nobody's. Wait.",
                retry_after=timedelta(seconds=wait),
            )

    async def by_identity(self, caller: Caller, identity: Identity) -> KnownHolder | None:
        """The holder that an identity was linked to."""
        key = self.key_of(caller, identity)
        async with self._database.transaction(caller, read_only=True) as tx:
            holder_id = await holders.find_identity(tx, key)
            if holder_id is None:
                return None
            return (await self._known(tx, [holder_id], [])).holders[0]

    async def by_phone(self, caller: Caller, identity: Identity) -> FoundHolders:
        """The holders that a telephone number was linked to, or whose passes show it."""
        key = self.key_of(caller, identity)
        async with self._database.transaction(caller, read_only=True) as tx:
            linked = await holders.find_identity(tx, key)
            pass_ids = await holders.passes_with_phone(tx, identity.text, at_most=MOST_FOUND + 1)
            return await self._known(tx, [] if linked is None else [linked], pass_ids)

    async def by_external_id(self, caller: Caller, system: str, external_id: str) -> FoundHolders:
        """The holders of passes issued with an id."""
        async with self._database.transaction(caller, read_only=True) as tx:
            pass_ids = await holders.passes_with_external_id(
                tx, system, external_id, at_most=MOST_FOUND + 1
            )
            return await self._known(tx, [], pass_ids)

    async def _known(
        self, tx: Transaction, holder_ids: list[HolderId], pass_ids: list[PassId]
    ) -> FoundHolders:
        found = await holders.read_known(tx, holder_ids, pass_ids)
        is_cut = len(found) > MOST_FOUND or len(pass_ids) > MOST_FOUND
        told = found[:MOST_FOUND]
        accounts = await find_accounts(
            tx, [held.pass_id for known in told for held in known.passes]
        )
        balances = await get_balances(tx, sorted(set(accounts.values())), now=self._clock.now())
        return FoundHolders(
            holders=tuple(_with_balances(known, accounts, balances) for known in told),
            is_cut=is_cut,
        )


def _with_balances(
    known: KnownHolder,
    accounts: Mapping[PassId, AccountId],
    balances: Mapping[tuple[AccountId, str], Balance],
) -> KnownHolder:
    own = {accounts[held.pass_id] for held in known.passes}
    return replace(known, balances=[balances[key] for key in sorted(balances) if key[0] in own])
