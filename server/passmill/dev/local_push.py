"""Pushes that stay on this machine: a stand-in for Apple's push service, and phones that hear of
them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from passmill.dev.fake_apns import FakeApnsCertificates, FakeApnsProcess
from passmill.dev.tls_files import local_tls_files
from passmill.dev.wallet_device.bundle import BundleVerifier
from passmill.dev.wallet_device.fleet import WalletFleet


class LocalPush:
    """Context manager: the stand-in, in a process of its own. It takes pushes from whoever shows a
    pass certificate below `root_pem`, to any device token.

    `folder`: where its certificate is kept, that of a `LocalService` with the same folder; by
    default one that goes in the end.
    """

    def __init__(self, *, root_pem: bytes, folder: Path | None = None) -> None:
        self._root_pem = root_pem
        self._folder = folder
        self._stack = ExitStack()
        self.address = ""
        self.settings: Mapping[str, str] = {}
        """What sends a service's pushes here."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = self._folder or Path(
                stack.enter_context(TemporaryDirectory(prefix="passmill-push-"))
            )
            folder.mkdir(parents=True, exist_ok=True)
            files = local_tls_files(folder)
            certificates = FakeApnsCertificates(
                server_certificate=files.certificate.read_bytes(),
                server_key=files.key.read_bytes(),
                client_authorities=(self._root_pem,),
            )
            self._apns = stack.enter_context(FakeApnsProcess(certificates))
            self._stack = stack.pop_all()
        self.address = f"localhost:{self._apns.port}"
        self.settings = {
            "PASSMILL_PUSH__HOST": "localhost",
            "PASSMILL_PUSH__PORT": str(self._apns.port),
            "PASSMILL_PUSH__ROOTS_FILE": str(files.root),
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def accepted_at(self, push_token: str) -> float | None:
        """When the last push to a device was accepted, in seconds of `time.monotonic`; as far as
        phones were open since."""
        accepted = [each.at for each in self._apns.log.of_token(push_token) if each.is_accepted]
        return accepted[-1] if accepted else None

    @asynccontextmanager
    async def open_phones(
        self, *, edge_root: Path, openssl_every: int = 0
    ) -> AsyncIterator[WalletFleet]:
        """Simulated phones that hear of the pushes accepted here. `edge_root`: what the web
        service's certificate is checked with, PEM; each `openssl_every`-th bundle is given to
        openssl too."""
        fleet = WalletFleet(
            post=self._apns.post,
            tls=ssl.create_default_context(cafile=edge_root),
            verifier=BundleVerifier(self._root_pem, openssl_every=openssl_every),
        )
        async with fleet, self._apns.collecting():
            yield fleet
