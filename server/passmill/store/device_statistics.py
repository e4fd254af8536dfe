"""Registrations and pushes, listed and counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

import asyncpg

from passmill.domain.device_statistics import (
    NO_CAMPAIGN,
    Convergence,
    InstallCount,
    InstallDimension,
    InstallFilter,
    LastPush,
    ListedRegistration,
    PushCount,
    StoppedTopic,
)
from passmill.domain.ids import CampaignId, PassId, ProgramId, TemplateId
from passmill.domain.registrations import DeviceNumber, Registration, RemoveReason, Wallet
from passmill.store.database import Transaction

_ACCEPTED: Final = 1  # as passmill.domain.push_outcomes numbers it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What a dimension is read from: registrations, and the counts of those that are forgotten."""

    column: str
    registration: str
    forgotten: str


_SOURCES: Final = {
    InstallDimension.TEMPLATE: _Source(
        column="template_id", registration="r.template_id", forgotten="c.template_id"
    ),
    InstallDimension.CAMPAIGN: _Source(
        column="campaign_id",
        registration=f"coalesce(r.campaign_id, '{NO_CAMPAIGN}')",
        forgotten="c.campaign_id",
    ),
    InstallDimension.WALLET: _Source(
        column="wallet", registration="d.wallet", forgotten="c.wallet"
    ),
    InstallDimension.SYSTEM_VERSION: _Source(
        column="system_version", registration="d.system_version", forgotten="c.system_version"
    ),
}
_OF_DEVICES: Final = {InstallDimension.WALLET, InstallDimension.SYSTEM_VERSION}


async def list_registrations(
    tx: Transaction,
    pass_id: PassId,
    *,
    include_removed: bool,
    after: DeviceNumber,
    at_most: int,
) -> list[ListedRegistration]:
    """A pass's registrations by device number, those after `after` (0 for all)."""
    rows = await tx.fetch(
        """
        WITH chosen AS MATERIALIZED (
            SELECT * FROM registrations
            WHERE tenant_id = $1 AND pass_id = $2 AND ($3 OR remove_time IS NULL)
        )
        SELECT r.device_number, r.pass_id, r.template_id, r.campaign_id, r.create_time,
            r.remove_time, r.remove_reason, d.wallet, d.system_version, d.last_seen_time,
            d.push_time, d.push_state, d.push_reason, d.listed_tag >= p.update_tag AS is_told
        FROM chosen r
        JOIN devices d ON d.tenant_id = r.tenant_id AND d.device_number = r.device_number
        JOIN passes p ON p.tenant_id = r.tenant_id AND p.pass_id = r.pass_id
        WHERE r.device_number > $4 ORDER BY r.device_number LIMIT $5
        """,
        tx.tenant_id,
        pass_id,
        include_removed,
        after,
        at_most,
    )
    return [_listed(row) for row in rows]


async def list_program_templates(tx: Transaction, program_id: ProgramId) -> list[TemplateId]:
    """The templates of a program."""
    rows = await tx.fetch(
        "SELECT template_id FROM templates WHERE tenant_id = $1 AND program_id = $2",
        tx.tenant_id,
        program_id,
    )
    return [TemplateId(row["template_id"]) for row in rows]


