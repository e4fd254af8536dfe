"""Signed barcodes at a till without the service: what is not good is refused at once, what is good
is kept and told later, and is had once."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from passmill_pos.outcomes import ExitStatus
from tests.pos.place import Place
from tests.pos.relay import Relay
from tests.pos.signed_cards import SignedCards, cards_of, open_tenant
from tests.pos.till import Till, Told, make_till

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cards(place: Place) -> SignedCards:
    """Cards of the place's tenant, and the key that signs them."""
    cards = cards_of(place)
    cards.issue()
    return cards


@pytest.fixture
def others(place: Place) -> Iterator[SignedCards]:
    """Cards of another tenant, of which no bundle was made yet."""
    with open_tenant(place) as others:
        yield others


@pytest.fixture
def synced(cards: SignedCards, scanner: Till, relay: Relay) -> Till:
    """A scanner that has the bundle."""
    wait_for_keys(scanner)
    relay.passed.clear()
    return scanner


def wait_for_keys(till: Till) -> None:
    """Fetches the bundle; the service gives one that it made before for some seconds."""
    while till.run("sync-bundle", "--json").object["keys"] == 0:
        time.sleep(0.5)


def bundle_path(till: Till) -> Path:
    """Where a till keeps its bundle."""
    return Path(till.environ["PASSMILL_POS_QUEUE_FILE"]).with_name("offline-bundle.json")


def age(till: Till, by: timedelta) -> None:
    """Makes a till's bundle older."""
    path = bundle_path(till)
    kept = json.loads(path.read_text())
    for name in ("create_time", "valid_until"):
        kept[name] = (datetime.fromisoformat(kept[name]) - by).isoformat()
    path.write_text(json.dumps(kept))


def redeem(till: Till, cards: SignedCards, scanned: str, *more: str) -> Told:
    """Redeems the offer."""
    words = (scanned, "--json", *more)
    offer = () if "--offer" in more else ("--offer", cards.offer_id)
    return till.run("redeem", *words, *offer)


def forged(token: str) -> str:
    """A token of the same form, with another signature."""
    return token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:]


def test_the_bundle_is_kept(cards: SignedCards, synced: Till) -> None:
    """The bundle is fetched, kept for its owner alone, and fetched again only where it changed."""
    told = synced.run("sync-bundle", "--json")
    assert told.status is ExitStatus.DONE
    assert told.object["command"] == "sync-bundle"
    assert (told.object["keys"] > 0, told.object["is_unchanged"]) == (True, True)
    assert datetime.fromisoformat(told.object["valid_until"]) > datetime.now(UTC)
    assert told.object["file"] == str(bundle_path(synced))
    assert bundle_path(synced).stat().st_mode & 0o777 == 0o600
    kept = json.loads(bundle_path(synced).read_text())
    assert str(kept["tenant_id"]) == cards.tenant_id
    assert kept["max_uses"][cards.offer_id] == 1


def test_a_bundle_that_cannot_be_fetched(synced: Till, relay: Relay) -> None:
    """When the service is not reached the bundle at hand stays: exit status 5."""
    before = bundle_path(synced).read_bytes()
    relay.loses_requests = True
    assert synced.run("sync-bundle").status is ExitStatus.UNREACHED
    assert bundle_path(synced).read_bytes() == before


def test_verify_without_the_service(cards: SignedCards, synced: Till, relay: Relay) -> None:
    """A genuine barcode is provisionally good, a forged one is not, a handle cannot be checked;
    with the service they are looked up."""
    wallet_pass, token = cards.issue()
    assert synced.run("verify", token).status is ExitStatus.DONE
    assert synced.run("verify", forged(token), "--json").object["reason"] == "bad_signature"
    relay.loses_requests = True
    told = synced.run("verify", f"https://passes.example.com/p/{token}", "--json")
    assert (told.status, told.object["exit"]) == (ExitStatus.PROVISIONAL, 7)
    assert (told.object["verdict"], told.object["provisional"]) == ("provisional", True)
    assert (told.object["offline_check"], told.object["pass_id"]) == ("good", wallet_pass.pass_id)
    bad = synced.run("verify", forged(token), "--json")
    assert (bad.status, bad.object["reason"]) == (ExitStatus.REFUSED, "bad_signature")
    for opaque in (wallet_pass.serial_number, wallet_pass.reference_id):
        told = synced.run("verify", opaque, "--json")
        assert (told.status, told.object["offline_check"]) == (ExitStatus.UNREACHED, "opaque")
    assert "cannot be checked offline" in synced.run("verify", wallet_pass.serial_number).out
    assert synced.run("find", token).status is ExitStatus.UNREACHED
    people = synced.run("verify", token, "--offline").out
    assert people.startswith("NOT CONFIRMED: provisional: the barcode is genuine")


