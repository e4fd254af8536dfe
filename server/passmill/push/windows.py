"""One push a device and window: who may be pushed now, and who waits for the window's end.

A token's window is a key that expires by itself: the push that opened it, and a `+` once a trailing
push is queued for its end. **Why no change goes without a push after it**, whatever Redis forgets:

- An emptied Redis has no windows, so more is pushed, never less.
- A change is left to a trailing push only where the `+` stands. It is set after that push's job is
  committed in PostgreSQL, and only on the window that was seen; and the trailing push goes out only
  after it has opened a window of its own, which takes the `+` away. So whoever sees the `+` comes
  before the trailing push.
- A trailing push that finds a window closed is queued again, `+` or not: it is never left to
  another. So clocks that differ between Redis and PostgreSQL cost a second job at most.
- A push whose worker died finds its own windows open.
- A state of a while ago, restored: its windows expire by the clock, and are over as they would have
  been.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from passmill.domain.ids import TenantId
from passmill.push.redis_link import RedisLink

# Tokens of one part are asked for together; in a cluster a part is on one node.
_PARTS: Final = 16

# KEYS: windows. ARGV: the push, the window in ms. Gives for each -1 where it may go now, else how
# many ms the window lasts, with whose it is and whether it has a "+".
_OPEN: Final = """
local found = {}
for at, key in ipairs(KEYS) do
  local held = redis.call('GET', key)
  if not held or held == ARGV[1] or held == ARGV[1] .. '+' then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    found[at] = ''
  else
    found[at] = redis.call('PTTL', key) .. ' ' .. held
  end
end
return found
"""

# KEYS: windows. ARGV: whose each was. Where it still is so, it gets its "+".
_MARK: Final = """
for at, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[at] then
    redis.call('SET', key, ARGV[at] .. '+', 'KEEPTTL')
  end
end
return 1
"""


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window that another push opened."""

    key: str
    holder: bytes
    left: timedelta
    has_trailing: bool


class PushWindows:
    """Windows of all tokens, for all workers."""

    def __init__(self, link: RedisLink, *, window: timedelta) -> None:
        self._link = link
        self._window_ms = int(window.total_seconds() * 1000)

    async def open(
        self, tenant_id: TenantId, topic: str, tokens: Sequence[bytes], push_id: UUID
    ) -> list[ClosedWindow | None]:
        """Opens a window for each token; None where that may be pushed now. All may when Redis does
        not answer, or there are no windows."""
        found: list[ClosedWindow | None] = [None] * len(tokens)
        if not self._window_ms:
            return found
        parts = _parts(tenant_id, topic, tokens)
        replies = await self._link.ask(
            [
                ("EVAL", _OPEN, len(part), *[key for _, key in part], push_id.hex, self._window_ms)
                for part in parts
            ]
        )
        for part, reply in zip(parts, replies or (), strict=False):
            if isinstance(reply, list):
                for (at, key), held in zip(part, reply, strict=True):
                    found[at] = _closed(key, held) if held else None
        return found

    async def mark_trailing(self, closed: Sequence[ClosedWindow]) -> None:
        """Says of these windows that a push at their end is queued; it is, durably."""
        parts: dict[str, list[ClosedWindow]] = {}
        for each in closed:
            parts.setdefault(each.key[: each.key.index("}")], []).append(each)
        await self._link.ask(
            [
                ("EVAL", _MARK, len(part), *[each.key for each in part], *[w.holder for w in part])
                for part in parts.values()
            ]
        )


def _parts(tenant_id: TenantId, topic: str, tokens: Sequence[bytes]) -> list[list[tuple[int, str]]]:
    """The windows' keys by part, each with its token's position."""
    parts: list[list[tuple[int, str]]] = [[] for _ in range(_PARTS)]
    prefix = f"{tenant_id}/{topic}/".encode()
    for at, token in enumerate(tokens):
        # A digest, as tokens are nobody's business; 96 bits, as a clash only delays a push.
        digest = hashlib.blake2b(prefix + token, digest_size=12).hexdigest()
        part = int(digest[0], 16)
        parts[part].append((at, f"passmill:{{window:{part}}}:{digest}"))
    return [part for part in parts if part]


def _closed(key: str, held: bytes) -> ClosedWindow:
    left, _, holder = held.partition(b" ")
    return ClosedWindow(
        key=key,
        holder=holder,
        left=timedelta(milliseconds=max(int(left), 0)),
        has_trailing=holder.endswith(b"+"),
    )
