"""Passes at a till: looked at, redeemed once, checked in and out, with the service and without."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from passmill_client import Pass, messages
from passmill_pos.outcomes import ExitStatus
from tests.pos.place import POINTS, Place
from tests.pos.relay import Relay
from tests.pos.till import Till, Told, make_till

pytestmark = pytest.mark.timeout(180)

NAME = "Zoë Ōtani"


def redeem(till: Till, place: Place, wallet_pass: Pass, *more: str) -> Told:
    """Redeems the offer at a till."""
    words = ("--offer", place.offer_id, "--json", *more)
    return till.run("redeem", wallet_pass.reference_id, *words)


def test_verify(place: Place, scanner: Till) -> None:
    """A pass is found by reference id in any spelling, by serial number alone or in an address, and
    by its id; what it is worth is told to people and to programs."""
    wallet_pass = place.issue(points=40, name=NAME)
    for scanned in (
        wallet_pass.reference_id.lower().replace("-", " "),
        wallet_pass.serial_number,
        f"https://passes.example.com/p/{wallet_pass.serial_number}?utm_source=card",
        wallet_pass.pass_id,
    ):
        told = scanner.run("verify", scanned, "--json")
        assert told.status is ExitStatus.DONE, scanned
        [seen] = told.object["passes"]
        assert (seen["pass_id"], seen["state"]) == (wallet_pass.pass_id, "valid")
        assert [(each["unit"], each["balance"]) for each in seen["balances"]] == [(POINTS, 40)]
        offers = {each["offer_id"]: each["is_redeemable"] for each in seen["offers"]}
        assert offers[place.offer_id]
    for_people = scanner.run("verify", wallet_pass.reference_id).out
    assert for_people.startswith(f"VALID  {wallet_pass.reference_id}")
    assert "No take-away cups" in for_people


def test_names_only_when_asked(place: Place, scanner: Till) -> None:
    """The holder's name is told with --names alone, by no command otherwise."""
    wallet_pass = place.issue(name=NAME)
    for command in ("find", "verify"):
        for more in ((), ("--json",)):
            words = (command, wallet_pass.reference_id, *more)
            assert NAME not in scanner.run(*words).out
            assert NAME in scanner.run(*words, "--names").out


def test_find_by_telephone_number(place: Place, scanner: Till) -> None:
    """All passes of a telephone number are found, however it is written; to redeem one must be
    named."""
    phone = f"+1206555{secrets.randbelow(10**4):04d}"
    issued = {place.issue(points=0, phone=phone).reference_id for _ in range(2)}
    spelt = f"+1 (206) 555-{phone[-4:]}"
    told = scanner.run("find", spelt, "--json")
    assert told.status is ExitStatus.DONE
    assert {seen["reference_id"] for seen in told.object["passes"]} == issued
    assert phone[-4:] not in told.out.replace(str(issued), "")
    assert scanner.run("verify", spelt).status is ExitStatus.REFUSED
    refused = scanner.run("redeem", spelt, "--offer", place.offer_id, "--json")
    assert (refused.status, refused.object["reason"]) == (ExitStatus.REFUSED, "several_passes")
    refused = scanner.run("earn", spelt, "1", "--unit", POINTS, "--json")
    assert set(refused.object["reference_ids"]) == issued


@pytest.mark.parametrize("command", ["find", "verify"])
def test_an_unknown_pass(scanner: Till, command: str) -> None:
    """What names no pass is refused with exit status 1, and says why."""
    told = scanner.run(command, "no such barcode", "--json")
    assert (told.status, told.object["reason"]) == (ExitStatus.REFUSED, "unknown_code")
    assert scanner.run(command, "no such barcode").out == "UNKNOWN  unknown code\n"


def test_a_voided_pass(place: Place, scanner: Till) -> None:
    """A voided pass is found, and is not good."""
    wallet_pass = place.issue()
    place.client.void_pass(pass_id=wallet_pass.pass_id)
    assert scanner.run("find", wallet_pass.reference_id).status is ExitStatus.DONE
    told = scanner.run("verify", wallet_pass.reference_id)
    assert (told.status, told.out.split()[0]) == (ExitStatus.REFUSED, "VOIDED")
    assert redeem(scanner, place, wallet_pass).object["reason"] == "voided"


def test_redeem_once(place: Place, scanner: Till) -> None:
    """An offer is redeemed once, by whom and where; the second time its first use is told."""
    wallet_pass = place.issue()
    done = redeem(scanner, place, wallet_pass, "--staff", "Mo")
    assert (done.status, done.object["uses"]) == (ExitStatus.DONE, 1)
    [use] = place.uses_of(wallet_pass)
    assert (use.redemption_id, use.staff) == (done.object["redemption_id"], "Mo")
    assert (use.venue_id, use.is_offline) == (place.venue_id, False)
    again = redeem(scanner, place, wallet_pass)
    assert (again.status, again.object["reason"]) == (ExitStatus.REFUSED, "already_redeemed")
    assert again.object["first_use"]["redemption_id"] == use.redemption_id
    same = redeem(scanner, place, wallet_pass, "--staff", "Mo", "--key", done.object["key"])
    assert same.object == done.object


