"""A till whose API key is exchanged while something is kept: one use at the counter is one use."""

from __future__ import annotations

from uuid import uuid4

import pytest

from passmill_client import messages
from passmill_pos.outcomes import ExitStatus
from tests.pos.place import POINTS, Place
from tests.pos.relay import Relay
from tests.pos.till import Till

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def rotated(place: Place, till: Till) -> Till:
    """The till with another key, and the queue that there is."""
    key = place.add_key(messages.API_SCOPE_REDEEM)
    return Till(environ=till.environ | {"PASSMILL_API_KEY": key})


def test_a_use_is_told_under_one_key(place: Place, relay: Relay, till: Till, rotated: Till) -> None:
    """A use that was told, and not answered, is not told again under another key, which says so and
    does everything else; under its own it is told again, and counted once."""
    wallet_pass = place.issue(points=0)
    stamp = place.client.create_offer(
        messages.Offer(display_name="Stamp"), program_id=place.program_id
    )
    till.run("redeem", wallet_pass.pass_id, "--offer", stamp.offer_id, "--offline")
    relay.loses_answers = frozenset({"SyncOfflineScans"})
    assert till.drain().status is ExitStatus.KEPT
    relay.loses_answers = frozenset()
    till.rest()
    told = rotated.run("earn", wallet_pass.pass_id, "1", "--unit", POINTS)
    assert told.status is ExitStatus.DONE
    drained = rotated.drain()
    assert drained.status is ExitStatus.KEPT
    assert (drained.object["sent"], drained.object["of_another_key"]) == (0, 1)
    assert "noted under another API key" in rotated.run("queue", "drain").out
    assert len(place.uses_of(wallet_pass)) == 1
    drained = till.drain()
    assert (drained.status, drained.object["waiting"]) == (ExitStatus.DONE, 0)
    assert len(place.uses_of(wallet_pass)) == 1


def test_the_same_again_under_another_key(place: Place, till: Till, rotated: Till) -> None:
    """An entry that is not done is not begun again under another API key; its outcome is told to
    any."""
    wallet_pass = place.issue(points=0)
    words = ("earn", wallet_pass.pass_id, "1", "--unit", POINTS, "--key", str(uuid4()))
    assert till.run(*words, "--offline").status is ExitStatus.KEPT
    told = rotated.run(*words)
    assert (told.status, "queue adopt" in told.err) == (ExitStatus.USAGE, True)
    assert place.points_of(wallet_pass) == 0
    assert till.run(*words).status is ExitStatus.DONE
    assert rotated.run(*words).status is ExitStatus.DONE
    assert place.points_of(wallet_pass) == 1


def test_what_is_adopted_is_sent(place: Place, till: Till, rotated: Till) -> None:
    """What another key noted and nobody was told of is sent by the key that adopts it."""
    wallet_pass = place.issue(points=0)
    till.run("redeem", wallet_pass.pass_id, "--offer", place.offer_id, "--offline")
    adopted = rotated.run("queue", "adopt", "--json")
    assert (adopted.status, adopted.object["adopted"]) == (ExitStatus.DONE, 1)
    assert rotated.run("queue", "adopt", "--json").object["adopted"] == 0
    assert till.drain().object["of_another_key"] == 1
    drained = rotated.drain()
    assert (drained.status, drained.object["sent"]) == (ExitStatus.DONE, 1)
    assert len(place.uses_of(wallet_pass)) == 1
