"""Paying by points: what staff were told is what is taken, whatever breaks."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from passmill_pos.outcomes import ExitStatus
from tests.pos.place import POINTS, Place
from tests.pos.relay import Relay
from tests.pos.till import Till, Told

pytestmark = pytest.mark.timeout(180)

SALE = ("2000", "EUR", "--unit", POINTS, "--json")


def test_pay(place: Place, till: Till) -> None:
    """A sale is paid up to the program's share, and no more than the till wants."""
    wallet_pass = place.issue(points=1000)
    told = till.run("pay", wallet_pass.pass_id, *SALE, "--reference", "bon 18")
    assert told.status is ExitStatus.DONE
    paid = told.object
    assert (paid["amount"], paid["paid"], paid["due"], paid["balance"]) == (600, 600, 1400, 400)
    less = till.run("pay", wallet_pass.pass_id, *SALE, "--most", "50").object
    assert (less["paid"], less["due"], less["balance"]) == (50, 1950, 350)
    second, first = place.entries_of(wallet_pass)
    assert (first.amount, first.reference, second.amount) == (-600, "bon 18", -50)
    assert place.held_of(wallet_pass) == 0


def test_nothing_to_pay_with(place: Place, till: Till) -> None:
    """Without points, or in a currency that points are not worth, nothing is paid."""
    wallet_pass = place.issue(points=0)
    told = till.run("pay", wallet_pass.pass_id, *SALE)
    assert (told.status, told.object["reason"]) == (ExitStatus.REFUSED, "nothing_to_pay")
    assert told.object["due"] == 2000
    told = till.run("pay", wallet_pass.pass_id, "2000", "JPY", "--unit", POINTS, "--json")
    assert told.object["reason"] == "not_payable"


def test_an_unreached_service_is_paid_nothing(place: Place, relay: Relay, till: Till) -> None:
    """When the service is not reached nothing is paid, and nothing is kept: exit status 5, at once
    the next time."""
    wallet_pass = place.issue(points=1000)
    relay.loses_requests = True
    for _ in range(2):
        assert till.run("pay", wallet_pass.pass_id, *SALE).status is ExitStatus.UNREACHED
    relay.loses_requests = False
    drained = till.drain()
    assert drained.object["waiting"] == 0
    assert place.held_of(wallet_pass) == 0
    assert place.entries_of(wallet_pass) == []


def test_a_lost_hold_is_freed(place: Place, relay: Relay, till: Till) -> None:
    """When the answer is lost that says how much is paid, staff are told that nothing is; what is
    held is freed by the next drain."""
    wallet_pass = place.issue(points=1000)
    relay.loses_answers = frozenset({"PaySale"})
    assert till.run("pay", wallet_pass.pass_id, *SALE).status is ExitStatus.UNREACHED
    assert place.held_of(wallet_pass) == 600
    relay.loses_answers = frozenset({"ReleaseHold"})
    assert till.drain().status is ExitStatus.KEPT
    relay.loses_answers = frozenset()
    assert till.drain().object["waiting"] == 0
    assert place.held_of(wallet_pass) == 0
    assert place.entries_of(wallet_pass) == []


@pytest.mark.parametrize("method", ["CaptureHold", None])
def test_a_lost_capture_is_sent_later(
    place: Place, relay: Relay, till: Till, method: str | None
) -> None:
    """Once the amount is known it is paid: staff are told so, and it is taken once, later, whether
    the service had heard of it or not."""
    wallet_pass = place.issue(points=1000)
    if method is None:

        def cut(method: str) -> None:
            relay.loses_requests = method == "CaptureHold"

        relay.before = cut
    else:
        relay.loses_answers = frozenset({method})
    told = till.run("pay", wallet_pass.pass_id, *SALE)
    assert told.status is ExitStatus.KEPT
    assert (told.object["paid"], told.object["due"]) == (600, 1400)
    relay.before, relay.loses_requests = lambda method: None, False
    relay.loses_answers = frozenset()
    assert till.drain().status is ExitStatus.DONE
    assert [entry.amount for entry in place.entries_of(wallet_pass)] == [-600]
    assert place.held_of(wallet_pass) == 0


def test_a_till_asks_again_with_its_key(place: Place, relay: Relay, till: Till) -> None:
    """A till that was told that nothing is paid may ask again under the same key, and pays once."""
    wallet_pass = place.issue(points=1000)
    key = str(uuid4())

    def pay() -> Told:
        return till.run("pay", wallet_pass.pass_id, *SALE, "--key", key)

    relay.loses_answers = frozenset({"PaySale"})
    assert pay().status is ExitStatus.UNREACHED
    relay.loses_answers = frozenset()
    till.rest()
    assert till.run("queue", "list", "--json").object["state"] == "kept"
    again = [pay() for _ in range(2)]
    assert [told.object["paid"] for told in again] == [600, 600]
    assert [entry.amount for entry in place.entries_of(wallet_pass)] == [-600]