async def count_installs(
    tx: Transaction,
    wanted: InstallFilter,
    *,
    group_by: Iterable[InstallDimension],
    at_most: int,
) -> list[InstallCount]:
    """Installs by group, in the order of the groups' names, so many groups at most.

    Registrations that were forgotten count as they were counted then, with what their devices said
    at that time.
    """
    dimensions = set(group_by)
    sources = [source for dimension, source in _SOURCES.items() if dimension in dimensions]
    names = [source.column for source in sources]
    days = [] if InstallDimension.DAY not in dimensions else ["day"]
    arguments: list[object] = [tx.tenant_id]

    def bind(argument: object) -> str:
        arguments.append(argument)
        return f"${len(arguments)}"

    conditions, days_wanted = [""], [""]
    if wanted.template_ids is not None:
        conditions.append(f"template_id = ANY({bind(wanted.template_ids)}::uuid[])")
    if wanted.campaign_id is not None:
        conditions.append(f"campaign_id = {bind(wanted.campaign_id)}::uuid")
    if wanted.day_from is not None:
        days_wanted.append(f"day >= {bind(wanted.day_from)}::date")
    if wanted.day_before is not None:
        days_wanted.append(f"day < {bind(wanted.day_before)}::date")
    devices = (
        "JOIN devices d ON d.tenant_id = r.tenant_id AND d.device_number = r.device_number"
        if dimensions & _OF_DEVICES
        else ""
    )
    live = "CASE WHEN remove_day IS NULL THEN count ELSE 0 END"
    groups = ", ".join([*names, *days])
    rows = await tx.fetch(
        f"""
        WITH counted AS (
            SELECT {_listing(f"{each.registration} AS {each.column}" for each in sources)}
                (r.create_time AT TIME ZONE 'UTC')::date AS install_day,
                (r.remove_time AT TIME ZONE 'UTC')::date AS remove_day, count(*) AS count
            FROM registrations r {devices}
            WHERE r.tenant_id = $1 {" AND r.".join(conditions)}
            GROUP BY {_listing(each.registration for each in sources)} install_day, remove_day
            UNION ALL
            SELECT {_listing(each.forgotten for each in sources)} install_day, remove_day, count
            FROM install_counts c WHERE c.tenant_id = $1 {" AND c.".join(conditions)}
        )
        SELECT {_listing([*names, *days])} sum(installs)::bigint AS installs,
            sum(removals)::bigint AS removals, sum(live)::bigint AS live
        FROM counted CROSS JOIN LATERAL (
            VALUES (install_day, count, 0, {live}), (remove_day, 0, count, 0)
        ) AS facts (day, installs, removals, live)
        WHERE day IS NOT NULL {" AND ".join(days_wanted)}
        {f"GROUP BY {groups} ORDER BY {groups}" if groups else "HAVING count(*) > 0"}
        LIMIT {bind(at_most)}
        """,  # noqa: S608 - words of this module, and numbers of parameters
        *arguments,
    )
    return [_install_count(row) for row in rows]


async def count_pushes(
    tx: Transaction,
    *,
    pass_type_identifier: str | None,
    day_from: date | None,
    day_before: date | None,
    at_most: int,
) -> list[PushCount]:
    """Pushes by pass type, day, state and reason, in this order."""
    rows = await tx.fetch(
        """
        SELECT pass_type_identifier, day, state, reason, count FROM push_counts
        WHERE tenant_id = $1 AND ($2::text IS NULL OR pass_type_identifier = $2)
            AND ($3::date IS NULL OR day >= $3) AND ($4::date IS NULL OR day < $4)
        ORDER BY pass_type_identifier, day, state, reason LIMIT $5
        """,
        tx.tenant_id,
        pass_type_identifier,
        day_from,
        day_before,
        at_most,
    )
    return [PushCount(**dict(row)) for row in rows]


async def list_stopped_topics(
    tx: Transaction, *, pass_type_identifier: str | None
) -> list[StoppedTopic]:
    """Pass types that are not pushed to, by name."""
    rows = await tx.fetch(
        "SELECT pass_type_identifier, reason, stop_time, probe_time FROM stopped_topics"
        " WHERE tenant_id = $1 AND ($2::text IS NULL OR pass_type_identifier = $2)"
        " ORDER BY pass_type_identifier",
        tx.tenant_id,
        pass_type_identifier,
    )
    return [StoppedTopic(**dict(row)) for row in rows]


