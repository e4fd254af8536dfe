"""Redemptions and entries taken back at a till: once, whatever breaks, and never begun offline."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from passmill_client import Pass, messages
from passmill_pos.outcomes import ExitStatus
from tests.pos.place import POINTS, Place
from tests.pos.relay import Relay
from tests.pos.test_crash import kill_everywhere
from tests.pos.till import Till, Told, make_till

pytestmark = pytest.mark.timeout(300)

NO_ID = "0196f0c2-7a40-7b1e-8000-000000000bad"


def redeem(till: Till, place: Place, wallet_pass: Pass) -> str:
    """Redeems the offer; the redemption's id."""
    told = till.run("redeem", wallet_pass.pass_id, "--offer", place.offer_id, "--json")
    return str(told.object["redemption_id"])


def reverse(till: Till, kind: str, target_id: str, *more: str) -> Told:
    """Takes it back."""
    return till.run("reverse", kind, target_id, "--json", *more)


def test_a_redemption_is_taken_back(place: Place, scanner: Till) -> None:
    """A redemption is taken back with its reason, and the offer is free again; the same key gives
    the same answer, another one says that it was done before."""
    wallet_pass = place.issue()
    redemption_id = redeem(scanner, place, wallet_pass)
    key = str(uuid4())
    told = reverse(scanner, "redemption", redemption_id, "--reason", "no milk", "--key", key)
    assert told.status is ExitStatus.DONE
    assert told.object["command"] == "reverse"
    assert (told.object["redemption_id"], told.object["uses"]) == (redemption_id, 0)
    assert place.uses_of(wallet_pass) == []
    [taken_back] = place.client.list_redemptions(pass_id=wallet_pass.pass_id)
    assert taken_back.reverse_reason == "no milk"
    same = reverse(scanner, "redemption", redemption_id, "--reason", "no milk", "--key", key)
    assert same.object == told.object
    again = scanner.run("reverse", "redemption", redemption_id)
    assert again.status is ExitStatus.REFUSED
    assert again.out.startswith("REFUSED  already reversed")
    assert redeem(scanner, place, wallet_pass) != redemption_id


def test_an_entry_is_taken_back(place: Place, till: Till) -> None:
    """An entry of the ledger is taken back by another one, once; that one is not taken back."""
    wallet_pass = place.issue(points=10)
    earned = till.run("earn", wallet_pass.pass_id, "25", "--unit", POINTS, "--json").object
    told = reverse(till, "entry", earned["entry_id"], "--reason", "wrong receipt")
    assert told.status is ExitStatus.DONE
    assert (told.object["amount"], told.object["balance"]) == (-25, 10)
    assert told.object["reversed_entry_id"] == earned["entry_id"]
    reversal, _ = place.entries_of(wallet_pass)
    assert (reversal.entry_id, reversal.kind, reversal.reference, reversal.request_id) == (
        told.object["entry_id"],
        messages.ENTRY_KIND_REVERSAL,
        "wrong receipt",
        told.object["key"],
    )
    again = reverse(till, "entry", earned["entry_id"])
    assert (again.status, again.object["reason"]) == (ExitStatus.REFUSED, "already_reversed")
    assert again.object["entry_id"] == reversal.entry_id
    undo = reverse(till, "entry", reversal.entry_id)
    assert (undo.status, undo.object["reason"]) == (ExitStatus.REFUSED, "not_reversible")


def test_what_was_spent_is_not_taken_back(place: Place, till: Till) -> None:
    """Points that were spent since cannot be taken back: refused, with what there is."""
    wallet_pass = place.issue(points=0)
    earned = till.run("earn", wallet_pass.pass_id, "5", "--unit", POINTS, "--json").object
    till.run("burn", wallet_pass.pass_id, "3", "--unit", POINTS)
    told = reverse(till, "entry", earned["entry_id"])
    assert (told.status, told.object["reason"]) == (ExitStatus.REFUSED, "insufficient_balance")
    assert told.object["balance"] == 2


@pytest.mark.parametrize("kind", ["redemption", "entry"])
def test_what_there_is_not(till: Till, kind: str) -> None:
    """An id of nothing is a wrong call; one that is none is refused before anything is noted. In
    neither case anything waits."""
    assert reverse(till, kind, NO_ID).status is ExitStatus.USAGE
    with pytest.raises(SystemExit, match="2"):
        reverse(till, kind, "K7M3-Q8TX")
    assert till.drain().object["waiting"] == 0


