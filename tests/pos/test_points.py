"""Points at a till, with the service and without: each entry once, whatever breaks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from passmill_client import messages
from passmill_pos.outcomes import ExitStatus
from tests.pos.place import POINTS, START_POINTS, Place
from tests.pos.relay import Relay
from tests.pos.till import Till, make_till

pytestmark = pytest.mark.timeout(180)

EARN = ("--unit", POINTS, "--json")


def test_earn_and_burn(place: Place, till: Till) -> None:
    """Points are added and taken, with reference and venue; the answer has the balance after."""
    wallet_pass = place.issue()
    till.environ["PASSMILL_POS_VENUE_ID"] = str(uuid4())
    earned = till.run("earn", wallet_pass.pass_id, "25", *EARN, "--reference", "bon 17")
    assert earned.status is ExitStatus.DONE
    assert earned.object["balance"] == START_POINTS + 25
    burnt = till.run("burn", wallet_pass.pass_id, "5", *EARN)
    assert burnt.object["balance"] == START_POINTS + 20
    taken, added = place.entries_of(wallet_pass)
    assert (added.kind, added.amount, added.reference, added.venue) == (
        messages.ENTRY_KIND_EARN,
        25,
        "bon 17",
        till.environ["PASSMILL_POS_VENUE_ID"],
    )
    assert (taken.kind, taken.amount) == (messages.ENTRY_KIND_BURN, -5)
    assert added.request_id == earned.object["key"]


def test_a_refusal_is_told(place: Place, till: Till) -> None:
    """More than there is is not taken: exit status 1, with the reason and the balance, and nothing
    waits."""
    wallet_pass = place.issue(points=3)
    told = till.run("burn", wallet_pass.pass_id, "5", *EARN)
    assert told.status is ExitStatus.REFUSED
    assert told.object["reason"] == "insufficient_balance"
    assert told.object["balance"] == 3
    for_people = till.run("burn", wallet_pass.pass_id, "5", "--unit", POINTS)
    assert for_people.out.startswith("REFUSED  insufficient balance")
    assert till.drain().object["waiting"] == 0


def test_the_same_key_does_it_once(place: Place, till: Till) -> None:
    """A till that asks again with its key gets the first answer; for something else the key is
    refused as wrong."""
    wallet_pass = place.issue()
    key = str(uuid4())
    first, second = [
        till.run("earn", wallet_pass.pass_id, "25", *EARN, "--key", key) for _ in range(2)
    ]
    assert first == second
    assert len(place.entries_of(wallet_pass)) == 1
    other = till.run("earn", wallet_pass.pass_id, "26", *EARN, "--key", key)
    assert other.status is ExitStatus.USAGE


def test_what_could_not_be_sent_is_sent_later(place: Place, relay: Relay, till: Till) -> None:
    """While the network is down entries are kept, told so by exit status 3, and sent when it is
    back, once, in their order, with the times at which they happened; the next command sends
    them."""
    wallet_pass = place.issue(points=0)
    relay.loses_requests = True
    before = datetime.now(UTC)
    kept = [
        till.run(command, wallet_pass.pass_id, amount, *EARN)
        for command, amount in (("earn", "10"), ("burn", "4"), ("earn", "1"))
    ]
    after = datetime.now(UTC)
    assert [told.status for told in kept] == [ExitStatus.KEPT] * 3
    assert relay.passed == []
    relay.loses_requests = False
    till.rest()
    told = till.run("earn", wallet_pass.pass_id, "100", *EARN)
    assert told.object["balance"] == 107
    entries = place.entries_of(wallet_pass)[::-1]
    assert [entry.amount for entry in entries] == [10, -4, 1, 100]
    assert [entry.request_id for entry in entries[:3]] == [each.object["key"] for each in kept]
    times = [entry.occur_time.ToDatetime(UTC) for entry in entries[:3]]
    assert times == sorted(times)
    assert before - timedelta(seconds=1) <= times[0]
    assert times[-1] <= after
    assert till.drain().object["sent"] == 0


def test_a_lost_answer_posts_nothing_twice(place: Place, relay: Relay, till: Till) -> None:
    """An entry that was posted while its answer was lost is kept, sent again under the same key,
    and is posted once."""
    wallet_pass = place.issue(points=0)
    relay.loses_answers = frozenset({"PostEntry"})
    told = till.run("earn", wallet_pass.pass_id, "10", *EARN)
    assert told.status is ExitStatus.KEPT
    assert place.points_of(wallet_pass) == 10
    relay.loses_answers = frozenset({"BatchPostEntries"})
    assert till.drain().status is ExitStatus.KEPT
    relay.loses_answers = frozenset()
    drained = till.drain()
    assert (drained.status, drained.object["sent"]) == (ExitStatus.DONE, 1)
    [entry] = place.entries_of(wallet_pass)
    assert entry.request_id == told.object["key"]


def test_a_till_that_is_down_does_not_make_staff_wait(
    place: Place, relay: Relay, till: Till
) -> None:
    """Right after the service was not reached it is not tried again: the next entry is kept at
    once. `--offline` tries it at no time."""
    wallet_pass = place.issue(points=0)
    assert till.run("earn", wallet_pass.pass_id, "1", *EARN, "--offline").status == ExitStatus.KEPT
    assert relay.passed == []
    relay.loses_requests = True
    till.run("earn", wallet_pass.pass_id, "1", *EARN)
    relay.loses_requests = False
    assert till.run("earn", wallet_pass.pass_id, "1", *EARN).status == ExitStatus.KEPT
    assert relay.passed == []
    assert till.drain().object["sent"] == 3
    assert place.points_of(wallet_pass) == 3


def test_what_fails_keeps_back_nothing_else(place: Place, till: Till) -> None:
    """Of what was kept an entry for a pass that does not exist and one above the balance are told
    as refused; those around them are posted."""
    wallet_pass = place.issue(points=0)
    for command, pass_id, amount in (
        ("earn", wallet_pass.pass_id, "10"),
        ("earn", str(uuid4()), "10"),
        ("burn", wallet_pass.pass_id, "11"),
        ("earn", wallet_pass.pass_id, "10"),
    ):
        till.run(command, pass_id, amount, *EARN, "--offline")
    drained = till.drain()
    assert (drained.status, drained.object["sent"]) == (ExitStatus.REFUSED, 4)
    reasons = [trouble["outcome"]["reason"] for trouble in drained.object["troubles"]]
    assert reasons == ["unknown_pass", "insufficient_balance"]
    assert place.points_of(wallet_pass) == 20
    assert till.run("queue", "list").out == ""
    assert len(till.run("queue", "list", "--all").out.splitlines()) == 4


def test_hundreds_of_kept_entries_are_sent(place: Place, relay: Relay, till: Till) -> None:
    """What an outage left is sent in batches, complete."""
    wallet_pass = place.issue(points=0)
    for _ in range(3):
        till.run("earn", wallet_pass.pass_id, "1", *EARN, "--offline")
    with till.queue() as queue:
        [entry, *_] = queue.entries(with_done=False)
        for _ in range(597):
            noted, _ = queue.note(entry.intent, key=str(uuid4()), lease_seconds=0)
            queue.keep(noted, is_tried=False)
    drained = till.drain()
    assert (drained.status, drained.object["sent"]) == (ExitStatus.DONE, 600)
    assert place.points_of(wallet_pass) == 600
    assert relay.methods == ["BatchPostEntries"] * 2


@pytest.mark.parametrize("is_known", [True, False])
def test_rights(place: Place, relay: Relay, tmp_path: Path, is_known: bool) -> None:
    """A key that is not known, or may not redeem, is told by exit status 4 and posts nothing; what
    was kept stays until a key that may adopts it."""
    wallet_pass = place.issue(points=0)
    key = place.add_key(messages.API_SCOPE_READ) if is_known else "pmk_canary"
    till = make_till(tmp_path, relay.address, key=key)
    told = till.run("earn", wallet_pass.pass_id, "1", *EARN)
    assert told.status is ExitStatus.NO_RIGHT
    assert key not in told.out + told.err
    till.run("earn", wallet_pass.pass_id, "2", *EARN, "--offline")
    drained = till.drain()
    assert (drained.status, drained.object["waiting"]) == (ExitStatus.NO_RIGHT, 1)
    till.environ["PASSMILL_API_KEY"] = place.till_key
    assert till.drain().object["of_another_key"] == 1
    assert till.run("queue", "adopt").status is ExitStatus.DONE
    assert till.drain().status is ExitStatus.DONE
    assert place.points_of(wallet_pass) == 2


def test_an_entry_can_be_given_up(place: Place, till: Till) -> None:
    """A kept entry that was dropped is not sent."""
    wallet_pass = place.issue(points=0)
    key = till.run("earn", wallet_pass.pass_id, "1", *EARN, "--offline").object["key"]
    assert till.run("queue", "drop", key).status is ExitStatus.DONE
    assert till.run("queue", "drop", key).status is ExitStatus.REFUSED
    assert till.drain().object["sent"] == 0
    assert place.points_of(wallet_pass) == 0


def test_without_a_service(tmp_path: Path, place: Place) -> None:
    """Where nothing answers, a look is told so by exit status 5, and an entry is kept."""
    till = make_till(tmp_path, "127.0.0.1:1", key=place.till_key)
    assert till.run("verify", "K7M3-Q8TX").status is ExitStatus.UNREACHED
    told = till.run("earn", "K7M3-Q8TX", "1", "--unit", POINTS)
    assert told.status is ExitStatus.KEPT
    assert told.out.startswith("NOT CONFIRMED: kept, sent later")
