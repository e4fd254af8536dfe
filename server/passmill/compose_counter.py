"""What API processes serve at the counter."""

from __future__ import annotations

from datetime import timedelta

from passmill.compose_frame import Frame
from passmill.domain.rates import Rates
from passmill.rpc import counter_service, scan_service, server
from passmill.usecases.check_chain import CheckChain
from passmill.usecases.check_offer import CheckOffer
from passmill.usecases.check_pass import CheckPass
from passmill.usecases.create_offer import CreateOffer
from passmill.usecases.create_scanner_code import CreateScannerCode
from passmill.usecases.create_venue import CreateVenue
from passmill.usecases.edit_pass import EditPass
from passmill.usecases.enrol_scanner import EnrolScanner
from passmill.usecases.find_desk import FindDesk
from passmill.usecases.find_pass import FindPass
from passmill.usecases.judge_passes import JudgePasses
from passmill.usecases.list_offline_scans import ListOfflineScans
from passmill.usecases.list_redemptions import ListRedemptions
from passmill.usecases.offline_bundle import GetOfflineBundle
from passmill.usecases.program_counters import ProgramCounters
from passmill.usecases.read_barcode import ReadBarcode
from passmill.usecases.redeem_pass import RedeemPass
from passmill.usecases.resolve_scan import ResolveScan
from passmill.usecases.reverse_redemption import ReverseRedemption
from passmill.usecases.revoke_scanner import RevokeScanner
from passmill.usecases.scanner_config import ReadScannerConfig
from passmill.usecases.set_chain import SetChain
from passmill.usecases.set_counter_policy import SetCounterPolicy
from passmill.usecases.sync_offline_scans import SyncOfflineScans
from passmill.usecases.update_offer import UpdateOffer
from passmill.usecases.verify_pass import VerifyPass


def counter_services(
    frame: Frame, *, find_pass: FindPass, edit_pass: EditPass, find_desk: FindDesk
) -> server.PublishedServices:
    """CounterService and ScanService on a frame."""
    counters = ProgramCounters(database=frame.database)
    return {
        counter_service.SERVICE: (_counter_servicer(frame, counters), counter_service.RULES),
        scan_service.SERVICE: (
            _scan_servicer(frame, find_pass, edit_pass, find_desk, counters),
            scan_service.RULES,
        ),
    }


def _counter_servicer(frame: Frame, counters: ProgramCounters) -> counter_service.CounterServicer:
    database, mutator, clock = frame.database, frame.mutator, frame.clock
    check_offer = CheckOffer(load_revision=frame.load_revision)
    return counter_service.CounterServicer(
        use_cases=counter_service.CounterUseCases(
            create_venue=CreateVenue(mutator=mutator, clock=clock),
            create_offer=CreateOffer(
                database=database,
                mutator=mutator,
                check_offer=check_offer,
                counters=counters,
                clock=clock,
            ),
            update_offer=UpdateOffer(
                database=database,
                mutator=mutator,
                check_offer=check_offer,
                counters=counters,
                clock=clock,
            ),
            create_scanner_code=CreateScannerCode(mutator=mutator, clock=clock),
            revoke_scanner=RevokeScanner(mutator=mutator, clock=clock),
            set_counter_policy=SetCounterPolicy(mutator=mutator, counters=counters, clock=clock),
            set_chain=SetChain(
                database=database,
                mutator=mutator,
                check_chain=CheckChain(database=database, load_revision=frame.load_revision),
                counters=counters,
                clock=clock,
            ),
        ),
        database=database,
        pages=frame.pages,
    )


def _scan_servicer(
    frame: Frame,
    find_pass: FindPass,
    edit_pass: EditPass,
    find_desk: FindDesk,
    counters: ProgramCounters,
) -> scan_service.ScanServicer:
    database, mutator, clock = frame.database, frame.mutator, frame.clock
    resolve_scan = _resolve_scan(frame, find_pass)
    judge_passes = JudgePasses(
        database=database,
        load_revision=frame.load_revision,
        contents=frame.rendering.contents,
        counters=counters,
    )
    redeem_pass = RedeemPass(
        database=database,
        mutator=mutator,
        edit_pass=edit_pass,
        find_desk=find_desk,
        resolve_scan=resolve_scan,
        counters=counters,
        clock=clock,
    )
    check_pass = CheckPass(
        mutator=mutator,
        find_desk=find_desk,
        resolve_scan=resolve_scan,
        judge_passes=judge_passes,
        clock=clock,
    )
    limits = frame.settings.counter
    return scan_service.ScanServicer(
        use_cases=scan_service.ScanUseCases(
            verify_pass=VerifyPass(
                find_desk=find_desk,
                resolve_scan=resolve_scan,
                judge_passes=judge_passes,
                clock=clock,
            ),
            redeem_pass=redeem_pass,
            check_pass=check_pass,
            reverse_redemption=ReverseRedemption(
                database=database,
                mutator=mutator,
                edit_pass=edit_pass,
                find_desk=find_desk,
                clock=clock,
            ),
            sync_offline_scans=SyncOfflineScans(
                database=database,
                mutator=mutator,
                find_desk=find_desk,
                resolve_scan=resolve_scan,
                redeem_pass=redeem_pass,
                check_pass=check_pass,
                clock=clock,
            ),
            read_scanner_config=ReadScannerConfig(
                database=database, find_desk=find_desk, clock=clock
            ),
            list_redemptions=ListRedemptions(database=database, find_desk=find_desk),
            list_offline_scans=ListOfflineScans(database=database, find_desk=find_desk),
            enrol_scanner=EnrolScanner(
                database=database,
                mutator=mutator,
                guesses=Rates(per_second=limits.codes_per_second, burst=limits.code_burst),
                key_life=timedelta(days=limits.scanner_key_days),
                clock=clock,
            ),
            get_offline_bundle=GetOfflineBundle(database=database, clock=clock),
        ),
        keyring=frame.keyring,
        pages=frame.pages,
    )


def _resolve_scan(frame: Frame, find_pass: FindPass) -> ResolveScan:
    numbers, limits = frame.rendering.numbers, frame.settings.counter
    return ResolveScan(
        database=frame.database,
        find_pass=find_pass,
        read_barcode=ReadBarcode(
            keys=frame.rendering.barcode_keys,
            numbers=numbers,
            tokens=frame.keyring.pass_tokens,
            clock=frame.clock,
        ),
        phones=Rates(per_second=limits.phones_per_second, burst=limits.phone_burst),
    )