def test_rights(place: Place, relay: Relay, scanner: Till, tmp_path: Path) -> None:
    """A scanner without the right takes back its own redemption of a moment ago, and no other's."""
    other = make_till(tmp_path / "other", relay.address)
    del other.environ["PASSMILL_API_KEY"]
    other.run("enrol", place.code(rights=[messages.SCANNER_RIGHT_REDEEM]), "--name", "Door")
    own, others = [redeem(each, place, place.issue()) for each in (other, scanner)]
    told = reverse(other, "redemption", others)
    assert (told.status, told.object["reason"]) == (ExitStatus.NO_RIGHT, "right_missing")
    assert reverse(other, "redemption", own).status is ExitStatus.DONE


def test_nothing_is_begun_without_the_service(place: Place, relay: Relay, scanner: Till) -> None:
    """What was sent and not answered is kept and sent again under its key; while the service is
    known not to be reached nothing is begun: exit status 5."""
    first, second = [redeem(scanner, place, place.issue()) for _ in range(2)]
    relay.loses_requests = True
    kept = reverse(scanner, "redemption", first)
    assert kept.status is ExitStatus.KEPT
    assert reverse(scanner, "redemption", second).status is ExitStatus.UNREACHED
    [waiting] = scanner.run("queue", "list", "--json").objects
    assert (waiting["action"], waiting["target_id"]) == ("reverse_redemption", first)
    assert first in scanner.run("queue", "list").out
    relay.loses_requests = False
    drained = scanner.drain()
    assert (drained.status, drained.object["sent"]) == (ExitStatus.DONE, 1)
    same = reverse(scanner, "redemption", first, "--key", kept.object["key"])
    assert (same.status, same.object["redemption_id"]) == (ExitStatus.DONE, first)
    still = reverse(scanner, "redemption", second)
    assert still.status is ExitStatus.DONE


def test_a_lost_answer(place: Place, relay: Relay, till: Till) -> None:
    """A reversal whose answer was lost is done once: asked again it says so, and is no trouble."""
    wallet_pass = place.issue(points=0)
    earned = till.run("earn", wallet_pass.pass_id, "5", "--unit", POINTS, "--json").object
    relay.loses_answers = frozenset({"ReverseEntry"})
    kept = reverse(till, "entry", earned["entry_id"])
    assert kept.status is ExitStatus.KEPT
    relay.loses_answers = frozenset()
    till.rest()
    told = reverse(till, "entry", earned["entry_id"], "--key", kept.object["key"])
    assert (told.status, told.object["balance"]) == (ExitStatus.DONE, 0)
    assert [each.amount for each in place.entries_of(wallet_pass)] == [-5, 5]


def test_what_was_kept_and_cannot_be_done_is_told(place: Place, relay: Relay, till: Till) -> None:
    """A reversal that was kept, and that the service refuses, is told by the drain."""
    wallet_pass = place.issue(points=0)
    earned = till.run("earn", wallet_pass.pass_id, "5", "--unit", POINTS, "--json").object
    relay.loses_requests = True
    kept = reverse(till, "entry", earned["entry_id"])
    relay.loses_requests = False
    place.client.reverse_entry(entry_id=earned["entry_id"])
    [trouble] = till.drain().object["troubles"]
    assert (trouble["key"], trouble["outcome"]["reason"]) == (
        kept.object["key"],
        "already_reversed",
    )


def test_reverse_is_killed_everywhere(place: Place, till: Till) -> None:
    """A till that gives a key asks again with it after each crash; the entry is taken back once,
    and that is what the till is told in the end."""
    wallet_pass = place.issue(points=0)
    earned = till.run("earn", wallet_pass.pass_id, "5", "--unit", POINTS, "--json").object
    words = ("reverse", "entry", earned["entry_id"], "--key", str(uuid4()))
    kill_everywhere(till, *words, is_one_queue=True)
    told = till.run(*words, "--json").object
    reversal, _ = place.entries_of(wallet_pass)
    assert (told["verdict"], told["entry_id"]) == ("done", reversal.entry_id)
    assert till.drain().object["sent"] == 0
