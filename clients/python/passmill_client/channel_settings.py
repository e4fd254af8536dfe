"""How channels to Passmill are made: retries, keepalive, limits, encryption, credential."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

MAX_ANSWER_BYTES = 34 << 20
"""A little more than the largest .pkpasses that the service gives."""

# https://github.com/grpc/proposal/blob/master/A6-client-retries.md; UNAVAILABLE alone, as
# https://google.aip.dev/194 says. A change is safe to repeat because of its request id. Together
# the four waits bridge about seven seconds, a restart of the service.
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.5},
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "5s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)

_OPTIONS: Sequence[tuple[str, str | int]] = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    # Else all channels of a process share one connection, and so one process of the service.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """The environment variables that say what the caller did not."""

    address: str
    key: str


class ChannelSettings:
    """Everything a client needs to make its channels; shows no secret."""

    def __init__(
        self,
        *,
        address: str | None,
        key: str | None,
        variables: Variables,
        root_certificates: bytes | None,
        client_certificate: tuple[bytes, bytes] | None,
        plaintext: bool,
    ) -> None:
        """ValueError when neither the arguments nor `variables` name an address and a key."""
        self.address = address or os.environ.get(variables.address, "")
        key = key or os.environ.get(variables.key, "")
        if not self.address:
            raise ValueError(f"no address: give one, or set {variables.address}")
        if not key:
            raise ValueError(f"no key: give one, or set {variables.key}")
        self.options = _OPTIONS
        self.metadata = (("authorization", f"Bearer {key}"),)
        self.credentials: grpc.ChannelCredentials | None = None
        asked_for_tls = root_certificates is not None or client_certificate is not None
        if asked_for_tls or not (plaintext or _stays_on_this_machine(self.address)):
            certificate, private_key = client_certificate or (None, None)
            self.credentials = grpc.ssl_channel_credentials(
                root_certificates, private_key, certificate
            )


def _stays_on_this_machine(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = address.rsplit("/", 1)[-1].rsplit(":", 1)[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
