"""How often one address may ask: a token bucket each, in the memory of this process."""

from __future__ import annotations

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_MAX_CLIENTS: Final = 100_000  # some 15 MB
_SUBSCRIBER_BITS: Final = 64  # of an IPv6 address: what one customer of a provider usually has
_MAX_HOPS: Final = 20
# Some proxies write the client's port too: "192.0.2.1:443", "[2001:db8::1]:443" or "[2001:db8::1]".
_WITH_PORT: Final = re.compile(
    r"(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[^\[\]]+)\](?::[0-9]{1,5})?", re.ASCII
)


class ClientRates:
    """Buckets by client (`ClientAddresses.of`). Of more clients than it has room for, those that
    asked longest ago are forgotten, and begin with a full bucket."""

    __slots__ = ("_burst_seconds", "_capacity", "_full_at", "_interval", "_monotonic")

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        capacity: int = _MAX_CLIENTS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`burst`: so many at once, then `per_second` each second."""
        self._interval = 1.0 / per_second
        self._burst_seconds = burst * self._interval
        self._capacity = capacity
        self._monotonic = monotonic
        # When each bucket would be full again (the generic cell rate algorithm, ITU-T I.371).
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str) -> float:
        """Counts a request: 0.0 when it may go on, else the seconds after which one may."""
        now = self._monotonic()
        full_at = max(self._full_at.get(client, 0.0), now) + self._interval
        wait = full_at - now - self._burst_seconds
        if wait > 0.0:
            return wait
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return 0.0


class ClientAddresses:
    """Who asks, also behind proxies of ours. `trusted_proxies`: networks whose X-Forwarded-For is
    believed."""

    __slots__ = ("_trusted",)

    def __init__(self, *, trusted_proxies: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted_proxies)

    def of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The client: an IPv4 address, or the /64 of an IPv6 one. `peer`: the address that the
        connection comes from; `forwarded_for`: the request's X-Forwarded-For headers.

        The last address that no trusted proxy has; what a client writes into the header itself
        stands before it.
        """
        if not self._trusted and ":" not in peer:
            return peer
        address = _parse(peer)
        if address is None:
            return peer
        if self._is_trusted(address):
            hops = ",".join(forwarded_for).split(",")[-_MAX_HOPS:]
            for hop in reversed(hops):
                next_one = _parse(_without_port(hop.strip()))
                if next_one is None:
                    break
                address = next_one
                if not self._is_trusted(address):
                    break
        return _client(address)

    def _is_trusted(self, address: _Address) -> bool:
        return any(
            address.version == network.version and address in network for network in self._trusted
        )


def _without_port(hop: str) -> str:
    match = _WITH_PORT.fullmatch(hop)
    return hop if match is None else match["v4"] or match["v6"]


def _parse(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _client(address: _Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    prefix = int(address) >> (128 - _SUBSCRIBER_BITS)
    return f"{prefix:x}/64"
