"""The cache of opened signing identities, with real identities and a loader in memory."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from passmill import errors
from passmill.dev.authority import IssuedCertificate, KeyType, ThrowawayAuthority
from passmill.domain.callers import Caller, internal_caller
from passmill.domain.ids import SigningIdentityId, TenantId
from passmill.domain.tenants import StoredIdentity
from passmill.errors import AppError, Reason
from passmill.signing.identities import IdentityCache
from passmill.signing.native import SigningIdentity

WRAPPING_KEY = secrets.token_bytes(32)
NOW = datetime.now(UTC).replace(microsecond=0)
PASS_TYPE = "pass.example.coffee"


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        """The moment set."""
        return self.moment


class Shelf:
    """Identities in memory; counts what it is asked."""

    def __init__(self, *identities: StoredIdentity) -> None:
        self.identities = {each.signing_identity_id: each for each in identities}
        self.active = identities[0].signing_identity_id if identities else None
        self.questions = 0
        self.is_asked = asyncio.Event()
        self.is_failing = False

    async def get(self, caller: Caller, signing_identity_id: SigningIdentityId) -> StoredIdentity:
        """The identity, of any tenant but the third."""
        await self._answer()
        found = self.identities.get(signing_identity_id)
        if found is None or caller.tenant_id == 3:
            raise errors.not_found("signing identity")
        return found

    async def find_active(self, caller: Caller, pass_type_identifier: str) -> StoredIdentity | None:
        """The active one, whatever the tenant."""
        await self._answer()
        if self.active is None or pass_type_identifier != PASS_TYPE:
            return None
        return self.identities[self.active]

    async def _answer(self) -> None:
        self.questions += 1
        self.is_asked.set()
        await asyncio.sleep(0)
        if self.is_failing:
            raise AppError(reason=Reason.UNAVAILABLE, message="away")


class Ticks:
    """Monotonic seconds that a test moves on."""

    def __init__(self) -> None:
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(scope="module")
def authority() -> ThrowawayAuthority:
    """One authority for the module."""
    return ThrowawayAuthority(now=NOW)


@pytest.fixture(scope="module")
def stored(authority: ThrowawayAuthority) -> StoredIdentity:
    """An identity good for a year."""
    return store(authority.issue_pass_certificate(now=NOW), 1)


def store(
    issued: IssuedCertificate, number: int, *, wrapping_key: bytes = WRAPPING_KEY
) -> StoredIdentity:
    """An identity as the database has it."""
    identity = SigningIdentity.from_pem(
        issued.certificate_pem,
        issued.private_key_pem,
        password=None,
        intermediates=[issued.wwdr_pem],
        now=int(issued.certificate.not_valid_before_utc.timestamp()) + 3600,
    )
    certificate = identity.certificate
    return StoredIdentity(
        signing_identity_id=SigningIdentityId(number),
        pass_type_identifier=certificate.pass_type_identifier,
        team_identifier=certificate.team_identifier,
        fingerprint=certificate.fingerprint_sha256,
        leaf_der=certificate.leaf_der,
        intermediate_der=certificate.intermediate_der,
        wrapped_key=identity.wrap(wrapping_key=wrapping_key),
        valid_from=datetime.fromtimestamp(certificate.not_before, UTC),
        expire_time=datetime.fromtimestamp(certificate.not_after, UTC),
        is_active=True,
        create_time=NOW,
    )


def cache_of(
    shelf: Shelf, *, clock: SetClock | None = None, ticks: Ticks | None = None, capacity: int = 10
) -> IdentityCache:
    """A cache over the shelf."""
    return IdentityCache(
        loader=shelf,
        wrapping_key=WRAPPING_KEY,
        clock=clock or SetClock(),
        capacity=capacity,
        monotonic=ticks or Ticks(),
    )


def caller(tenant: int = 1) -> Caller:
    """Work inside a tenant."""
    return internal_caller(TenantId(tenant), deadline=asyncio.get_running_loop().time() + 30)


async def test_opened_once_for_many_at_once(stored: StoredIdentity) -> None:
    """A hundred calls at once ask the store once and get the same handle."""
    shelf = Shelf(stored)
    cache = cache_of(shelf)
    found = await asyncio.gather(*(cache.active(caller(), PASS_TYPE) for _ in range(100)))
    assert shelf.questions == 1
    assert {identity_id for identity_id, _ in found} == {stored.signing_identity_id}
    assert len({id(identity) for _, identity in found}) == 1
    assert await cache.load(caller(), stored.signing_identity_id) is found[0][1]
    certificate = await cache.certificate(caller(), stored.signing_identity_id)
    assert certificate.fingerprint_sha256 == stored.fingerprint
    assert shelf.questions == 1


async def test_tenants_share_nothing(stored: StoredIdentity) -> None:
    """What one tenant opened is not given to another, for which the store has nothing."""
    shelf = Shelf(stored)
    cache = cache_of(shelf)
    await cache.load(caller(), stored.signing_identity_id)
    for question in (cache.load, cache.certificate):
        with pytest.raises(AppError) as refused:
            await question(caller(3), stored.signing_identity_id)
        assert refused.value.reason is Reason.NOT_FOUND


async def test_activation_shows_within_four_seconds(
    stored: StoredIdentity, authority: ThrowawayAuthority
) -> None:
    """Which identity is active is asked again after four seconds."""
    renewed = store(authority.issue_pass_certificate(now=NOW, key_type=KeyType.P256), 2)
    shelf, ticks = Shelf(stored, renewed), Ticks()
    cache = cache_of(shelf, ticks=ticks)
    assert (await cache.active(caller(), PASS_TYPE))[0] == 1
    shelf.active = renewed.signing_identity_id
    ticks.seconds += 3.9
    assert (await cache.active(caller(), PASS_TYPE))[0] == 1
    ticks.seconds += 0.1
    assert (await cache.active(caller(), PASS_TYPE))[0] == 2


async def test_expiry_is_checked_on_each_use(
    stored: StoredIdentity, authority: ThrowawayAuthority
) -> None:
    """An opened identity is refused from the second after its last on, for signing; its certificate
    is still given. A renewal activated meanwhile is taken up at once."""
    shelf, clock = Shelf(stored), SetClock()
    cache = cache_of(shelf, clock=clock)
    await cache.active(caller(), PASS_TYPE)
    clock.moment = stored.expire_time
    await cache.active(caller(), PASS_TYPE)
    clock.moment += timedelta(seconds=1)
    for refusing in (
        cache.active(caller(), PASS_TYPE),
        cache.load(caller(), stored.signing_identity_id),
    ):
        with pytest.raises(AppError) as refused:
            await refusing
        assert refused.value.reason is Reason.SIGNING_IDENTITY_EXPIRED
    certificate = await cache.certificate(caller(), stored.signing_identity_id)
    assert certificate.leaf_der == stored.leaf_der

    renewed = store(authority.issue_pass_certificate(now=clock.moment, key_type=KeyType.P256), 2)
    shelf.identities[renewed.signing_identity_id] = renewed
    shelf.active = renewed.signing_identity_id
    assert (await cache.active(caller(), PASS_TYPE))[0] == 2
    clock.moment = NOW - timedelta(days=2)
    with pytest.raises(AppError) as refused:
        await cache.load(caller(), stored.signing_identity_id)
    assert refused.value.reason is Reason.SIGNING_IDENTITY_EXPIRED


async def test_none_active_says_what_to_do(stored: StoredIdentity) -> None:
    """Without an active identity the refusal names the pass type and the way out; one activated
    then is found at once."""
    shelf = Shelf(stored)
    shelf.active = None
    cache = cache_of(shelf)
    with pytest.raises(AppError) as refused:
        await cache.active(caller(), PASS_TYPE)
    assert refused.value.reason is Reason.NO_SIGNING_IDENTITY
    assert refused.value.metadata == {"pass_type_identifier": PASS_TYPE}
    assert "UploadSigningIdentity" in refused.value.message
    shelf.active = stored.signing_identity_id
    assert (await cache.active(caller(), PASS_TYPE))[0] == 1


async def test_failure_is_not_kept(stored: StoredIdentity) -> None:
    """While the store is away every asker is told so; afterwards the next one gets the identity."""
    shelf = Shelf(stored)
    shelf.is_failing = True
    cache = cache_of(shelf)
    results = await asyncio.gather(
        *(cache.active(caller(), PASS_TYPE) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(each, AppError) for each in results)
    shelf.is_failing = False
    await cache.active(caller(), PASS_TYPE)


async def test_cancelled_first_asker_is_replaced(stored: StoredIdentity) -> None:
    """When the call that is opening an identity is cancelled, another one that waits goes on."""
    shelf = Shelf(stored)
    cache = cache_of(shelf)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(cache.active(caller(), PASS_TYPE))
        second = group.create_task(cache.active(caller(), PASS_TYPE))
        await shelf.is_asked.wait()
        first.cancel()
    assert first.cancelled()
    assert second.result()[0] == stored.signing_identity_id


async def test_key_under_another_master_key_is_a_fault(authority: ThrowawayAuthority) -> None:
    """A stored key that does not open is a fault of the deployment, told without the key."""
    issued = authority.issue_pass_certificate(now=NOW, key_type=KeyType.P256)
    foreign = store(issued, 9, wrapping_key=secrets.token_bytes(32))
    with pytest.raises(AppError) as refused:
        await cache_of(Shelf(foreign)).load(caller(), foreign.signing_identity_id)
    assert refused.value.reason is Reason.INTERNAL
    assert refused.value.metadata == {"cause": "WRAPPED_KEY_REFUSED"}


async def test_room_is_bounded(authority: ThrowawayAuthority) -> None:
    """The least recently used identity is given up and opened again when it is wanted."""
    shelf = Shelf(
        *(
            store(authority.issue_pass_certificate(now=NOW, key_type=KeyType.P256), number)
            for number in (1, 2, 3)
        )
    )
    cache = cache_of(shelf, capacity=2)
    for number, questions in ((1, 1), (2, 2), (1, 2), (3, 3), (1, 3), (2, 4)):
        await cache.load(caller(), SigningIdentityId(number))
        assert shelf.questions == questions