@pytest.fixture
def patient(till: Till) -> Till:
    """A till that waits long enough for another to do something meanwhile."""
    till.environ["PASSMILL_POS_TIMEOUT_SECONDS"] = "20"
    return till


def when(relay: Relay, method: str, happens: Callable[[], object]) -> None:
    """Lets something happen the first time that the service has answered a method, before the till
    hears of it, when the till has been busy for as long as it said."""

    def meanwhile(called: str) -> None:
        if called == method:
            relay.after = lambda method: None
            happens()

    relay.after = meanwhile


def time_out(till: Till) -> None:
    """Lets the time pass for which processes said that they are busy."""
    with till.queue() as queue:
        queue.give_back(queue.entries(with_done=False))


def test_a_payment_after_a_long_backlog(place: Place, relay: Relay, patient: Till) -> None:
    """However long it takes to send what was kept, the payment that waits for it is paid, and told
    as paid also when it is asked for again."""
    wallet_pass = place.issue(points=1000)
    patient.run("earn", wallet_pass.pass_id, "1", "--unit", POINTS, "--offline")
    when(relay, "BatchPostEntries", lambda: time_out(patient))
    words = ("pay", wallet_pass.pass_id, *SALE, "--key", str(uuid4()))
    for _ in range(2):
        told = patient.run(*words)
        assert (told.status, told.object["paid"]) == (ExitStatus.DONE, 600)
    assert [entry.amount for entry in place.entries_of(wallet_pass)] == [-600, 1]


@pytest.mark.parametrize(
    ("method", "is_paid"), [("VerifyPass", False), ("PaySale", False), ("CaptureHold", True)]
)
def test_another_ends_a_payment(
    place: Place, relay: Relay, patient: Till, method: str, is_paid: bool
) -> None:
    """A payment that another command ends, because it takes longer than it may, is told as what was
    recorded and taken, each time it is asked for: paid, or not at all."""
    wallet_pass = place.issue(points=1000)
    key = str(uuid4())

    def end() -> None:
        time_out(patient)
        assert patient.drain().object["waiting"] == 0

    when(relay, method, end)
    words = ("pay", wallet_pass.reference_id, *SALE, "--key", key)
    for _ in range(2):
        told = patient.run(*words)
        if is_paid:
            assert (told.status, told.object["paid"]) == (ExitStatus.DONE, 600)
        else:
            assert (told.status, told.object["reason"]) == (ExitStatus.REFUSED, "not_paid")
    assert place.points_of(wallet_pass) == (400 if is_paid else 1000)
    assert place.held_of(wallet_pass) == 0


def test_a_payment_that_is_being_undone_stays_undone(
    place: Place, relay: Relay, till: Till
) -> None:
    """When it is not known whether what was held is freed yet, asking again pays nothing either:
    what is held is freed, and that is told."""
    wallet_pass = place.issue(points=1000)
    words = ("pay", wallet_pass.pass_id, *SALE, "--key", str(uuid4()))
    relay.loses_answers = frozenset({"PaySale"})
    assert till.run(*words).status is ExitStatus.UNREACHED
    relay.loses_answers = frozenset({"ReleaseHold"})
    assert till.drain().status is ExitStatus.KEPT
    till.rest()
    assert till.run(*words).status is ExitStatus.UNREACHED
    relay.loses_answers = frozenset()
    till.rest()
    told = till.run(*words)
    assert (told.status, told.object["reason"]) == (ExitStatus.REFUSED, "not_paid")
    assert (place.held_of(wallet_pass), place.points_of(wallet_pass)) == (0, 1000)


def test_two_commands_pay_under_one_key(place: Place, relay: Relay, patient: Till) -> None:
    """A payment that is asked for again while it is under way is paid once, and both are told."""
    wallet_pass = place.issue(points=1000)
    words = ("pay", wallet_pass.pass_id, *SALE, "--key", str(uuid4()))
    others: list[Told] = []
    when(relay, "PaySale", lambda: others.append(patient.run(*words)))
    told = [patient.run(*words), *others]
    assert [each.object["paid"] for each in told] == [600, 600]
    assert {each.status for each in told} == {ExitStatus.DONE}
    assert [entry.amount for entry in place.entries_of(wallet_pass)] == [-600]