async def measure_convergence(tx: Transaction, template_id: TemplateId, number: int) -> Convergence:
    """How far a template's revision of that number has come. One look at each registration of the
    template.

    A pass has changed since it was issued when its signing time is after its creation: the first
    content is signed at or before it, each later one a second or more after the one before.
    """
    row = await tx.fetch_one(
        """
        WITH held AS MATERIALIZED (
            SELECT r.pass_id, max(d.listed_tag) AS listed_tag,
                max(d.push_time) FILTER (WHERE d.push_state = $4) AS push_time
            FROM registrations r
            JOIN devices d ON d.tenant_id = r.tenant_id AND d.device_number = r.device_number
            WHERE r.tenant_id = $1 AND r.template_id = $2 AND r.remove_time IS NULL
            GROUP BY r.pass_id
        ), later AS MATERIALIZED (
            SELECT revision_id FROM template_revisions
            WHERE tenant_id = $1 AND template_id = $2 AND number >= $3
        ), seen AS (
            SELECT p.revision_id IN (SELECT revision_id FROM later) AS is_moved,
                p.signing_time > p.create_time AS is_changed,
                h.push_time >= p.signing_time AS is_pushed,
                h.listed_tag >= p.update_tag AS is_told,
                coalesce(f.content_time >= p.signing_time, false) AS is_fetched,
                coalesce(f.revision_id IN (SELECT revision_id FROM later), false) AS has_fetched_it
            FROM held h
            JOIN passes p ON p.tenant_id = $1 AND p.pass_id = h.pass_id
            LEFT JOIN pass_fetches f ON f.tenant_id = $1 AND f.pass_id = h.pass_id
        )
        SELECT count(*) AS installed,
            count(*) FILTER (WHERE is_moved) AS moved,
            count(*) FILTER (WHERE is_moved AND is_changed) AS changed,
            count(*) FILTER (WHERE is_moved AND is_changed AND is_pushed) AS pushed,
            count(*) FILTER (WHERE is_moved AND is_changed AND is_told) AS told,
            count(*) FILTER (WHERE is_moved AND is_changed AND is_fetched) AS fetched,
            count(*) FILTER (WHERE has_fetched_it OR is_moved AND NOT is_changed) AS converged
        FROM seen
        """,
        tx.tenant_id,
        template_id,
        number,
        _ACCEPTED,
    )
    assert row is not None  # noqa: S101 - an aggregate has one row
    return Convergence(**dict(row))


def _listing(parts: Iterable[str]) -> str:
    # Each with a comma behind it: something always follows.
    return "".join(f"{part}, " for part in parts)


def _install_count(row: asyncpg.Record) -> InstallCount:
    found = dict(row)
    wallet = found.get("wallet")
    template_id: UUID | None = found.get("template_id")
    campaign_id: UUID | None = found.get("campaign_id")
    return InstallCount(
        template_id=None if template_id is None else TemplateId(template_id),
        campaign_id=None if campaign_id is None else CampaignId(campaign_id),
        day=found.get("day"),
        wallet=None if wallet is None else Wallet(wallet),
        system_version=found.get("system_version"),
        installs=found["installs"],
        removals=found["removals"],
        live=found["live"],
    )


def _listed(row: asyncpg.Record) -> ListedRegistration:
    campaign_id, reason = row["campaign_id"], row["remove_reason"]
    return ListedRegistration(
        registration=Registration(
            device_number=DeviceNumber(row["device_number"]),
            pass_id=PassId(row["pass_id"]),
            wallet=Wallet(row["wallet"]),
            system_version=row["system_version"],
            template_id=TemplateId(row["template_id"]),
            campaign_id=None if campaign_id is None else CampaignId(campaign_id),
            create_time=row["create_time"],
            remove_time=row["remove_time"],
            remove_reason=None if reason is None else RemoveReason(reason),
            last_seen_time=row["last_seen_time"],
        ),
        last_push=None
        if row["push_time"] is None
        else LastPush(
            state=row["push_state"], reason=row["push_reason"] or "", time=row["push_time"]
        ),
        is_told=row["is_told"],
    )
