"""Scanners: enrolled once by a code, with the rights it has, at their venue, until revoked."""

import asyncio
from datetime import timedelta

import grpc
import pytest

from passmill.settings import Counter as Counters
from passmill.v1 import counter_pb2
from passmill.v1 import counter_service_pb2 as counter_service
from passmill.v1 import program_service_pb2 as programs
from passmill.v1 import scan_pb2 as scans
from passmill.v1 import scan_service_pb2 as pb
from passmill.v1.scan_service_pb2_grpc import ScanServiceStub
from tests.support.channels import CALL_SECONDS
from tests.support.counters import Counter, open_counter
from tests.support.postgres import Database
from tests.support.refusals import refused
from tests.support.service import meta, open_service, service_settings

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_device_becomes_a_scanner(counter: Counter) -> None:
    """The code, in another spelling, gives a key that redeems at the code's venue and may do
    nothing else of the tenant's."""
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    code = await counter.scanner_code()
    enrolled = await counter.enrol(f" {code.lower().replace('-', ' ')}")
    assert enrolled.venue == counter.venue
    till = counter.till_of(enrolled.api_key, venue_id="")
    answer = await till.redeem(issued, offer)
    assert answer.redemption.venue_id == counter.venue.venue_id
    assert answer.redemption.scanner_id == enrolled.scanner.scanner_id
    config = await till.scans.GetScannerConfig(pb.GetScannerConfigRequest())
    assert (config.scanner, config.venue) == (enrolled.scanner, enrolled.venue)
    assert [each.offer_id for each in config.offers] == [offer.offer_id]
    member = counter.club.tenant.service.member(enrolled.api_key)
    listing = member.programs.ListPrograms(programs.ListProgramsRequest())
    assert (await refused(listing)).reason == "SCOPE_MISSING"
    away = await counter.add_venue()
    elsewhere = counter.till_of(enrolled.api_key, venue_id=away.venue_id)
    assert set((await refused(elsewhere.redeem(issued, offer))).fields) == {"venue_id"}


async def test_a_scanners_key_ends(shared_database: Database) -> None:
    """A scanner's key is good for as long as the setting says, which the scanner and the list are
    told; then it is none, and the device is enrolled anew."""
    limits = Counters(scanner_key_days=7)
    settings = service_settings(shared_database.url).model_copy(update={"counter": limits})
    async with open_service(shared_database.url, settings=settings) as service:
        counter = await open_counter(await service.add_club())
        enrolled = await counter.enrol(await counter.scanner_code())
        scanner = enrolled.scanner
        end = scanner.expire_time.ToDatetime()
        assert end - scanner.enrol_time.ToDatetime() == timedelta(days=7)
        ending = counter.till_of(enrolled.api_key, venue_id="")
        request = pb.GetScannerConfigRequest()
        assert (await ending.scans.GetScannerConfig(request)).scanner == scanner
        listed = await counter.manage.ListScanners(counter_service.ListScannersRequest())
        assert list(listed.scanners) == [scanner]
        ended = await counter.enrol(await counter.scanner_code())
        await counter.club.tenant.fetch(
            "UPDATE api_keys SET expire_time = now() WHERE key_id = $1", ended.scanner.key_id
        )
        till = counter.till_of(ended.api_key, venue_id="")
        call = till.scans.GetScannerConfig(request)
        assert (await refused(call)).reason == "UNAUTHENTICATED"


async def test_a_code_makes_one_scanner(counter: Counter) -> None:
    """Of twenty devices at once one gets in; the request of the winner, sent again, gets the same
    key again."""
    code = await counter.scanner_code()

    async def enrol() -> str:
        try:
            await counter.enrol(code)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    told = await asyncio.gather(*(enrol() for _ in range(20)))
    assert sorted(told) == ["NOT_FOUND"] * 19 + ["OK"]
    other = await counter.scanner_code()
    request = pb.EnrolScannerRequest(code=other, display_name="Gate 2", meta=meta())
    stub = ScanServiceStub(counter.club.tenant.service.api)
    first = await stub.EnrolScanner(request, timeout=CALL_SECONDS)
    assert await stub.EnrolScanner(request, timeout=CALL_SECONDS) == first
    assert await counter.club.tenant.count("scanners") == 2
    rows = await counter.club.tenant.fetch(
        "SELECT answer FROM request_answers WHERE method = 'ScanService/EnrolScanner'"
    )
    assert all(first.api_key.encode() not in row["answer"] for row in rows)


async def test_codes_end(counter: Counter) -> None:
    """A code that is over is as unknown as one that never was; neither code nor key is kept in the
    clear."""
    code = await counter.scanner_code()
    rows = await counter.club.tenant.fetch("SELECT scanner_codes::text AS row FROM scanner_codes")
    assert all(code not in row["row"] for row in rows)
    await counter.club.tenant.fetch("UPDATE scanner_codes SET expire_time = create_time")
    over = await refused(counter.enrol(code))
    assert over.reason == "NOT_FOUND"
    never = await refused(counter.enrol("0000-0000"))
    assert never.content == over.content


async def test_a_revoked_scanner_is_refused(counter: Counter) -> None:
    """Revoking ends the key: it is refused everywhere a few seconds later, and the list says
    since when."""
    enrolled = await counter.enrol(await counter.scanner_code())
    request = counter_service.RevokeScannerRequest(
        scanner_id=enrolled.scanner.scanner_id, meta=meta()
    )
    revoked = (await counter.manage.RevokeScanner(request)).scanner
    assert revoked.HasField("revoke_time")
    # A key that no process has seen yet is refused at once.
    till = counter.till_of(enrolled.api_key, venue_id="")
    config = till.scans.GetScannerConfig(pb.GetScannerConfigRequest())
    assert (await refused(config)).reason == "UNAUTHENTICATED"
    listing = counter_service.ListScannersRequest(venue_id=counter.venue.venue_id)
    assert not (await counter.manage.ListScanners(listing)).scanners
    listing.include_revoked = True
    assert list((await counter.manage.ListScanners(listing)).scanners) == [revoked]


async def test_rights(counter: Counter) -> None:
    """A scanner without a right is told so, as an ordinary answer, and nothing is done."""
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    bare = await counter.scanner([])
    gate = await counter.scanner([counter_pb2.SCANNER_RIGHT_CHECK_IN])
    for answer in (
        await bare.redeem(issued, offer),
        await gate.redeem(issued, offer),
        await bare.check_in(issued),
        await bare.check_out(issued),
    ):
        assert answer.reason == scans.REFUSAL_REASON_RIGHT_MISSING
    assert (await gate.check_in(issued)).outcome == scans.SCAN_OUTCOME_ACCEPTED
    assert await counter.club.tenant.count("redemptions") == 0


async def test_guessed_codes_meet_a_limit(shared_database: Database) -> None:
    """Codes that are none are limited for everybody together; a right one waits as long."""
    limits = Counters(code_burst=5, codes_per_second=0.001)
    settings = service_settings(shared_database.url).model_copy(update={"counter": limits})
    async with open_service(shared_database.url, settings=settings) as service:
        counter = await open_counter(await service.add_club())
        code = await counter.scanner_code()
        refusals = [await refused(counter.enrol("7777-7777")) for _ in range(7)]
        assert [each.reason for each in refusals] == ["NOT_FOUND"] * 5 + ["RATE_LIMITED"] * 2
        assert (await refused(counter.enrol(code))).reason == "RATE_LIMITED"
