"""A simulated phone for whoever has none that would take throw-away certificates: its passes are
the files in a folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Self

from passmill.dev.local_push import LocalPush
from passmill.dev.wallet_device.device import PassKey, WalletDevice
from passmill.dev.wallet_device.errors import WalletError
from passmill.dev.wallet_device.fleet import WalletFleet
from passmill.dev.wallet_device.lock_screen import Alert

_LOOK_SECONDS: Final = 0.25


class _Version(NamedTuple):
    """A file as it was looked at."""

    modified_ns: int
    size: int


class PhoneFolder:
    """Context manager: the phone, in a thread of its own. It adds each `.pkpass` that is put into
    `folder` and registers it, removes those that are taken out, and does what a phone does when a
    push comes. The files stay as they are.

    `edge_root`: what the web service's certificate is checked with, PEM. `on_step`: told in words,
    from the thread, what the phone does, shows and refuses.
    """

    def __init__(
        self, folder: Path, *, push: LocalPush, edge_root: Path, on_step: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._push = push
        self._edge_root = edge_root
        self._on_step = on_step
        self._looked_at: dict[Path, _Version] = {}
        self._added: dict[Path, PassKey] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="phone")

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            using = tasks.create_task(self._use())
            while not using.done():
                await asyncio.sleep(_LOOK_SECONDS)
                if self._is_over.is_set():
                    using.cancel()

    async def _use(self) -> None:
        async with self._push.open_phones(edge_root=self._edge_root) as phones:
            phone = phones.add_device(on_alert=self._show)
            while True:
                found = await asyncio.to_thread(self._look)
                for path in self._looked_at.keys() - found.keys():
                    await self._remove(phone, path)
                for path, version in found.items():
                    if self._looked_at.get(path) != version:
                        self._looked_at[path] = version
                        await self._add(phones, phone, path)
                while phones.failures:
                    self._refuse("an update", phones.failures.pop()[1])
                await asyncio.sleep(_LOOK_SECONDS)

    def _look(self) -> dict[Path, _Version]:
        found = {}
        for path in sorted(self._folder.glob("*.pkpass")):
            try:
                status = path.stat()
            except FileNotFoundError:  # taken out meanwhile
                continue
            found[path] = _Version(status.st_mtime_ns, status.st_size)
        return found

    async def _add(self, phones: WalletFleet, phone: WalletDevice, path: Path) -> None:
        try:
            bundle = await asyncio.to_thread(path.read_bytes)
            self._added[path] = await phones.install(phone, bundle)
        except (OSError, WalletError) as error:
            self._refuse(path.name, error)
        else:
            self._on_step(f"phone: {path.name} is added")

    async def _remove(self, phone: WalletDevice, path: Path) -> None:
        del self._looked_at[path]
        key = self._added.pop(path, None)
        if key is None or key in self._added.values():
            return
        try:
            await phone.remove(key)
        except WalletError as error:
            self._refuse(path.name, error)
        else:
            self._on_step(f"phone: {path.name} is removed")

    def _show(self, alert: Alert) -> None:
        self._on_step(f"phone: {alert.title}: {alert.line}")

    def _refuse(self, what: str, error: Exception) -> None:
        self._on_step(f"phone: {what} is refused: {error}")