def test_what_is_not_good_is_not_kept(
    cards: SignedCards, others: SignedCards, synced: Till, relay: Relay
) -> None:
    """Without the service a forged barcode, another tenant's, and one that is cut off are refused
    at once; nothing is kept, and the service hears of nothing."""
    wallet_pass, token = cards.issue()
    _, foreign = others.issue()
    relay.loses_requests = True
    for scanned, reason in (
        (forged(token), "bad_signature"),
        (foreign, "wrong_tenant"),
        (token[:-4], "unknown_code"),
    ):
        for more in ((), ("--offline",)):
            told = redeem(synced, cards, scanned, *more)
            assert (told.status, told.object["reason"]) == (ExitStatus.REFUSED, reason)
            assert told.object["offline_check"] == "refused"
        earned = synced.run("earn", scanned, "5", "--unit", "points", "--json")
        assert earned.object["reason"] == reason
    relay.loses_requests = False
    drained = synced.drain()
    assert (drained.object["sent"], drained.object["waiting"]) == (0, 0)
    assert relay.methods == []
    assert cards.uses_of(wallet_pass) == []


def test_voided_and_revoked(
    place: Place, relay: Relay, others: SignedCards, tmp_path: Path
) -> None:
    """Without the service a voided pass is refused, and any of a key that was revoked; a good one
    is kept, told later with its time, and done."""
    till = make_till(tmp_path, relay.address, key=others.till_key)
    _, of_revoked = others.issue()
    [key] = place.operator.list_barcode_keys(tenant_id=others.tenant_id)
    place.operator.revoke_barcode_key(key.barcode_key_id, tenant_id=others.tenant_id)
    voided, of_voided = others.issue()
    others.client.void_pass(pass_id=voided.pass_id)
    good, of_good = others.issue()
    told = till.run("sync-bundle", "--json")
    assert (told.object["keys"], told.object["voided"]) == (1, 1)
    relay.loses_requests = True
    for scanned, reason in ((of_revoked, "unknown_key"), (of_voided, "voided")):
        refused = redeem(till, others, scanned)
        assert (refused.status, refused.object["reason"]) == (ExitStatus.REFUSED, reason)
    before = datetime.now(UTC)
    kept = redeem(till, others, of_good)
    assert (kept.status, kept.object["verdict"]) == (ExitStatus.KEPT, "kept")
    assert (kept.object["provisional"], kept.object["offline_check"]) == (True, "good")
    assert kept.object["pass_id"] == good.pass_id
    after = datetime.now(UTC)
    relay.loses_requests = False
    till.rest()
    drained = till.drain()
    assert (drained.status, drained.object["sent"]) == (ExitStatus.DONE, 1)
    [use] = others.uses_of(good)
    assert before - timedelta(seconds=1) <= use.scan_time.ToDatetime(UTC) <= after