def test_an_offer_that_there_is_not(place: Place, scanner: Till) -> None:
    """An offer that does not exist is a wrong call; nothing waits."""
    wallet_pass = place.issue()
    told = scanner.run("redeem", wallet_pass.pass_id, "--offer", wallet_pass.pass_id)
    assert told.status is ExitStatus.USAGE
    assert scanner.drain().object["waiting"] == 0


def test_offline_scans_are_told_with_their_times(place: Place, relay: Relay, scanner: Till) -> None:
    """What is redeemed and checked in offline is told later, in one call, with the original
    times."""
    passes = [place.issue(points=0) for _ in range(3)]
    before = datetime.now(UTC)
    for wallet_pass in passes:
        assert redeem(scanner, place, wallet_pass, "--offline").status is ExitStatus.KEPT
    scanner.run("check-in", passes[0].reference_id, "--offline")
    after = datetime.now(UTC)
    drained = scanner.drain()
    assert (drained.status, drained.object["sent"]) == (ExitStatus.DONE, 4)
    assert relay.methods == ["SyncOfflineScans"]
    for wallet_pass in passes:
        [use] = place.uses_of(wallet_pass)
        assert use.is_offline
        assert before - timedelta(seconds=1) <= use.scan_time.ToDatetime(UTC) <= after
    told = scanner.run("check-in", passes[0].reference_id, "--json")
    assert told.object["reason"] == "already_checked_in"


def test_a_conflict_is_told(place: Place, scanner: Till) -> None:
    """What was redeemed offline and had been redeemed elsewhere meanwhile is a conflict, told with
    the first use; it is not redeemed twice."""
    wallet_pass = place.issue()
    kept = redeem(scanner, place, wallet_pass, "--offline")
    use = place.client.redeem_pass(
        messages.ScanRef(pass_id=wallet_pass.pass_id), place.offer_id
    ).redemption
    drained = scanner.drain()
    assert drained.status is ExitStatus.REFUSED
    [trouble] = drained.object["troubles"]
    assert (trouble["key"], trouble["outcome"]["verdict"]) == (kept.object["key"], "conflict")
    assert trouble["outcome"]["first_use"]["redemption_id"] == use.redemption_id
    assert [each.redemption_id for each in place.uses_of(wallet_pass)] == [use.redemption_id]


def test_a_lost_answer_is_no_conflict(place: Place, relay: Relay, scanner: Till) -> None:
    """A redemption whose answer was lost, and so was each telling of it, is asked for under its key
    until it is known: it was done once, and conflicts with nothing."""
    wallet_pass = place.issue()
    relay.loses_answers = frozenset({"RedeemPass"})
    assert redeem(scanner, place, wallet_pass).status is ExitStatus.KEPT
    assert scanner.drain().status is ExitStatus.KEPT
    relay.loses_answers = frozenset()
    drained = scanner.drain()
    assert (drained.status, drained.object["troubles"]) == (ExitStatus.DONE, [])
    assert len(place.uses_of(wallet_pass)) == 1
    assert set(relay.methods) == {"RedeemPass"}


def test_a_lost_request_may_be_a_conflict(place: Place, relay: Relay, scanner: Till) -> None:
    """A redemption that the service had not heard of, and that staff went by, is a conflict when
    another was faster; a lost answer to that is asked for again."""
    wallet_pass = place.issue()
    relay.loses_requests = True
    assert redeem(scanner, place, wallet_pass).status is ExitStatus.KEPT
    relay.loses_requests = False
    place.client.redeem_pass(messages.ScanRef(pass_id=wallet_pass.pass_id), place.offer_id)
    relay.loses_answers = frozenset({"SyncOfflineScans"})
    assert scanner.drain().status is ExitStatus.KEPT
    relay.loses_answers = frozenset()
    [trouble] = scanner.drain().object["troubles"]
    assert trouble["outcome"]["verdict"] == "conflict"
    assert len(place.uses_of(wallet_pass)) == 1


def test_check_in_and_out(place: Place, scanner: Till) -> None:
    """A pass comes in once and goes out once."""
    wallet_pass = place.issue()
    for command, reason in (("check-in", "already_checked_in"), ("check-out", "not_checked_in")):
        first, second = [scanner.run(command, wallet_pass.reference_id, "--json") for _ in range(2)]
        assert first.status is ExitStatus.DONE
        assert (second.status, second.object["reason"]) == (ExitStatus.REFUSED, reason)


def test_points_for_what_was_scanned(place: Place, scanner: Till) -> None:
    """Points go to a pass by its barcode and its reference id, also when it was scanned offline;
    what names no pass is told."""
    wallet_pass = place.issue(points=0)
    for scanned, more in (
        (wallet_pass.reference_id, ()),
        (f"https://example.com/p/{wallet_pass.serial_number}", ()),
        (wallet_pass.serial_number, ("--offline",)),
        ("no such barcode", ("--offline",)),
    ):
        scanner.run("earn", scanned, "5", "--unit", POINTS, *more)
    [trouble] = scanner.drain().object["troubles"]
    assert trouble["outcome"]["reason"] == "unknown_code"
    assert place.points_of(wallet_pass) == 15


