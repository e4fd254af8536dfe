"""Which service a campaign command speaks to, and with which key."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypedDict

from passmill.cli.campaign.errors import CommandFailed
from passmill_client import AsyncClient, Client


class _Arguments(TypedDict, total=False):
    address: str | None
    api_key: str | None
    root_certificates: bytes | None
    plaintext: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what every command takes."""
    group = parser.add_argument_group("service")
    group.add_argument("--address", metavar="HOST:PORT", help="[default: PASSMILL_ADDRESS]")
    group.add_argument(
        "--api-key-file", type=Path, metavar="FILE", help="[default: PASSMILL_API_KEY's text]"
    )
    group.add_argument(
        "--ca-file", type=Path, metavar="PEM", help="whose certificates the service may have"
    )
    group.add_argument(
        "--plaintext", action="store_true", help="unencrypted, as something else encrypts"
    )


def connect(parsed: argparse.Namespace) -> Client:
    """A client. CommandFailed when there is no address or no key."""
    try:
        return Client(**_arguments(parsed))
    except ValueError as error:
        raise CommandFailed(f"{error}, or give --address and --api-key-file") from None


def connect_async(parsed: argparse.Namespace) -> AsyncClient:
    """The same for the running event loop."""
    try:
        return AsyncClient(**_arguments(parsed))
    except ValueError as error:
        raise CommandFailed(f"{error}, or give --address and --api-key-file") from None


def _arguments(parsed: argparse.Namespace) -> _Arguments:
    key_file: Path | None = parsed.api_key_file
    ca_file: Path | None = parsed.ca_file
    return {
        "address": parsed.address,
        "api_key": key_file.read_text(encoding="utf-8").strip() if key_file else None,
        "root_certificates": ca_file.read_bytes() if ca_file else None,
        "plaintext": parsed.plaintext,
    }
