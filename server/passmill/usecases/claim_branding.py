"""How a claim link looks: what its template says, as far as that holds for every pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from passmill.domain.callers import Caller
from passmill.domain.claims import ClaimLink
from passmill.domain.templates import Colors, ImageRole, TemplateContent
from passmill.errors import AppError, ErrorKind
from passmill.signing.revisions import LoadedRevision
from passmill.store.assets import find_contents
from passmill.store.database import Database
from passmill.store.passes import find_passes
from passmill.usecases.load_revision import LoadRevision


@dataclass(frozen=True, slots=True, kw_only=True)
class Branding:
    """Texts, colours (#rrggbb or '') and logo (PNG or b''). `translations`: of these texts, by
    locale."""

    organization_name: str = ""
    title: str = ""
    description: str = ""
    colors: Colors = field(default_factory=Colors)
    translations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    logo_asset_id: str = ""


class ClaimBranding:
    """Reads how links look."""

    __slots__ = ("_database", "_load_revision")

    def __init__(self, *, database: Database, load_revision: LoadRevision) -> None:
        self._database = database
        self._load_revision = load_revision

    async def revision(self, caller: Caller, link: ClaimLink) -> LoadedRevision | None:
        """The revision that a link's pass is, or would be, issued from; None when none can be
        just now, because its template is archived, say."""
        if link.pass_id is not None:
            async with self._database.transaction(caller, read_only=True) as tx:
                found = await find_passes(tx, pass_ids=[link.pass_id], references=())
            if not found:
                return None
            return await self._load_revision.by_id(caller, found[0].wallet_pass.revision_id)
        try:
            return await self._load_revision.for_issue(
                caller, str(UUID(int=link.template_id.int)), link.revision_number
            )
        except AppError as error:
            if error.kind in (ErrorKind.FAILED_PRECONDITION, ErrorKind.NOT_FOUND):
                return None
            raise

    async def logo(self, caller: Caller, branding: Branding) -> bytes:
        """The logo, b'' when there is none."""
        if not branding.logo_asset_id:
            return b""
        async with self._database.transaction(caller, read_only=True) as tx:
            found = await find_contents(tx, [branding.logo_asset_id])
        return found.get(branding.logo_asset_id, b"")


def branding_of(content: TemplateContent) -> Branding:
    """What the template says, but for texts that differ from pass to pass."""
    texts = [content.organization_name, content.title, content.description]
    organization_name, title, description = ("" if "{" in text else text for text in texts)
    return Branding(
        organization_name=organization_name,
        title=title,
        description=description,
        colors=content.colors,
        translations={each.locale: each.strings for each in content.translations},
        logo_asset_id=_logo(content),
    )


def _logo(content: TemplateContent) -> str:
    for role in (ImageRole.LOGO, ImageRole.ICON):
        found = [each for each in content.images if each.role is role and not each.locale]
        if found:
            return max(found, key=lambda image: image.scale).asset_id
    return ""
