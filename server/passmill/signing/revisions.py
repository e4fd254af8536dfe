"""Template revisions made ready to render and sign, kept while there is room.

A revision never changes, so what is kept is never stale: it goes only to make room.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from passmill import _signer
from passmill.domain.apple import RevisionPins, static_files, write_document
from passmill.domain.ids import RevisionId, TenantId
from passmill.domain.template_life import TemplateRevision
from passmill.domain.templates import (
    BarcodeKind,
    TemplateContent,
    ValueRules,
    compile_value_rules,
    used_barcode_kind,
)
from passmill.signing.native import InvalidBundle, PreparedRevision

DEFAULT_CAPACITY_BYTES: Final = 256 << 20
# A revision without an image still has its content, its rules and a frame.
_OVERHEAD_BYTES: Final = 64 << 10

# Gives a revision with its content, and the bytes of its assets by asset id.
RevisionLoader: TypeAlias = Callable[
    [TenantId, RevisionId], Awaitable[tuple[TemplateRevision, Mapping[str, bytes]]]
]
_Key: TypeAlias = tuple[TenantId, RevisionId]


class PassTooLarge(Exception):
    """A pass.json of more than two mebibytes, which no pass may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRevision:
    """A revision ready for use: `rules` checks values, `files` renders pass.json and holds the
    other files of the bundle; `sign_up_files` is the same with the form of a reward sign-up, None
    where there is none. `barcode_kind`: what its passes' barcodes say, None where that is not made
    by the service."""

    revision: TemplateRevision
    content: TemplateContent
    rules: ValueRules
    files: PreparedRevision
    sign_up_files: PreparedRevision | None = None
    barcode_kind: BarcodeKind | None = None

    def prepared(self, *, is_personalized: bool) -> PreparedRevision:
        """What a pass is signed with and assembled from: as long as its holder has not signed up
        (`is_personalized`), with the form where the revision has one."""
        if is_personalized or self.sign_up_files is None:
            return self.files
        return self.sign_up_files

    @property
    def content_bytes(self) -> int:
        """Bytes of all files."""
        more = 0 if self.sign_up_files is None else self.sign_up_files.content_bytes
        return self.files.content_bytes + more

    @property
    def kept_bytes(self) -> int:
        """How much is held now; rendering makes layouts, which are held too."""
        more = 0 if self.sign_up_files is None else self.sign_up_files.kept_bytes
        return self.files.kept_bytes + more

    def render(self, line: bytes) -> bytes:
        """pass.json of the pass with this line (`encode_pass_data`): some microseconds.

        Raises PassTooLarge; `InvalidBundle` when the values are not of this revision's slots.
        """
        [pass_json] = render_passes(self.files, line)
        return pass_json


def render_passes(prepared: PreparedRevision, lines: bytes) -> list[bytes]:
    """pass.json of each pass of a batch, in order. Raises as `LoadedRevision.render`."""
    try:
        return _signer.render(prepared, lines)
    except InvalidBundle as error:
        if error.reason == "PASS_JSON_SIZE":
            raise PassTooLarge from error
        raise


def load_revision(revision: TemplateRevision, assets: Mapping[str, bytes]) -> LoadedRevision:
    """Prepares a revision: milliseconds and more by the size of its images, so off the
    loop.

    `assets`: bytes by asset id. Raises TemplateNotRenderable and `InvalidBundle`, neither of which
    a published revision gives: publishing loads it before.
    """
    if revision.content is None:
        raise ValueError("A revision is loaded with its content.")
    pins = RevisionPins(
        pass_type_identifier=revision.pass_type_identifier,
        team_identifier=revision.team_identifier,
        web_service_url=revision.web_service_url,
    )
    document = write_document(revision.content, pins)
    files = static_files(revision.content, assets)
    # Without a web service nobody could send the form in.
    can_ask = pins.web_service_url is not None
    with_form = static_files(revision.content, assets, asks_to_sign_up=can_ask)
    return LoadedRevision(
        revision=revision,
        content=revision.content,
        rules=compile_value_rules(revision.content),
        files=PreparedRevision(files, document),
        sign_up_files=None
        if with_form.keys() == files.keys()
        else PreparedRevision(with_form, document),
        barcode_kind=used_barcode_kind(revision.content),
    )


class RevisionCache:
    """Loaded revisions of one process, the least recently used given up first.

    Whoever asks for one that is being loaded waits for that load; when it fails or its asker goes
    away, the next in line tries.
    """

    __slots__ = ("_capacity_bytes", "_entries", "_loader", "_loading")

    def __init__(
        self, *, loader: RevisionLoader, capacity_bytes: int = DEFAULT_CAPACITY_BYTES
    ) -> None:
        """`capacity_bytes`: how much to keep, looked at whenever one is added; the one used last is
        kept however large it is."""
        self._loader = loader
        self._capacity_bytes = capacity_bytes
        self._entries: OrderedDict[_Key, LoadedRevision] = OrderedDict()
        # A lock lives as long as somebody holds it or waits for it.
        self._loading: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    @property
    def used_bytes(self) -> int:
        """About how much memory all that is kept takes now. It grows with use: rendering makes
        layouts."""
        return sum(_size_bytes(each) for each in self._entries.values())

    async def load(self, tenant_id: TenantId, revision_id: RevisionId) -> LoadedRevision:
        """The revision, from here or through the loader, whose errors pass through."""
        key = (tenant_id, revision_id)
        if (kept := self._find(key)) is not None:
            return kept
        lock = self._loading.get(key)
        if lock is None:
            lock = self._loading[key] = asyncio.Lock()
        async with lock:
            if (kept := self._find(key)) is not None:
                return kept
            revision, assets = await self._loader(tenant_id, revision_id)
            loaded = await asyncio.to_thread(load_revision, revision, assets)
            self._keep(key, loaded)
            return loaded

    def _find(self, key: _Key) -> LoadedRevision | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def _keep(self, key: _Key, loaded: LoadedRevision) -> None:
        self._entries[key] = loaded
        used_bytes = self.used_bytes
        while used_bytes > self._capacity_bytes and len(self._entries) > 1:
            _, given_up = self._entries.popitem(last=False)
            used_bytes -= _size_bytes(given_up)


def _size_bytes(loaded: LoadedRevision) -> int:
    return _OVERHEAD_BYTES + loaded.kept_bytes