def test_once_at_this_till(cards: SignedCards, synced: Till, relay: Relay) -> None:
    """A barcode that was redeemed at this till without the service is refused the second time, with
    the first time, also by another process; the service hears of one."""
    wallet_pass, token = cards.issue()
    relay.loses_requests = True
    first = redeem(synced, cards, token)
    assert first.status is ExitStatus.KEPT
    for scanned, more in ((token, ()), (f"https://example.com/{token}", ("--offline",))):
        again = redeem(synced, cards, scanned, *more)
        assert (again.status, again.object["reason"]) == (ExitStatus.REFUSED, "already_redeemed")
        assert again.object["first_use"]["offer_id"] == cards.offer_id
    process = synced.start("redeem", token, "--offer", cards.offer_id, "--offline", "--json")
    out, _ = process.communicate()
    assert (process.returncode, json.loads(out)["reason"]) == (1, "already_redeemed")
    same = redeem(synced, cards, token, "--key", first.object["key"])
    assert same.object == first.object
    relay.loses_requests = False
    drained = synced.drain()
    assert (drained.object["sent"], drained.object["troubles"]) == (1, [])
    assert len(cards.uses_of(wallet_pass)) == 1


def test_many_processes_at_once(cards: SignedCards, synced: Till) -> None:
    """Of several processes that redeem one barcode at the same time without the service one keeps
    it."""
    _, token = cards.issue()
    words = ("redeem", token, "--offer", cards.offer_id, "--offline")
    processes = [synced.start(*words) for _ in range(6)]
    for process in processes:
        process.communicate()
    statuses = sorted(process.returncode for process in processes)
    assert statuses == [ExitStatus.REFUSED] * 5 + [ExitStatus.KEPT]


def test_what_was_used_with_the_service(relay: Relay, others: SignedCards, tmp_path: Path) -> None:
    """A use that this till made with the service counts without it, until it was taken back here;
    an offer that is had more often is had as often, and one without end always."""
    till = make_till(tmp_path, relay.address, key=others.till_key)
    twice, always = others.add_offer(max_uses=2), others.add_offer(max_uses=0)
    _, token = others.issue()
    assert till.run("sync-bundle", "--json").object["offers"] == 3
    used = redeem(till, others, token)
    assert used.status is ExitStatus.DONE
    again = redeem(till, others, token, "--offline")
    assert again.object["reason"] == "already_redeemed"
    till.run("reverse", "redemption", used.object["redemption_id"])
    assert redeem(till, others, token, "--offline").status is ExitStatus.KEPT
    statuses = [
        [redeem(till, others, token, "--offline", "--offer", offer).status for _ in range(3)]
        for offer in (twice, always)
    ]
    kept, refused = ExitStatus.KEPT, ExitStatus.REFUSED
    assert statuses == [[kept, kept, refused], [kept, kept, kept]]
    drained = till.drain()
    assert (drained.object["sent"], drained.object["troubles"]) == (6, [])


def test_check_ins_are_not_had_once(cards: SignedCards, synced: Till) -> None:
    """A pass that came in without the service may go, and come again."""
    _, token = cards.issue()
    for command in ("check-in", "check-out", "check-in"):
        assert synced.run(command, token, "--offline").status is ExitStatus.KEPT
    drained = synced.drain()
    assert (drained.object["sent"], drained.object["troubles"]) == (3, [])


def test_what_cannot_be_checked_is_kept(
    place: Place, cards: SignedCards, synced: Till, relay: Relay
) -> None:
    """A handle or a reference id is kept, and says that it was not checked; so is a signed barcode
    by a bundle that is too old, or without one, or with another key's; but a forged one by an old
    bundle is refused."""
    wallet_pass, token = cards.issue()
    for scanned in (wallet_pass.serial_number, wallet_pass.reference_id):
        told = redeem(synced, cards, scanned, "--offline")
        assert (told.status, told.object["offline_check"]) == (ExitStatus.KEPT, "opaque")
        assert told.object["provisional"] is True
        assert "pass_id" not in told.object
    people = synced.run("redeem", "A" * 22, "--offer", cards.offer_id, "--offline").out
    assert people.startswith(
        "NOT CONFIRMED: kept, sent later: provisional: this cannot be checked offline"
    )
    synced = synced.with_queue("of-stale.sqlite3")
    age(synced, timedelta(days=2))
    told = redeem(synced, cards, token, "--offline")
    assert (told.status, told.object["offline_check"]) == (ExitStatus.KEPT, "stale_bundle")
    assert redeem(synced, cards, forged(token), "--offline").status is ExitStatus.REFUSED
    again = redeem(synced, cards, token, "--offline")
    assert again.object["reason"] == "already_redeemed"
    synced.environ["PASSMILL_API_KEY"] = place.till_key
    _, other = cards.issue()
    told = redeem(synced, cards, other, "--offline")
    assert (told.status, told.object["offline_check"]) == (ExitStatus.KEPT, "no_bundle")


