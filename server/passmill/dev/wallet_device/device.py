"""A device with Wallet on it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from passmill.dev.wallet_device.bundle import BundleVerifier, PassContent
from passmill.dev.wallet_device.errors import (
    BundleRefused,
    IdentityChanged,
    OlderLastModified,
    UnknownSerialListed,
    WalletError,
)
from passmill.dev.wallet_device.lock_screen import Alert, find_alert
from passmill.dev.wallet_device.web_service import FetchedPass, Pace, WebService

USER_AGENTS = (
    "passd/1.0 CFNetwork/1496.0.7 Darwin/23.5.0",
    "passd/1.0 CFNetwork/1568.300.101 Darwin/24.2.0",
    "passd/1.0 CFNetwork/3826.500.131 Darwin/24.5.0",
)


class PassKey(NamedTuple):
    """What a pass is to a device: a second one of the same key takes the first one's place."""

    pass_type_identifier: str
    serial_number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPass:
    """A pass in Wallet. `last_modified`: of its download, None when it came another way."""

    content: PassContent
    last_modified: str | None = None
    modified_at: datetime | None = None


@dataclass(slots=True)
class Sightings:
    """What happened on a device."""

    pushes: int = 0
    rounds: int = 0
    updates: int = 0
    not_modified: int = 0
    lock_screen: list[Alert] = field(default_factory=list)


