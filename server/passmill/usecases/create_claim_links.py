"""Make claim links: one, or a batch, all or none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from passmill.domain.api_keys import hash_secret
from passmill.domain.callers import Caller
from passmill.domain.claim_forms import ClaimField, FieldKind
from passmill.domain.claims import ClaimLink, ClaimLinkId, KnownHolder, new_claim_token
from passmill.domain.clock import Clock
from passmill.domain.holders import identities_of
from passmill.domain.ids import CampaignId, PassId, TemplateId, new_uuid, parse_uuid
from passmill.domain.keyring import Keyring
from passmill.domain.passes import PassDraft
from passmill.domain.values import SlotType
from passmill.errors import AppError, invalid_field, not_found
from passmill.signing.revisions import LoadedRevision
from passmill.store.campaigns import get_campaign
from passmill.store.claim_links import insert_link_keys, insert_links
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event
from passmill.store.passes import get_passes
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.pass_content import check_draft, invalid_values

_PERSON: Final = (FieldKind.PHONE, FieldKind.EMAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTemplate:
    """Passes to issue by a link."""

    template_id: str
    revision: int
    draft: PassDraft
    fields: tuple[ClaimField, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLink:
    """A link to make. `gives`: what it issues, or the id of a pass issued before. `max_uses`: None
    for any number."""

    gives: WantedTemplate | str
    max_uses: int | None
    once_per_person: bool
    expire_time: datetime | None
    campaign_id: str
    source: str
    utm: Mapping[str, str]
    default_region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedLink:
    """A link, and its token to be shown this once; '' in a dry run, which makes none."""

    link: ClaimLink
    token: str = field(repr=False)


class CreateClaimLinks:
    """Makes links."""

    __slots__ = ("_clock", "_database", "_keyring", "_load_revision", "_mutator")

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        load_revision: LoadRevision,
        keyring: Keyring,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._load_revision = load_revision
        self._keyring = keyring
        self._clock = clock

    async def __call__(
        self,
        mutation: Mutation[Sequence[CreatedLink]],
        wanted: Sequence[WantedLink],
        *,
        path: Callable[[int], str],
    ) -> Answer:
        """One link for each wanted, in their order; the answer holds secrets, so
        `mutation.holds_secret` must be set. `path`: a draft's place in the request, for errors.

        AppError NOT_FOUND (template, pass, campaign), INVALID_FIELD, INVALID_VALUES,
        TEMPLATE_ARCHIVED, PROGRAM_ARCHIVED, REVISION_NOT_PUBLISHED.
        """
        if not mutation.holds_secret:
            raise ValueError("An answer with a secret must be stored sealed.")
        try:
            known = [
                await self._known(mutation.caller, each, path(index))
                for index, each in enumerate(wanted)
            ]
        except AppError:
            # What was made stays made, even if the same request would be refused today.
            if kept := await self._mutator.replay(mutation):
                return kept
            raise

        async def work(tx: Transaction) -> Sequence[CreatedLink]:
            now = self._clock.now()
            await self._require_campaigns(tx, wanted)
            template_ids = await self._templates_of_passes(tx, wanted)
            created = [
                CreatedLink(
                    link=self._link(each, holder, template_ids, path=path(index), now=now),
                    token=new_claim_token(),
                )
                for index, (each, holder) in enumerate(zip(wanted, known, strict=True))
            ]
            rows = [(each.link, hash_secret(each.token)) for each in created]
            await insert_links(tx, rows)
            await insert_link_keys(tx, self._keys(mutation.caller, created))
            detail = {"link_id": str(created[0].link.link_id), "total": len(created)}
            await insert_event(
                tx, kind="claim_link.created", pass_ids=[], detail=json.dumps(detail), now=now
            )
            if mutation.validate_only:
                return [CreatedLink(link=each.link, token="") for each in created]
            return created

        return await self._mutator.run(mutation, work)

    def _keys(
        self, caller: Caller, created: Sequence[CreatedLink]
    ) -> set[tuple[ClaimLinkId, bytes]]:
        """By what a link is found when its holder is erased."""
        return {
            (each.link.link_id, self._keyring.identity_hash(caller.tenant_id, identity.encode()))
            for each in created
            for identity in identities_of(each.link.known.holder)
        }

    async def _known(self, caller: Caller, wanted: WantedLink, path: str) -> KnownHolder:
        """What is known of the holder, checked against the template."""
        if isinstance(wanted.gives, str):
            if wanted.once_per_person:
                raise invalid_field(f"{path}.once_per_person", "asks for nobody's number")
            return KnownHolder()
        gives, below = wanted.gives, f"{path}.template"
        loaded = await self._load_revision.for_issue(caller, gives.template_id, gives.revision)
        _require_fields(gives.fields, loaded, path=below)
        if wanted.once_per_person and not any(
            each.kind in _PERSON and each.is_required for each in gives.fields
        ):
            raise invalid_field(
                f"{path}.once_per_person", "needs a required telephone number or e-mail address"
            )
        return _check_known(loaded, gives, path=f"{below}.draft")

    def _link(
        self,
        wanted: WantedLink,
        known: KnownHolder,
        template_ids: Mapping[PassId, TemplateId],
        *,
        path: str,
        now: datetime,
    ) -> ClaimLink:
        if wanted.expire_time is not None and wanted.expire_time <= now:
            raise invalid_field(f"{path}.expire_time", "must be in the future")
        gives = wanted.gives
        if isinstance(gives, str):
            pass_id: PassId | None = _pass_id(gives)
            template_id, revision_number = template_ids[_pass_id(gives)], 0
            fields: tuple[ClaimField, ...] = ()
        else:
            pass_id, fields = None, gives.fields
            template_id = TemplateId(UUID(gives.template_id))
            revision_number = gives.revision
        return ClaimLink(
            link_id=ClaimLinkId(new_uuid()),
            template_id=template_id,
            revision_number=revision_number,
            pass_id=pass_id,
            known=known,
            fields=fields,
            default_region=wanted.default_region,
            max_uses=wanted.max_uses,
            uses=0,
            once_per_person=wanted.once_per_person,
            expire_time=wanted.expire_time,
            revoke_time=None,
            campaign_id=_campaign_id(wanted.campaign_id) if wanted.campaign_id else None,
            source=wanted.source,
            utm=wanted.utm,
            create_time=now,
        )

    async def _require_campaigns(self, tx: Transaction, wanted: Sequence[WantedLink]) -> None:
        for text in {each.campaign_id for each in wanted if each.campaign_id}:
            await get_campaign(tx, _campaign_id(text))

    async def _templates_of_passes(
        self, tx: Transaction, wanted: Sequence[WantedLink]
    ) -> Mapping[PassId, TemplateId]:
        pass_ids = {_pass_id(each.gives) for each in wanted if isinstance(each.gives, str)}
        found = await get_passes(tx, list(pass_ids)) if pass_ids else []
        return {each.wallet_pass.pass_id: each.template_id for each in found}


def _check_known(loaded: LoadedRevision, gives: WantedTemplate, *, path: str) -> KnownHolder:
    """AppError INVALID_VALUES, but for what is missed and whoever claims will be asked for."""
    asked_for = {
        f"{path}.{each.path}"
        for each in gives.fields
        if each.is_required and each.name not in gives.draft.values
    }
    try:
        checked = check_draft(loaded, gives.draft, path=path)
    except AppError as error:
        rest = [each for each in error.fields if each.path not in asked_for]
        if rest or not error.fields:
            raise invalid_values(rest) if rest else error from error
        checked = check_draft(loaded, gives.draft, path=path, partial=True)
    return KnownHolder(
        holder=checked.holder,
        slot_values=checked.slot_values,
        expire_time=gives.draft.expire_time,
        tags=checked.tags,
    )


def _require_fields(fields: Sequence[ClaimField], loaded: LoadedRevision, *, path: str) -> None:
    """AppError INVALID_FIELD."""
    slots = {slot.name: slot for slot in loaded.content.slots}
    seen: set[str] = set()
    for index, each in enumerate(fields):
        place = f"{path}.fields[{index}]"
        if each.path in seen:
            raise invalid_field(place, "is asked for twice")
        seen.add(each.path)
        is_named = each.kind in (FieldKind.SLOT, FieldKind.CONSENT)
        if is_named != bool(each.name):
            wanted = "is needed" if is_named else "must be empty for this kind"
            raise invalid_field(f"{place}.name", wanted)
        if is_named and not each.label.strip():
            raise invalid_field(f"{place}.label", "is needed")
        if each.kind is FieldKind.SLOT:
            slot = slots.get(each.name)
            if slot is None or slot.type is not SlotType.TEXT:
                raise invalid_field(f"{place}.name", "must be a text slot of the template")


def _pass_id(text: str) -> PassId:
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_found("pass")
    return PassId(parsed)


def _campaign_id(text: str) -> CampaignId:
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_found("campaign")
    return CampaignId(parsed)
