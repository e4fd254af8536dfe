"""What scanners are given for the time without a network."""

from __future__ import annotations

from datetime import timedelta

import pytest

from passmill.domain.barcodes import offline_hash
from passmill.domain.ids import PassId, parse_uuid
from passmill.domain.templates import BarcodeKind
from passmill.usecases.offline_bundle import GetOfflineBundle, OfflineBundle
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.holder_service_pb2 import EraseHolderRequest, HolderRef
from passmill.v1.holder_service_pb2_grpc import HolderServiceStub
from passmill.v1.wallet_pass_pb2 import Pass, PassRef
from tests.support.barcodes import add_barcode_club, barcode_card, keys_of, revoke, rotate
from tests.support.channels import CALL_SECONDS, keyed
from tests.support.service import Club, Service, SetClock, by_id, meta
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Bundles:
    """The bundles of a club's tenant, by a clock of the test's own."""

    def __init__(self, club: Club) -> None:
        self.clock = SetClock()
        self.seconds = 0.0
        self._club = club
        self._get = GetOfflineBundle(
            database=club.tenant.service.services.database,
            clock=self.clock,
            monotonic=lambda: self.seconds,
        )

    async def get(self, *, later: float = 11.0) -> OfflineBundle:
        """The bundle, so many seconds after the last one."""
        self.seconds += later
        self.clock.advance(timedelta(seconds=later))
        return await self._get(self._club.tenant.caller)


def hashes(*passes: Pass) -> bytes:
    """How a bundle names these passes."""
    ids = [parse_uuid(each.pass_id) for each in passes]
    return b"".join(sorted(offline_hash(PassId(each)) for each in ids if each is not None))


async def void(club: Club, *passes: Pass) -> None:
    """Makes passes unusable."""
    for each in passes:
        await club.passes.VoidPass(pb.VoidPassRequest(ref=by_id(each), meta=meta()))


async def test_voided_passes_are_listed(service: Service) -> None:
    """The list names voided passes of the tenant, sorted, until they are reinstated or over; the
    digest tells one list from another."""
    club, other = await add_barcode_club(service), await add_barcode_club(service)
    dated = draft()
    bundles = Bundles(club)
    dated.expire_time.FromDatetime(bundles.clock.now() + timedelta(hours=1))
    passes = [await club.issue() for _ in range(6)]
    ending = await club.issue(dated)
    await void(other, await other.issue())
    nothing = await bundles.get()
    assert nothing.voided == b""
    assert nothing.valid_until == nothing.create_time + timedelta(hours=24)
    await void(club, *passes[:4], ending)
    listed = await bundles.get()
    assert listed.voided == hashes(*passes[:4], ending)
    assert (await bundles.get()).digest == listed.digest != nothing.digest
    await club.passes.ReinstatePass(pb.ReinstatePassRequest(ref=by_id(passes[0]), meta=meta()))
    assert (await bundles.get()).voided == hashes(*passes[1:4], ending)
    assert (await bundles.get(later=7200)).voided == hashes(*passes[1:4])


async def test_copies_of_replaced_barcodes_are_listed(service: Service) -> None:
    """A copy made before the pass got another barcode is good to a scanner as long as it says; so
    passes that are void or over are listed until then: with an end brought forward, with handles
    instead, with a key that is revoked since, and of an erased holder. Others are not."""
    club = await add_barcode_club(service)
    bundles = Bundles(club)
    soon = Pass()
    soon.expire_time.FromDatetime(bundles.clock.now() + timedelta(minutes=30))
    voided, over, rotated, moved, erased, good = [await club.issue() for _ in range(6)]
    for each in (voided, over):
        await club.update(each, "expire_time", wanted=soon)
    await void(club, voided)
    newer = await rotate(club.tenant)
    late = Pass()
    late.expire_time.FromDatetime(bundles.clock.now() + timedelta(days=10))
    for each in (rotated, good):
        await club.update(each, "expire_time", wanted=late)
    await void(club, rotated)
    await revoke(club.tenant, newer.barcode_key_id)
    holders = HolderServiceStub(keyed(service.api, club.tenant.member.api_key))
    ref = HolderRef(wallet_pass=PassRef(pass_id=erased.pass_id))
    await holders.EraseHolder(EraseHolderRequest(ref=ref, meta=meta()), timeout=CALL_SECONDS)
    await club.tenant.publish(club.template_id, barcode_card(BarcodeKind.HANDLE))
    await club.update(moved, "revision", wanted=Pass(revision=2))
    await void(club, moved)
    assert (await bundles.get()).voided == hashes(voided, rotated, moved, erased)
    listed = hashes(voided, over, rotated, moved, erased)
    assert (await bundles.get(later=3600)).voided == listed
    await club.update(over, "expire_time", wanted=late)
    assert (await bundles.get()).voided == hashes(voided, rotated, moved, erased)


async def test_keys_that_are_trusted(service: Service) -> None:
    """A bundle has the keys whose barcodes are to be taken, retired ones too; what a revoked key
    has signed is refused for want of it, so its passes need not be named."""
    club = await add_barcode_club(service)
    bundles = Bundles(club)
    first = await club.issue()
    await rotate(club.tenant)
    second = await club.issue()
    await void(club, first, second)
    keys = await keys_of(club.tenant)
    bundle = await bundles.get()
    assert {str(each.key_id): each.public_key for each in bundle.keys} == {
        each.barcode_key_id: each.public_key for each in keys
    }
    assert bundle.voided == hashes(first, second)
    await revoke(club.tenant, keys[0].barcode_key_id)
    after = await bundles.get()
    assert [str(each.key_id) for each in after.keys] == [keys[1].barcode_key_id]
    assert after.voided == hashes(second)
    assert after.digest != bundle.digest


async def test_handles_are_not_listed(service: Service) -> None:
    """Passes whose barcodes nobody can check without the service are in no list."""
    club = await add_barcode_club(service, BarcodeKind.HANDLE)
    await void(club, await club.issue())
    bundle = await Bundles(club).get()
    assert (bundle.keys, bundle.voided) == ([], b"")


async def test_many_scanners_cost_one(service: Service) -> None:
    """Within ten seconds everybody is given the same bundle, and then a new one."""
    club = await add_barcode_club(service)
    issued = await club.issue()
    bundles = Bundles(club)
    first = await bundles.get()
    await void(club, issued)
    assert await bundles.get(later=9) is first
    assert (await bundles.get(later=2)).voided == hashes(issued)