def test_a_right_that_a_scanner_lacks(place: Place, relay: Relay, tmp_path: Path) -> None:
    """A scanner that may not redeem, or look up what is typed, is told that it may not: exit status
    4, with the reason, by the service at once and later. A wedge goes on to what it may."""
    till = make_till(tmp_path, relay.address)
    del till.environ["PASSMILL_API_KEY"]
    till.run("enrol", place.code(rights=[messages.SCANNER_RIGHT_LOOK_UP]), "--name", "Door")
    wallet_pass = place.issue()
    told = redeem(till, place, wallet_pass)
    assert (told.status, told.object["reason"]) == (ExitStatus.NO_RIGHT, "right_missing")
    redeem(till, place, wallet_pass, "--offline")
    [trouble] = till.drain().object["troubles"]
    assert trouble["outcome"]["verdict"] == "no_right"
    typist = make_till(tmp_path / "typist", relay.address)
    del typist.environ["PASSMILL_API_KEY"]
    typist.run("enrol", place.code(rights=[messages.SCANNER_RIGHT_REDEEM]), "--name", "Gate")
    assert typist.run("verify", wallet_pass.reference_id).status is ExitStatus.NO_RIGHT
    process = typist.start("wedge", "--json")
    out, _ = process.communicate(f"{wallet_pass.reference_id}\n{wallet_pass.serial_number}\n")
    assert process.returncode == ExitStatus.DONE
    assert [json.loads(line)["exit"] for line in out.splitlines()] == [4, 0]


def test_what_a_scanner_may_not_keeps_back_nothing_else(
    place: Place, relay: Relay, tmp_path: Path
) -> None:
    """Kept points that the scanner has no right to post stay, and are told by exit status 4; the
    uses before and after them are told to the service."""
    till = make_till(tmp_path, relay.address)
    del till.environ["PASSMILL_API_KEY"]
    till.run("enrol", place.code(rights=[messages.SCANNER_RIGHT_REDEEM]), "--name", "Gate")
    passes = [place.issue(points=0) for _ in range(2)]
    for wallet_pass in passes:
        for _ in range(2):
            till.run("earn", wallet_pass.pass_id, "1", "--unit", POINTS, "--offline")
        words = ("redeem", wallet_pass.serial_number, "--offer", place.offer_id)
        assert till.run(*words, "--offline").status is ExitStatus.KEPT
    drained = till.drain()
    assert (drained.status, drained.object["sent"]) == (ExitStatus.NO_RIGHT, 2)
    assert (drained.object["waiting"], drained.object["stopped"]) == (4, "scanner_right_missing")
    assert [len(place.uses_of(each)) for each in passes] == [1, 1]
    assert relay.methods.count("BatchPostEntries") == 2
    kept = till.run("queue", "list", "--json").objects
    assert {each["problem"] for each in kept} == {"scanner_right_missing"}


def test_wedge(place: Place, scanner: Till) -> None:
    """Each line is a scan and each answer a line; a code that comes twice in a row is taken once,
    nonsense is told, and the wedge goes on."""
    first, second = place.issue(), place.issue()
    lines = [
        f"]Q1https://passes.example.com/p/{first.serial_number}",
        "",
        second.reference_id.lower(),
        second.reference_id.lower(),
        "]Q1",
        first.pass_id,
        "no such barcode",
    ]
    process = scanner.start("wedge", "--redeem", place.offer_id, "--json")
    out, err = process.communicate("".join(f"{line}\r\n" for line in lines))
    assert (process.returncode, err) == (ExitStatus.DONE, "")
    told = [json.loads(line) for line in out.splitlines()]
    assert [(each["exit"], each.get("reason", "")) for each in told] == [
        (0, ""),
        (0, ""),
        (2, ""),
        (1, "already_redeemed"),
        (1, "unknown_code"),
    ]
    assert [len(place.uses_of(each)) for each in (first, second)] == [1, 1]


def test_wedge_looks_and_keeps(place: Place, relay: Relay, scanner: Till) -> None:
    """Without anything to do a wedge verifies; without a service it keeps what it does, sends it at
    its end when it can, and says by exit status 3 when it cannot."""
    wallet_pass = place.issue(points=0)
    process = scanner.start("wedge")
    out, _ = process.communicate(f"{wallet_pass.serial_number}\n")
    assert (process.returncode, out[:5]) == (ExitStatus.DONE, "VALID")
    relay.loses_requests = True
    words = ("wedge", "--earn", "2", "--unit", POINTS)
    process = scanner.start(*words)
    out, _ = process.communicate(f"{wallet_pass.serial_number}\n")
    assert (process.returncode, out[:13]) == (ExitStatus.KEPT, "NOT CONFIRMED")
    relay.loses_requests = False
    scanner.rest()
    process = scanner.start(*words)
    process.communicate("")
    assert process.returncode == ExitStatus.DONE
    assert place.points_of(wallet_pass) == 2
