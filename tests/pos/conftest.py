"""A running service that the tests of a worker share, and tills before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from passmill_pos.outcomes import ExitStatus
from tests.pos.place import Place, open_place
from tests.pos.relay import Relay, open_relay
from tests.pos.till import Till, make_till


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """A running service with a club."""
    with open_place() as place:
        yield place


@pytest.fixture
def relay(place: Place) -> Iterator[Relay]:
    """A network before it."""
    with open_relay(place.address) as relay:
        yield relay


@pytest.fixture
def till(place: Place, relay: Relay, tmp_path: Path) -> Till:
    """A till that reaches it over that network, with a key that is no scanner's."""
    return make_till(tmp_path, relay.address, key=place.till_key)


@pytest.fixture
def scanner(place: Place, relay: Relay, tmp_path: Path) -> Till:
    """A till that was enrolled at the venue, with every right."""
    till = make_till(tmp_path, relay.address)
    del till.environ["PASSMILL_API_KEY"]
    assert till.run("enrol", place.code(), "--name", "Till 2").status is ExitStatus.DONE
    relay.passed.clear()
    return till