def test_wedge_without_the_service(cards: SignedCards, synced: Till, relay: Relay) -> None:
    """A wedge verifies and redeems without the service: each line has its answer, what is not good
    is refused, and what is good is kept once."""
    wallet_pass, token = cards.issue()
    lines = f"{token}\n{forged(token)}\n{wallet_pass.serial_number}\n"
    relay.loses_requests = True
    process = synced.start("wedge", "--json")
    out, _ = process.communicate(lines)
    assert process.returncode == ExitStatus.DONE
    told = [json.loads(line) for line in out.splitlines()]
    assert [(each["exit"], each["offline_check"]) for each in told] == [
        (7, "good"),
        (1, "refused"),
        (5, "opaque"),
    ]
    process = synced.start("wedge", "--redeem", cards.offer_id, "--json", "--guard", "0")
    out, _ = process.communicate(f"{token}\n{forged(token)}\n{token}\n")
    assert process.returncode == ExitStatus.KEPT
    told = [json.loads(line) for line in out.splitlines()]
    assert [(each["exit"], each.get("reason", "")) for each in told] == [
        (3, ""),
        (1, "bad_signature"),
        (1, "already_redeemed"),
    ]
    relay.loses_requests = False
    synced.rest()
    assert synced.drain().object["sent"] == 1
    assert len(cards.uses_of(wallet_pass)) == 1


def test_a_till_killed_over_a_barcode(cards: SignedCards, synced: Till) -> None:
    """A till that is killed before and after each commit, and asks again with its key, keeps the
    barcode once; with another key it is refused."""
    wallet_pass, token = cards.issue()
    words = ("redeem", token, "--offer", cards.offer_id, "--offline", "--key", str(uuid4()))
    for moment in range(1, 30):
        process = synced.start_dying(moment, *words)
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
    assert process.returncode == ExitStatus.KEPT
    assert moment > 5
    assert redeem(synced, cards, token, "--offline").status is ExitStatus.REFUSED
    synced.rest()
    synced.drain()
    assert len(cards.uses_of(wallet_pass)) == 1
    assert synced.drain().object["waiting"] == 0


def test_a_sync_that_is_killed(cards: SignedCards, synced: Till, tmp_path: Path) -> None:
    """Killed at any moment, a sync leaves a whole bundle: the one before or the new one."""
    _, token = cards.issue()
    age(synced, timedelta(hours=1))
    old = bundle_path(synced).read_bytes()
    synced.environ["PASSMILL_POS_FOLDER"] = str(tmp_path)
    seen = []
    for moment in range(1, 30):
        process = synced.start_dying(moment, "sync-bundle", module="tests.pos.dying_sync")
        process.communicate()
        seen.append(bundle_path(synced).read_bytes() == old)
        assert synced.run("verify", token, "--offline").status is ExitStatus.PROVISIONAL
        if process.returncode != -signal.SIGKILL:
            break
        bundle_path(synced).write_bytes(old)
    assert process.returncode == ExitStatus.DONE
    assert seen[0]
    assert not seen[-1]
    assert len(seen) > 4


def test_the_service_decides_when_it_is_reached(
    cards: SignedCards, synced: Till, place: Place
) -> None:
    """With the service nothing is decided here: a key that is newer than the bundle is good."""
    place.operator.rotate_barcode_key(tenant_id=cards.tenant_id)
    wallet_pass, token = cards.issue()
    told = redeem(synced, cards, token, "--offline")
    assert (told.status, told.object["reason"]) == (ExitStatus.REFUSED, "unknown_key")
    assert redeem(synced, cards, token).status is ExitStatus.DONE
    [use] = cards.uses_of(wallet_pass)
    assert use.is_offline is False
