"""A till becomes a scanner: a code for a key that nobody else reads."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from passmill_pos.config import read_config
from passmill_pos.outcomes import ExitStatus
from tests.pos.place import Place
from tests.pos.relay import Relay
from tests.pos.till import Till, make_till

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def bare(relay: Relay, tmp_path: Path) -> Till:
    """A till that has no key."""
    till = make_till(tmp_path, relay.address)
    del till.environ["PASSMILL_API_KEY"]
    return till


def config_of(till: Till) -> Path:
    """Where its configuration is."""
    return Path(till.environ["PASSMILL_POS_CONFIG"])


def test_enrol(place: Place, relay: Relay, bare: Till) -> None:
    """The code's key is written for the owner alone with scanner, venue and address, printed by
    nobody, and good for the next command; the code in another spelling is good no more."""
    del bare.environ["PASSMILL_ADDRESS"]
    code = place.code()
    words = ("--name", "Till 2", "--address", relay.address, "--json")
    enrolled = bare.run("enrol", code.lower().replace("-", " "), *words)
    assert enrolled.status is ExitStatus.DONE
    assert (enrolled.object["scanner"], enrolled.object["venue"]) == ("Till 2", "Main Street")
    path = config_of(bare)
    config = read_config(path, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (config.address, config.venue_id) == (relay.address, place.venue_id)
    assert config.scanner_id == enrolled.object["scanner_id"]
    assert config.api_key
    assert config.api_key not in enrolled.out + enrolled.err
    assert [each.name for each in path.parent.iterdir() if "enrol" in each.name] == []
    assert bare.run("verify", place.issue().reference_id).status is ExitStatus.DONE
    kept = path.read_bytes()
    assert bare.run("enrol", code, *words).status is not ExitStatus.DONE
    assert path.read_bytes() == kept


def test_a_lost_answer_costs_no_code(place: Place, relay: Relay, bare: Till) -> None:
    """When the answer is lost the same code is good once more, for this device."""
    code = place.code()
    relay.loses_answers = frozenset({"EnrolScanner"})
    assert bare.run("enrol", code, "--name", "Till 2").status is ExitStatus.UNREACHED
    assert not config_of(bare).exists()
    relay.loses_answers = frozenset()
    assert bare.run("enrol", code, "--name", "Till 2").status is ExitStatus.DONE
    scanners = [
        each
        for each in place.client.list_scanners()
        if each.scanner_id in config_of(bare).read_text()
    ]
    assert len(scanners) == 1


@pytest.mark.parametrize("code", ["K7M3-Q8TX", "no code at all"])
def test_a_code_that_is_none(place: Place, bare: Till, code: str) -> None:
    """A code that nobody made is refused, and no configuration is written."""
    told = bare.run("enrol", code, "--name", "Till 2")
    assert told.status in {ExitStatus.USAGE, ExitStatus.NO_RIGHT}
    assert list(config_of(bare).parent.glob("config*")) == []


def test_what_is_kept_is_of_a_key(place: Place, scanner: Till) -> None:
    """While something is kept the till is not enrolled anew, unless that is said."""
    wallet_pass = place.issue()
    scanner.run("redeem", wallet_pass.pass_id, "--offer", place.offer_id, "--offline")
    again = ("enrol", place.code(), "--name", "Till 3")
    assert scanner.run(*again).status is ExitStatus.USAGE
    assert scanner.run(*again, "--keep-queue").status is ExitStatus.DONE
    assert scanner.drain().status is ExitStatus.DONE
    assert len(place.uses_of(wallet_pass)) == 1


def test_a_revoked_scanner_is_told_so(place: Place, scanner: Till) -> None:
    """A scanner that was revoked looks at nothing any more: exit status 4."""
    scanner_id = read_config(config_of(scanner), {}).scanner_id
    place.client.revoke_scanner(scanner_id)
    wallet_pass = place.issue()
    for _ in range(50):  # other processes hear of it in a moment
        told = scanner.run("verify", wallet_pass.pass_id)
        if told.status is not ExitStatus.DONE:
            break
    assert told.status is ExitStatus.NO_RIGHT


def test_without_a_key_or_an_address(bare: Till) -> None:
    """A till that was told nothing says what it lacks: exit status 2."""
    told = bare.run("verify", "K7M3-Q8TX")
    assert (told.status, "passmill-pos enrol" in told.err) == (ExitStatus.USAGE, True)
    del bare.environ["PASSMILL_ADDRESS"]
    told = bare.run("enrol", "K7M3-Q8TX", "--name", "Till 2", "--json")
    assert (told.status, "--address" in told.object["message"]) == (ExitStatus.USAGE, True)
