"""The demonstration's last chapter: a pass changes, and a simulated phone shows it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from passmill.demo.console import Console, DemoFailed
from passmill.demo.recipients import Recipient
from passmill.dev.local_push import LocalPush
from passmill.dev.local_service import LocalService
from passmill.dev.wallet_device.device import PassKey, WalletDevice
from passmill.dev.wallet_device.errors import WalletError
from passmill.dev.wallet_device.fleet import WalletFleet
from passmill.dev.wallet_device.lock_screen import Alert
from passmill_client import Client, Pass

_PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """How a change reached the phone, in seconds from the call of UpdatePass."""

    answered: float
    pushed: float
    shown: float
    alert: Alert


def show_update(
    console: Console,
    *,
    client: Client,
    service: LocalService,
    push: LocalPush,
    recipient: Recipient,
    wallet_pass: Pass,
) -> Update:
    """Has a phone add the pass, changes its points, and waits for the phone's lock screen.
    DemoFailed when the phone has anything against what it gets, or gets nothing."""
    chapter = _Chapter(console, client, service, push)
    try:
        return asyncio.run(chapter.play(recipient, wallet_pass))
    except WalletError as error:
        raise DemoFailed(f"the phone refuses what it got: {error}") from error


class _Chapter:
    def __init__(
        self, console: Console, client: Client, service: LocalService, push: LocalPush
    ) -> None:
        self._console = console
        self._client = client
        self._service = service
        self._push = push

    async def play(self, recipient: Recipient, wallet_pass: Pass) -> Update:
        """From the pass on the phone to its lock screen."""
        shown: asyncio.Queue[tuple[float, Alert]] = asyncio.Queue()
        async with self._push.open_phones(
            edge_root=self._service.edge_root_file, openssl_every=1
        ) as phones:
            phone = phones.add_device(
                on_alert=lambda alert: shown.put_nowait((time.monotonic(), alert))
            )
            key = await self._install(phones, phone, recipient, wallet_pass)
            points = recipient.points + 1
            self._console.step(f"UpdatePass: {recipient.points:,} beans become {points:,}")
            began = time.monotonic()
            await asyncio.to_thread(
                self._client.update_pass, pass_id=wallet_pass.pass_id, values={"points": points}
            )
            answered = time.monotonic() - began
            try:
                shown_at, alert = await asyncio.wait_for(shown.get(), _PATIENCE_SECONDS)
            except TimeoutError as error:
                raise _explain(phones, phone) from error
        pushed_at = self._push.accepted_at(phone.push_token(key.pass_type_identifier))
        if pushed_at is None:
            raise DemoFailed("the phone looked for updates without a push")
        update = Update(
            answered=answered, pushed=pushed_at - began, shown=shown_at - began, alert=alert
        )
        self._tell(update)
        return update

    async def _install(
        self, phones: WalletFleet, phone: WalletDevice, recipient: Recipient, wallet_pass: Pass
    ) -> PassKey:
        bundle = await asyncio.to_thread(self._client.get_pass_bundle, pass_id=wallet_pass.pass_id)
        key = await phones.install(phone, bundle)
        self._console.step(
            f"a simulated phone verified the card of {recipient.name} and registered it at "
            f"{self._service.edge_url}"
        )
        return key

    def _tell(self, update: Update) -> None:
        told = {
            update.answered: "UpdatePass is answered: the pass is signed anew",
            update.pushed: "the stand-in for Apple's push service accepts the push",
            update.shown: "the phone has listed, fetched and verified it, and lights up",
        }
        for seconds, what in sorted(told.items()):
            self._console.step(f"{seconds:5.2f} s  {what}")
        self._console.step(f"{'':7}  | {update.alert.title}: {update.alert.line} |")


def _explain(phones: WalletFleet, phone: WalletDevice) -> Exception:
    """Why nothing is on the lock screen, as far as the phone knows."""
    if phones.failures:
        return phones.failures[0][1]
    seen = phone.seen
    return DemoFailed(
        f"the phone shows nothing after {_PATIENCE_SECONDS:.0f} s: it heard {seen.pushes} pushes "
        f"and took {seen.updates} updates"
    )
