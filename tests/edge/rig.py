"""An edge in this process, on real TLS, and what a phone knows of a pass."""

from __future__ import annotations

import base64
import functools
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client import CollectorRegistry

from passmill.compose_edge import EdgeServices, open_edge
from passmill.dev.authority import ThrowawayAuthority
from passmill.dev.tls_files import TlsFiles, local_tls_files
from passmill.domain.clock import Clock
from passmill.domain.keyring import Keyring
from passmill.settings import EdgeDoor, Settings
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.bundles import pass_json
from tests.support.channels import reserve_port
from tests.support.service import Club

HOST: Final = "localhost"
USER_AGENT: Final = "passd/1.0 CFNetwork/1494.0.7 Darwin/23.4.0"
PUSH_TOKEN: Final = "a1" * 32
DEVICE: Final = "0123456789abcdef0123456789abcdef"


@functools.cache
def tls_files() -> TlsFiles:
    """Certificate, key and root of the tests' edges, made once a process."""
    return local_tls_files(Path(tempfile.mkdtemp(prefix="passmill-test-tls-")))


def edge_settings(settings: Settings, **door: Any) -> Settings:
    """What an edge beside a service with these settings is given: its own key and no other. `door`:
    fields of EdgeDoor."""
    files = tls_files()
    edge_key = Keyring(settings.master_key_bytes).edge_key
    given = settings.model_dump(exclude={"master_key", "operator_key", "edge"})
    given["edge_key"] = base64.b64encode(edge_key).decode()
    usual = {
        "tls_certificate_file": files.certificate,
        "tls_key_file": files.key,
        "client_rate": 0,
        "claims_per_hour": 0,
    }
    return Settings.model_validate(given | {"edge": EdgeDoor.model_validate(usual | door)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A running edge. `client`: HTTP/2, believes in the edge's root alone."""

    settings: Settings
    services: EdgeServices
    registry: CollectorRegistry
    port: int
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        """The web service's address, without /v1."""
        return f"https://{HOST}:{self.port}"

    def sample(self, series: str, **labels: str) -> float:
        """The value of a series of this edge, 0 when there is none yet."""
        return self.registry.get_sample_value(series, labels) or 0.0


@asynccontextmanager
async def open_edge_on(
    settings: Settings, *, clock: Clock | None = None, **door: Any
) -> AsyncIterator[Edge]:
    """An edge on the database of a service with these settings. `door`: fields of EdgeDoor."""
    settings = edge_settings(settings, **door)
    registry = CollectorRegistry()
    with ExitStack() as held:
        port = reserve_port(held)
        async with (
            open_edge(settings, port=port, clock=clock, registry=registry) as services,
            open_client(port) as client,
        ):
            yield Edge(
                settings=settings, services=services, registry=registry, port=port, client=client
            )


@asynccontextmanager
async def open_client(port: int, *, http2: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the edge on this port."""
    async with httpx.AsyncClient(
        base_url=f"https://{HOST}:{port}",
        http2=http2,
        verify=tls_context(),
        headers={"user-agent": USER_AGENT},
        timeout=30,
    ) as client:
        yield client


def tls_context() -> ssl.SSLContext:
    """TLS that believes in the tests' root alone."""
    return ssl.create_default_context(cafile=str(tls_files().root))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A pass as the phone that holds it knows it, from its pass.json."""

    wallet_pass: Pass
    pass_type: str
    serial_number: str
    token: str

    @property
    def path(self) -> str:
        """The pass's own path."""
        return f"/v1/passes/{self.pass_type}/{self.serial_number}"

    @property
    def authorization(self) -> dict[str, str]:
        """What opens this pass."""
        return {"authorization": f"ApplePass {self.token}"}

    def registration(self, device: str = DEVICE) -> str:
        """The path of a device's registration for the pass."""
        return f"{self.list_path(device)}/{self.serial_number}"

    def list_path(self, device: str = DEVICE) -> str:
        """Where a device asks what is new."""
        return f"/v1/devices/{device}/registrations/{self.pass_type}"


async def hold(club: Club, wallet_pass: Pass | None = None) -> Held:
    """A pass (a new one unless it is given), in somebody's pocket."""
    wallet_pass = wallet_pass or await club.issue()
    document = pass_json(await club.bundle(wallet_pass))
    return Held(
        wallet_pass=wallet_pass,
        pass_type=document["passTypeIdentifier"],
        serial_number=document["serialNumber"],
        token=document["authenticationToken"],
    )


async def register(
    client: httpx.AsyncClient, held: Held, *, device: str = DEVICE, push_token: str = PUSH_TOKEN
) -> httpx.Response:
    """What the phone sends once it has the pass."""
    return await client.post(
        held.registration(device), headers=held.authorization, json={"pushToken": push_token}
    )


def foreign_authority() -> ThrowawayAuthority:
    """An authority that nobody here believes in."""
    return ThrowawayAuthority(now=datetime.now(UTC))
