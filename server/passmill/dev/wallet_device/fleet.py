"""Some thousand devices that react to pushes, over few connections."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Self

import httpx

from passmill.dev.fake_apns import Delivery, Post
from passmill.dev.wallet_device.bundle import BundleVerifier, PassContent
from passmill.dev.wallet_device.device import USER_AGENTS, PassKey, WalletDevice
from passmill.dev.wallet_device.errors import WalletError
from passmill.dev.wallet_device.lock_screen import Alert
from passmill.dev.wallet_device.web_service import (
    Pace,
    RetryPlan,
    Traffic,
    WebService,
    open_http,
)


class WalletFleet:
    """Async context manager. Devices hear of pushes by `post`; each asks for what is new, at most
    once at a time for a pass type, and once more when it was told meanwhile.

    `tls`: trusts the edge's certificate. `origins`: where the web services that passes name really
    are. `on_token`: told each push token with its pass type when it is first used, for a push
    service that knows its tokens. What went wrong on a device is kept in `failures`.
    """

    def __init__(
        self,
        *,
        post: Post,
        tls: ssl.SSLContext,
        verifier: BundleVerifier,
        origins: Mapping[str, str] | None = None,
        retry: RetryPlan | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connections: int = 4,
        under_way: int = 100,
        on_token: Callable[[str, str], None] = lambda token, pass_type: None,
    ) -> None:
        self.devices: list[WalletDevice] = []
        self.failures: list[tuple[WalletDevice, WalletError]] = []
        self.traffic = Traffic()
        self.post = post
        self._tls = tls
        self._verifier = verifier
        self._origins = dict(origins or {})
        self._retry = retry or RetryPlan()
        self._sleep = sleep
        self._connections = connections
        self._under_way = asyncio.Semaphore(under_way)
        self._on_token = on_token
        self._agents = itertools.cycle(USER_AGENTS)
        self._listening: dict[tuple[WalletDevice, str], Callable[[Delivery], None]] = {}
        self._offline: set[WalletDevice] = set()
        self._asked: dict[tuple[WalletDevice, str], bool] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._client: httpx.AsyncClient = await stack.enter_async_context(
                open_http(self._tls, connections=self._connections)
            )
            self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(self._hang_up)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.__aexit__(*exception)  # type: ignore[arg-type]

    def add_device(
        self,
        *,
        languages: tuple[str, ...] = ("en",),
        pace: Pace | None = None,
        push_tokens: dict[str, str] | None = None,
        on_alert: Callable[[Alert], None] = lambda alert: None,
    ) -> WalletDevice:
        """A device without passes. `push_tokens`: those of another one, whose pushes it hears too
        (the same phone under another library identifier). `on_alert`: told what its lock screen
        shows."""
        web = WebService(
            self._client,
            user_agent=next(self._agents),
            origins=self._origins,
            retry=self._retry,
            sleep=self._sleep,
            traffic=self.traffic,
            under_way=self._under_way,
        )
        device = WalletDevice(
            web=web,
            verifier=self._verifier,
            sleep=self._sleep,
            languages=languages,
            pace=pace,
            push_tokens=push_tokens,
            on_alert=on_alert,
        )
        self.devices.append(device)
        return device

    async def install(
        self, device: WalletDevice, bundle: bytes, *, last_modified: str | None = None
    ) -> PassKey:
        """Installs and registers a pass; the device hears of its pushes from before the
        registration on."""
        content = self._verifier.verify(bundle)
        self._listen(device, content.pass_type_identifier)
        return await device.install(bundle, last_modified=last_modified)

    async def install_all(self, pairs: Iterable[tuple[WalletDevice, bytes]]) -> None:
        """Installs many at once; what is refused is in `failures`."""
        async with asyncio.TaskGroup() as tasks:
            for device, bundle in pairs:
                tasks.create_task(self._keeping(device, self.install(device, bundle)))

    async def renew_push_token(self, device: WalletDevice, pass_type: str) -> str:
        """The device gets another token; gives the old one, which nobody listens to any more."""
        self._stop_listening(device, pass_type)
        old = device.replace_push_token(pass_type)
        self._listen(device, pass_type)
        await device.register_all(pass_type)
        return old

    def take_offline(self, device: WalletDevice) -> None:
        """The device hears nothing; the push service keeps one push for it."""
        self._offline.add(device)
        for held, pass_type in list(self._listening):
            if held is device:
                self._stop_listening(device, pass_type)

    def bring_online(self, device: WalletDevice) -> None:
        """The device hears again, at once of what was kept."""
        self._offline.discard(device)
        for pass_type in device.push_tokens:
            self._listen(device, pass_type)

    def ask(self, device: WalletDevice, pass_type: str) -> None:
        """Has a device look for updates, as a push does."""
        place = (device, pass_type)
        if place in self._asked:
            self._asked[place] = True  # once more afterwards
            return
        self._asked[place] = False
        self._quiet.clear()
        self._tasks.create_task(self._update(device, pass_type))

    def ask_all(self, pass_type: str) -> None:
        """Has every device that is online look for updates."""
        for device in self.devices:
            if device not in self._offline:
                self.ask(device, pass_type)

    async def settle(self, *, seconds: float = 30.0) -> None:
        """Waits until no device is busy."""
        async with asyncio.timeout(seconds):
            await self._quiet.wait()

    def installed(self, key: PassKey) -> list[PassContent]:
        """A pass as every device has it that has it."""
        return [device.passes[key].content for device in self.devices if key in device.passes]

    def raise_failures(self) -> None:
        """Raises what went wrong on devices, if anything did."""
        if self.failures:
            raise ExceptionGroup("devices failed", [error for _, error in self.failures])

    async def _update(self, device: WalletDevice, pass_type: str) -> None:
        place = (device, pass_type)
        try:
            while True:
                self._asked[place] = False
                await self._keeping(device, device.update(pass_type))
                if not self._asked[place]:
                    return
        finally:
            del self._asked[place]
            if not self._asked:
                self._quiet.set()

    async def _keeping(self, device: WalletDevice, task: Awaitable[object]) -> None:
        try:
            await task
        except WalletError as error:
            self.failures.append((device, error))

    def _listen(self, device: WalletDevice, pass_type: str) -> None:
        place = (device, pass_type)
        if place in self._listening:
            return
        token = device.push_token(pass_type)
        self._on_token(token, pass_type)
        if device in self._offline:
            return

        def hear(delivery: Delivery) -> None:
            device.seen.pushes += 1
            self.ask(device, delivery.topic)

        self._listening[place] = hear
        self.post.go_online(token, pass_type, hear)

    def _stop_listening(self, device: WalletDevice, pass_type: str) -> None:
        hear = self._listening.pop((device, pass_type), None)
        if hear is not None:
            self.post.go_offline(device.push_token(pass_type), pass_type, hear)

    def _hang_up(self) -> None:
        for device, pass_type in list(self._listening):
            self._stop_listening(device, pass_type)
