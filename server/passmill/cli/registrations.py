"""`passmill registrations rebuild`: the fan-out index, filled anew from PostgreSQL."""

from __future__ import annotations

import asyncio
import sys
import time

from passmill.compose_index import open_rebuild
from passmill.errors import AppError
from passmill.settings import Settings


def rebuild(settings: Settings) -> int:
    """Fills the whole index and tells how far it is; 0, or 1 when it could not. The service goes on
    meanwhile: each part is put in its place when it is whole."""
    try:
        asyncio.run(_rebuild(settings))
    except AppError as error:
        print(f"passmill: {error.message} Nothing is lost: start it again.", file=sys.stderr)
        return 1
    return 0


async def _rebuild(settings: Settings) -> None:
    began = time.monotonic()
    registrations = 0
    is_terminal = sys.stderr.isatty()
    async with open_rebuild(settings) as rebuild_index:
        async for done, of, registrations in rebuild_index.everything():
            if is_terminal:
                print(
                    f"\r{done} of {of} parts, {registrations:,} registrations",
                    end="",
                    file=sys.stderr,
                )
    if is_terminal:
        print(file=sys.stderr)
    print(f"{registrations:,} registrations in {time.monotonic() - began:.1f} s")
