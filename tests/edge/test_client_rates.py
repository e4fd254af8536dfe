"""Who asks, and how often they may."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.edge.client_rates import ClientAddresses, ClientRates
from passmill.telemetry.sampling import Sampler


class Ticks:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """The seconds set."""
        return self.seconds


def test_burst_then_rate() -> None:
    """So many at once, then so many a second; a refused one costs nothing, and says how long the
    next must wait."""
    ticks = Ticks()
    rates = ClientRates(per_second=2, burst=3, monotonic=ticks)
    assert [rates.take("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert rates.take("a") == pytest.approx(0.5)
    assert rates.take("a") == pytest.approx(0.5)
    assert rates.take("b") == 0.0
    ticks.seconds += 0.5
    assert rates.take("a") == 0.0
    assert rates.take("a") > 0.0
    ticks.seconds += 60
    assert [rates.take("a") for _ in range(4)][:3] == [0.0, 0.0, 0.0]
    assert rates.take("a") > 0.0


@given(st.lists(st.floats(min_value=0, max_value=2), max_size=200))
def test_never_more_than_the_rate(pauses: list[float]) -> None:
    """Whatever the pauses, no more go through than the burst and what the time since allows."""
    ticks = Ticks()
    rates = ClientRates(per_second=3, burst=5, monotonic=ticks)
    passed, began = 0, ticks.seconds
    for pause in pauses:
        ticks.seconds += pause
        passed += rates.take("a") == 0.0
        assert passed <= 5 + 3 * (ticks.seconds - began) + 1e-6


def test_memory_is_bounded() -> None:
    """Of many clients those that asked longest ago are forgotten."""
    ticks = Ticks()
    rates = ClientRates(per_second=1, burst=1, capacity=10, monotonic=ticks)
    for number in range(1000):
        assert rates.take(str(number)) == 0.0
    assert len(rates) == 10
    assert rates.take("999") > 0.0
    assert rates.take("0") == 0.0


PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.2.3.4", "203.0.113.9, 10.9.9.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["nonsense, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["2001:db8:0:1:ffff::9"], "20010db800000001/64"),
        ("10.0.0.1", ["203.0.113.9:5678"], "203.0.113.9"),
        ("10.0.0.1", ["1.2.3.4, 203.0.113.9:5678, 10.9.9.9:443"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8:0:1::2]:443"], "20010db800000001/64"),
        ("10.0.0.1", ["[2001:db8:0:1::2]"], "20010db800000001/64"),
        ("10.0.0.1", ["[::ffff:203.0.113.9]:443, [fd00::2]:1"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:http"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:"], "10.0.0.1"),
        ("10.0.0.1", ["[203.0.113.9", "[]:443"], "10.0.0.1"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("fd00::1", ["2001:db8:0:1::2"], "20010db800000001/64"),
        ("2001:db8:0:1:1:2:3:4", ["203.0.113.9"], "20010db800000001/64"),
        ("fe80::1%eth0", [], "fe80000000000000/64"),
        ("", [], ""),
    ],
)
def test_clients_behind_proxies(peer: str, headers: list[str], client: str) -> None:
    """The client is the last address that no proxy of ours has; of IPv6 its network. What a client
    claims of itself counts for nothing."""
    assert ClientAddresses(trusted_proxies=PROXIES).of(peer, headers) == client


def test_nobody_is_trusted_unless_told() -> None:
    """Without proxies of ours the header is not read."""
    assert ClientAddresses().of("10.0.0.1", ["203.0.113.9"]) == "10.0.0.1"


@given(st.text(max_size=40), st.lists(st.text(max_size=200), max_size=4))
def test_any_header(peer: str, headers: list[str]) -> None:
    """No header whatever is more than believed or not."""
    ClientAddresses(trusted_proxies=PROXIES).of(peer, headers)
    ClientAddresses(trusted_proxies=PROXIES).of("10.0.0.1", headers)


def test_samples() -> None:
    """At most so many a second, and the next one tells how many were left out."""
    ticks = Ticks()
    sampler = Sampler(per_second=2, monotonic=ticks)
    assert [sampler.take() for _ in range(5)] == [0, 0, None, None, None]
    ticks.seconds += 1
    assert [sampler.take() for _ in range(3)] == [3, 0, None]