class WalletDevice:
    """One device. `sleep`: how it waits. `languages`: of its owner, best first.

    A device registers what it installs, and asks for updates when it is told (`update`); who tells
    it is the fleet's matter. After each complaint that Apple's devices report it posts their words
    to the service's log, and raises. `on_alert`: told what the lock screen shows, when it does.
    """

    def __init__(
        self,
        *,
        web: WebService,
        verifier: BundleVerifier,
        sleep: Callable[[float], Awaitable[None]],
        languages: tuple[str, ...] = ("en",),
        pace: Pace | None = None,
        push_tokens: dict[str, str] | None = None,
        on_alert: Callable[[Alert], None] = lambda alert: None,
    ) -> None:
        self.library_identifier = secrets.token_hex(16)
        self.push_tokens = dict(push_tokens or {})
        """By pass type: a token belongs to device and pass type."""
        self.passes: dict[PassKey, InstalledPass] = {}
        self.seen = Sightings()
        self.pace = pace or Pace()
        self._web = web
        self._verifier = verifier
        self._sleep = sleep
        self._languages = languages
        self._on_alert = on_alert
        self._tags: dict[str, str] = {}
        self._ever: set[PassKey] = set()

    def push_token(self, pass_type: str) -> str:
        """The token for a pass type, made when first asked for: 32 bytes in hex, as Apple's."""
        return self.push_tokens.setdefault(pass_type, secrets.token_hex(32))

    async def install(self, bundle: bytes, *, last_modified: str | None = None) -> PassKey:
        """Adds a pass if it verifies, and registers it. BundleRefused, or what the web service did
        wrong."""
        content = self._verifier.verify(bundle)
        key = PassKey(content.pass_type_identifier, content.serial_number)
        self.passes[key] = InstalledPass(content=content, last_modified=last_modified)
        self._ever.add(key)
        if content.web_service_url:
            await self.register(key)
        return key

    async def register(self, key: PassKey) -> bool:
        """Registers an installed pass (again); whether the service calls it new."""
        content = self.passes[key].content
        return await self._web.register(
            _base(content),
            self.library_identifier,
            *key,
            token=content.authentication_token,
            push_token=self.push_token(key.pass_type_identifier),
        )

    def replace_push_token(self, pass_type: str) -> str:
        """Apple gives the device another token, to register its passes with. Gives the old one."""
        old = self.push_token(pass_type)
        self.push_tokens[pass_type] = secrets.token_hex(32)
        return old

    async def register_all(self, pass_type: str) -> None:
        """Registers every pass of a type (again)."""
        for key in self._keys(pass_type):
            await self.register(key)

    def swap_token(self, key: PassKey, token: str) -> None:
        """Somebody changed the pass on the device to show another token."""
        installed = self.passes[key]
        content = replace(installed.content, authentication_token=token)
        self.passes[key] = replace(installed, content=content)

    async def remove(self, key: PassKey, *, tells: bool = True) -> None:
        """The owner deletes a pass. `tells`: or the service never hears, as happens."""
        content = self.passes.pop(key).content
        if tells and content.web_service_url:
            await self._web.unregister(
                _base(content), self.library_identifier, *key, token=content.authentication_token
            )

    async def update(self, pass_type: str) -> int:
        """Asks what is new for a pass type and fetches it; gives how many passes changed. The tag
        of the answer is kept when all it names is fetched."""
        await self._react()
        self.seen.rounds += 1
        keys = self._keys(pass_type)
        if not keys:
            return 0
        base = _base(self.passes[keys[0]].content)
        since = self._tags.get(pass_type)
        try:
            listed = await self._web.list_updated(
                base, self.library_identifier, pass_type, since=since
            )
        except WalletError as error:
            task = (
                f"device {self.library_identifier}, pass type {pass_type}, last updated ({since})"
            )
            await self._report(base, f"Get serial #s task (for {task}", error)
            raise
        if listed is None:
            return 0
        changed = 0
        for serial in listed.serial_numbers:
            key = PassKey(pass_type, serial)
            if key in self.passes:
                changed += await self.fetch(key)
            elif key not in self._ever:
                raise UnknownSerialListed(serial)
        self._tags[pass_type] = listed.last_updated
        return changed

    async def fetch(self, key: PassKey) -> bool:
        """Fetches one pass, as the owner does by pulling down its back; whether it changed."""
        installed = self.passes[key]
        content = installed.content
        try:
            fetched = await self._web.fetch(
                _base(content),
                *key,
                token=content.authentication_token,
                since=installed.last_modified,
                pace=self.pace,
            )
            if fetched is None:
                self.seen.not_modified += 1
                return False
            return self._take(key, installed, fetched)
        except WalletError as error:
            pass_type, serial = key
            task = f"pass type {pass_type}, serial number {serial}"
            since = f"if-modified-since ({installed.last_modified})"
            await self._report(_base(content), f"Get pass task ({task}, {since}", error)
            raise

    def _take(self, key: PassKey, before: InstalledPass, fetched: FetchedPass) -> bool:
        """Puts a new version in the old one's place."""
        after = self._verifier.verify(fetched.bundle)
        old = before.content
        if (after.pass_type_identifier, after.serial_number) != key:
            raise IdentityChanged("another pass came")
        if after.authentication_token != old.authentication_token:
            raise IdentityChanged("the authentication token changed")
        is_other = after.digest != old.digest
        if before.modified_at is not None:
            if fetched.modified_at < before.modified_at:
                raise OlderLastModified(f"{fetched.last_modified} after {before.last_modified}")
            if is_other and fetched.modified_at == before.modified_at:
                raise OlderLastModified(f"two versions of {fetched.last_modified}")
        if key not in self.passes:  # removed meanwhile
            return False
        self.passes[key] = replace(
            before,
            content=after,
            last_modified=fetched.last_modified,
            modified_at=fetched.modified_at,
        )
        if is_other:
            self.seen.updates += 1
            alert = find_alert(old, after, self._languages)
            if alert is not None:
                self.seen.lock_screen.append(alert)
                self._on_alert(alert)
        return is_other

    async def _report(self, base: str, task: str, error: WalletError) -> None:
        cause = "Received invalid pass data." if isinstance(error, BundleRefused) else str(error)
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S +0000}"
        line = f"[{now}] {task}; with web service url {base}) encountered error: {cause}"
        try:
            await self._web.log(base, line)
        except WalletError:
            return  # what counts is the first one

    async def _react(self) -> None:
        if self.pace.reaction_seconds:
            await self._sleep(self.pace.reaction_seconds)

    def _keys(self, pass_type: str) -> list[PassKey]:
        return [
            key
            for key, installed in self.passes.items()
            if key.pass_type_identifier == pass_type and installed.content.web_service_url
        ]


def _base(content: PassContent) -> str:
    return content.web_service_url.rstrip("/")
