"""Count installs: passes put on devices and taken from them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from passmill.domain.callers import Caller
from passmill.domain.device_statistics import InstallCount, InstallDimension, InstallFilter
from passmill.domain.ids import CampaignId, ProgramId, TemplateId, parse_uuid
from passmill.errors import not_found
from passmill.store.campaigns import get_campaign
from passmill.store.database import Database, Transaction
from passmill.store.device_statistics import count_installs, list_program_templates
from passmill.store.programs import get_program
from passmill.store.templates import get_bare_template
from passmill.usecases.start_campaign import parse_campaign_id


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedInstalls:
    """Which installs to count, as asked for: ids empty and days None where they do not matter."""

    program_id: str = ""
    template_id: str = ""
    campaign_id: str = ""
    day_from: date | None = None
    day_before: date | None = None


class InstallStatistics:
    """Counts a tenant's installs in groups."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def __call__(
        self,
        caller: Caller,
        wanted: WantedInstalls,
        *,
        group_by: Collection[InstallDimension],
        at_most: int,
    ) -> list[InstallCount]:
        """So many groups at most, in the order of their names. AppError NOT_FOUND for a program,
        template or campaign that is none of the tenant's."""
        async with self._database.transaction(caller, read_only=True) as tx:
            return await count_installs(
                tx,
                InstallFilter(
                    template_ids=await _template_ids(tx, wanted),
                    campaign_id=await _campaign_id(tx, wanted.campaign_id),
                    day_from=wanted.day_from,
                    day_before=wanted.day_before,
                ),
                group_by=group_by,
                at_most=at_most,
            )


async def _template_ids(tx: Transaction, wanted: WantedInstalls) -> list[TemplateId] | None:
    chosen: list[TemplateId] | None = None
    if wanted.program_id:
        program_id = parse_uuid(wanted.program_id)
        if program_id is None:
            raise not_found("program")
        await get_program(tx, ProgramId(program_id))
        chosen = await list_program_templates(tx, ProgramId(program_id))
    if wanted.template_id:
        template_id = parse_uuid(wanted.template_id)
        if template_id is None:
            raise not_found("template")
        await get_bare_template(tx, TemplateId(template_id))
        is_chosen = chosen is None or template_id in chosen
        chosen = [TemplateId(template_id)] if is_chosen else []
    return chosen


async def _campaign_id(tx: Transaction, text: str) -> CampaignId | None:
    if not text:
        return None
    return (await get_campaign(tx, parse_campaign_id(text))).campaign_id
