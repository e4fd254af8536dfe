"""From what a caller names to a revision ready for rendering."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from passmill import errors
from passmill.domain.callers import Caller, internal_caller
from passmill.domain.ids import RevisionId, TemplateId, TenantId, parse_uuid
from passmill.domain.recent import Recent
from passmill.domain.template_life import TemplateCodec, TemplateRevision
from passmill.errors import AppError, Reason
from passmill.signing.revisions import LoadedRevision, RevisionCache
from passmill.store.assets import find_contents
from passmill.store.database import Database
from passmill.store.programs import get_program
from passmill.store.templates import find_revision_id, get_bare_template, get_revision

_LOAD_SECONDS: Final = 10.0
_FRESH_SECONDS: Final = 1.0
_MAX_TARGETS: Final = 10_000

_TargetKey: TypeAlias = tuple[TenantId, TemplateId, int]
_Targets: TypeAlias = Recent[_TargetKey, RevisionId]


class RevisionReader:
    """Reads a revision and its assets for `RevisionCache`."""

    __slots__ = ("_codec", "_database")

    def __init__(self, *, database: Database, codec: TemplateCodec) -> None:
        self._database = database
        self._codec = codec

    async def __call__(
        self, tenant_id: TenantId, revision_id: RevisionId
    ) -> tuple[TemplateRevision, Mapping[str, bytes]]:
        """The revision with its content, and the bytes of its assets by id. AppError NOT_FOUND."""
        deadline = asyncio.get_running_loop().time() + _LOAD_SECONDS
        caller = internal_caller(tenant_id, deadline=deadline)
        async with self._database.transaction(caller, read_only=True) as tx:
            revision = await get_revision(tx, revision_id, codec=self._codec)
            images = revision.content.images if revision.content else ()
            assets = await find_contents(tx, (image.asset_id for image in images))
        return revision, assets


class LoadRevision:
    """Gives callers the revisions they issue from and show.

    Which revision a template's number means is remembered for a second, so that issuing does not
    ask the database for each pass. So another process's publishing or archiving shows here at most
    a second late; this process's use cases call `forget`.
    """

    __slots__ = ("_asking", "_cache", "_database", "_targets")

    def __init__(self, *, database: Database, cache: RevisionCache) -> None:
        self._database = database
        self._cache = cache
        self._targets: _Targets = Recent(capacity=_MAX_TARGETS)
        # A lock lives as long as somebody holds it or waits for it.
        self._asking: WeakValueDictionary[_TargetKey, asyncio.Lock] = WeakValueDictionary()

    async def for_issue(self, caller: Caller, template_id: str, number: int) -> LoadedRevision:
        """The revision `number` of a template, 0 for the newest, if passes may be issued from it.

        AppError NOT_FOUND, TEMPLATE_ARCHIVED, PROGRAM_ARCHIVED or REVISION_NOT_PUBLISHED.
        """
        parsed = parse_uuid(template_id)
        if parsed is None:
            raise errors.not_found("template")
        key = (caller.tenant_id, TemplateId(parsed), number)
        now = asyncio.get_running_loop().time
        revision_id = self._targets.find(key, now=now())
        if revision_id is None:
            async with self._lock(key):
                revision_id = self._targets.find(key, now=now())
                if revision_id is None:
                    revision_id = await self._ask(caller, key)
        return await self._cache.load(caller.tenant_id, revision_id)

    async def by_id(self, caller: Caller, revision_id: RevisionId) -> LoadedRevision:
        """A revision that a pass was issued from, whatever has become of its template.

        AppError NOT_FOUND.
        """
        return await self._cache.load(caller.tenant_id, revision_id)

    def forget(self) -> None:
        """Lets a committed change to a template or program show at once in this process."""
        # Replaced, not emptied: an answer still on its way goes into the old one.
        self._targets = Recent(capacity=_MAX_TARGETS)

    async def _ask(self, caller: Caller, key: _TargetKey) -> RevisionId:
        targets = self._targets
        # Counted from before the question: the answer may be as old as that when it arrives.
        until = asyncio.get_running_loop().time() + _FRESH_SECONDS
        _, template_id, number = key
        async with self._database.transaction(caller, read_only=True) as tx:
            template = await get_bare_template(tx, template_id)
            template.require_active()
            program = await get_program(tx, template.program_id)
            program.require_active()
            revision_id = await find_revision_id(
                tx, template_id, number or template.latest_revision
            )
        if revision_id is None:
            raise not_published(number)
        targets.keep(key, revision_id, until=until)
        return revision_id

    def _lock(self, key: _TargetKey) -> asyncio.Lock:
        lock = self._asking.get(key)
        if lock is None:
            lock = self._asking[key] = asyncio.Lock()
        return lock


def not_published(number: int) -> AppError:
    """The template has no revision of that number, or none at all (0)."""
    return AppError(
        reason=Reason.REVISION_NOT_PUBLISHED,
        message=f"The template has no published revision {number}."
        if number
        else "The template has no published revision yet. Publish it first.",
    )
