"""What a device has against a service or a pass."""

from __future__ import annotations


class WalletError(Exception):
    """Anything."""


class BundleRefused(WalletError):
    """Wallet would not install it; the text says why."""


class GaveUp(WalletError):
    """A task failed as often as PassKit tries."""


class ProtocolViolation(WalletError):
    """An answer that the web service's reference forbids."""


class UnexpectedStatus(ProtocolViolation):
    """A status that says neither yes nor try again."""


class BodyNotAllowed(ProtocolViolation):
    """A body with 204 or 304, or as the answer to HEAD."""


class WrongContentType(ProtocolViolation):
    """Not application/vnd.apple.pkpass, or not JSON where it must be."""


class MissingLastModified(ProtocolViolation):
    """A pass without Last-Modified, or with one that is no HTTP date."""


class OlderLastModified(ProtocolViolation):
    """A pass with an earlier Last-Modified than the installed one, or another pass with the same:
    a device that asks with it would miss changes."""


class UnaskedNotModified(ProtocolViolation):
    """304 though nothing said what the device has."""


class BadUpdateList(ProtocolViolation):
    """A list of updates without serial numbers or lastUpdated, or with one twice."""


class UnknownSerialListed(ProtocolViolation):
    """A list names a pass that this device never registered."""


class IdentityChanged(ProtocolViolation):
    """A new version with another serial number, pass type or authentication token."""
