"""Choosing passes by a segment: windows of a tenant's passes in the order of their ids, each looked
at by one statement of bounded length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, assert_never
from uuid import UUID

from passmill.domain.campaigns import LastSeen, Segment
from passmill.domain.ids import PassId, ProgramId, RevisionId, TemplateId
from passmill.domain.ledger import EntryKind
from passmill.domain.money import Money
from passmill.domain.passes import PassState
from passmill.domain.segments import Ladder, TypedCondition
from passmill.domain.template_life import TemplateCodec
from passmill.domain.values import Slot, Value
from passmill.store.balance_units import list_tiers
from passmill.store.database import Transaction

# So many passes are looked at by one statement: some tens of milliseconds.
WINDOW_PASSES: Final = 20_000
_BOUNDS: Final = 3  # parameters before those of the conditions
_COLUMNS: Final = "SELECT pass_id, revision_id, create_time, state, slot_values FROM passes"
_NEXT_PASSES: Final = f"{_COLUMNS} WHERE tenant_id = $1 AND pass_id > $2::uuid"
_THESE_PASSES: Final = f"{_COLUMNS} WHERE tenant_id = $1 AND pass_id = ANY($2::uuid[])"
_HAS_EXTERNAL_ID: Final = (
    "EXISTS (SELECT FROM pass_external_ids e WHERE e.tenant_id = $1 AND e.pass_id = p.pass_id"
    " AND e.system = {system}::text)"
)
_HAS_TAG: Final = (
    "EXISTS (SELECT FROM pass_tags g WHERE g.tenant_id = $1 AND g.pass_id = p.pass_id"
    " AND g.tag = ANY({tags}::text[]))"
)
_LAST_SEEN: Final = (
    "(SELECT max(d.last_seen_time) FROM registrations g JOIN devices d"
    " ON d.tenant_id = g.tenant_id AND d.device_number = g.device_number"
    " WHERE g.tenant_id = $1 AND g.pass_id = p.pass_id AND g.remove_time IS NULL)"
)
# The offset makes it a column of its own: row security lets no index be searched for a subquery.
_ACCOUNT: Final = (
    "(SELECT coalesce((SELECT a.account_id FROM pass_accounts a"
    " WHERE a.tenant_id = $1 AND a.pass_id = p.pass_id), p.pass_id) OFFSET 0) AS account(id)"
)
_EARNED: Final = (
    "coalesce((SELECT b.earned FROM balances b WHERE b.tenant_id = $1"
    " AND b.account_id = account.id AND b.unit = {unit}::text), 0)"
)
# Not NOT EXISTS: joined so, the tenant's whole ledger would be read anew for each pass.
_EARNED_SINCE: Final = (
    "coalesce((SELECT sum(e.amount)::bigint FROM ledger_entries e WHERE e.tenant_id = $1"
    " AND e.account_id = account.id AND e.unit = {unit}::text AND e.kind = {kind}"
    " AND e.occur_time >= {since}::timestamptz AND (SELECT r.entry_id FROM ledger_entries r"
    " WHERE r.tenant_id = $1 AND r.reversed_entry_id = e.entry_id) IS NULL), 0)"
)
# An instant is stored as RFC 3339 with whole seconds. PostgreSQL takes offsets below 16 hours only,
# so it is put together by hand.
_UTC: Final = "(left({text}, 19)::timestamp - right({text}, 6)::interval)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a look at one window gave. `last`: the last pass looked at; None when there was none
    left."""

    chosen: Sequence[PassId]
    last: PassId | None


async def read_revision_slots(
    tx: Transaction,
    *,
    program_id: ProgramId | None,
    template_id: TemplateId | None,
    number: int | None,
    codec: TemplateCodec,
) -> dict[RevisionId, Sequence[Slot]]:
    """The slots of all revisions that a segment narrowed so may meet, by revision id."""
    rows = await tx.fetch(
        """
        SELECT r.revision_id, r.content
        FROM template_revisions r
        JOIN templates t ON t.tenant_id = r.tenant_id AND t.template_id = r.template_id
        WHERE r.tenant_id = $1 AND ($2::uuid IS NULL OR t.program_id = $2)
            AND ($3::uuid IS NULL OR r.template_id = $3) AND ($4::int IS NULL OR r.number = $4)
        """,
        tx.tenant_id,
        program_id,
        template_id,
        number,
    )
    return {RevisionId(row["revision_id"]): codec.decode(row["content"]).slots for row in rows}


async def read_ladders(
    tx: Transaction,
    wanted: Sequence[str],
    *,
    program_id: ProgramId | None,
    template_id: TemplateId | None,
) -> list[Ladder]:
    """The programs with a tier of such a name, of those that a segment narrowed so may meet."""
    if not wanted:
        return []
    rows = await tx.fetch(
        """
        SELECT t.program_id, array_agg(DISTINCT r.revision_id) AS revision_ids
        FROM templates t JOIN template_revisions r
            ON r.tenant_id = t.tenant_id AND r.template_id = t.template_id
        WHERE t.tenant_id = $1 AND ($2::uuid IS NULL OR t.program_id = $2)
            AND ($3::uuid IS NULL OR t.template_id = $3) AND EXISTS (
                SELECT FROM tiers s WHERE s.tenant_id = $1 AND s.program_id = t.program_id
                    AND s.tier = ANY($4::text[]))
        GROUP BY t.program_id
        """,
        tx.tenant_id,
        program_id,
        template_id,
        list(wanted),
    )
    return [
        Ladder(
            tiers=await list_tiers(tx, ProgramId(row["program_id"])),
            revision_ids=row["revision_ids"],
        )
        for row in rows
    ]


class SegmentQuery:
    """The statement that looks at one window of a tenant's passes."""

    __slots__ = ("_arguments", "_condition", "_window_passes")

    def __init__(
        self,
        segment: Segment,
        *,
        revision_ids: Sequence[RevisionId] | None,
        conditions: Sequence[Sequence[TypedCondition]],
        ladders: Sequence[Ladder],
        created_until: datetime | None,
        now: datetime,
        window_passes: int = WINDOW_PASSES,
    ) -> None:
        """`revision_ids`: those whose passes count, None for all. `conditions`: a pass must meet
        one reading of each. `ladders`: of the programs that have tiers of the segment's; a pass has
        the tier that it has `now`. `created_until`: later passes do not count. `window_passes`: so
        many are looked at by one statement."""
        self._window_passes = window_passes
        # $1 is the tenant, $2 and $3 are what the window is made of.
        self._arguments: list[object] = []
        parts = [f"p.state = {PassState.ACTIVE.value}"]
        if revision_ids is not None:
            parts.append(f"p.revision_id = ANY({self._bind(list(revision_ids))}::bigint[])")
        if segment.created_from is not None:
            parts.append(f"p.create_time >= {self._bind(segment.created_from)}::timestamptz")
        if segment.created_before is not None:
            parts.append(f"p.create_time < {self._bind(segment.created_before)}::timestamptz")
        if created_until is not None:
            parts.append(f"p.create_time <= {self._bind(created_until)}::timestamptz")
        if segment.external_id_system is not None:
            system = self._bind(segment.external_id_system)
            parts.append(_HAS_EXTERNAL_ID.format(system=system))
        if segment.tags:
            parts.append(_HAS_TAG.format(tags=self._bind(list(segment.tags))))
        if segment.last_seen is not None:
            parts.append(self._was_seen(segment.last_seen))
        if segment.tiers:
            parts.append(self._is_in_tier(segment.tiers, ladders, now))
        parts += [self._meets(readings) for readings in conditions]
        self._condition = " AND ".join(parts)

    async def look(self, tx: Transaction, *, after: PassId | None) -> Window:
        """The passes chosen of the tenant's next ones behind `after`."""
        first = after or PassId(UUID(int=0))
        return await self._run(tx, _NEXT_PASSES, first, self._window_passes)

    async def look_at(self, tx: Transaction, pass_ids: Sequence[PassId]) -> Window:
        """The passes chosen of these, as far as they exist."""
        return await self._run(tx, _THESE_PASSES, pass_ids, len(pass_ids))

    async def _run(self, tx: Transaction, window: str, *bounds: object) -> Window:
        # The limit stands inside, so that a rare condition makes no statement longer; and what is
        # outside cannot move in.
        row = await tx.fetch_one(
            f"""
            WITH p AS MATERIALIZED ({window} ORDER BY pass_id LIMIT $3)
            SELECT array_agg(p.pass_id ORDER BY p.pass_id) FILTER (WHERE {self._condition})
                    AS chosen,
                (array_agg(p.pass_id ORDER BY p.pass_id DESC))[1] AS last
            FROM p
            """,  # noqa: S608 - numbers of parameters, and words of this module
            tx.tenant_id,
            *bounds,
            *self._arguments,
        )
        if row is None or row["last"] is None:
            return Window(chosen=(), last=None)
        return Window(
            chosen=[_pass_id(each) for each in row["chosen"] or ()], last=_pass_id(row["last"])
        )

    def _bind(self, argument: object) -> str:
        self._arguments.append(argument)
        return f"${len(self._arguments) + _BOUNDS}"

    def _was_seen(self, wanted: LastSeen) -> str:
        bounds = {">=": wanted.since, "<": wanted.before}
        within = [
            f"seen.at {operator} {self._bind(moment)}::timestamptz"
            for operator, moment in bounds.items()
            if moment is not None
        ]
        # Nothing is within bounds of which there is none.
        seen = " AND ".join(within) or ("false" if wanted.never else "seen.at IS NOT NULL")
        never = "seen.at IS NULL" if wanted.never else "false"
        return f"(SELECT coalesce({seen}, false) OR {never} FROM {_LAST_SEEN} AS seen(at))"  # noqa: S608 - as above

    def _is_in_tier(self, wanted: Sequence[str], ladders: Sequence[Ladder], now: datetime) -> str:
        # From the top: the highest tier that was reached is the pass's.
        cases: list[str] = []
        for ladder in ladders:
            unit = self._bind(ladder.tiers[0].unit)
            earned = [
                f"{self._earned(days, unit, now)} AS within_{days}"
                for days in {tier.within_days for tier in ladder.tiers}
            ]
            steps = [
                f"WHEN earned.within_{tier.within_days} >= {self._bind(tier.at_least)}::bigint"
                f" THEN {str(tier.tier in wanted).lower()}"
                for tier in reversed(ladder.tiers)
            ]
            # The offset keeps what was earned from being looked up for each step.
            found = f"{_ACCOUNT} CROSS JOIN LATERAL (SELECT {', '.join(earned)} OFFSET 0) AS earned"
            reached = f"(SELECT CASE {' '.join(steps)} ELSE false END FROM {found})"  # noqa: S608 - as above
            revisions = self._bind(list(ladder.revision_ids))
            cases.append(f"WHEN p.revision_id = ANY({revisions}::bigint[]) THEN {reached}")
        return f"CASE {' '.join(cases)} ELSE false END" if cases else "false"

    def _earned(self, within_days: int, unit: str, now: datetime) -> str:
        if not within_days:
            return _EARNED.format(unit=unit)
        since = self._bind(now - timedelta(days=within_days))
        return _EARNED_SINCE.format(unit=unit, since=since, kind=EntryKind.EARN.value)

    def _meets(self, readings: Sequence[TypedCondition]) -> str:
        # CASE, as AND promises no order: no value is read as what it is not, whatever a slot of
        # that name is in another revision.
        cases = [
            f"WHEN p.revision_id = ANY({self._bind(list(each.revision_ids))}::bigint[])"
            f" THEN {self._holds(each)}"
            for each in readings
        ]
        return f"CASE {' '.join(cases)} ELSE false END" if cases else "false"

    def _holds(self, reading: TypedCondition) -> str:
        value = (
            f"coalesce(p.slot_values::jsonb -> {self._bind(reading.slot)}::text,"
            f" {self._bind(reading.default)}::jsonb)"
        )
        parts: list[str] = []
        if reading.any_of:
            found = [self._compare(value, "=", each) for each in reading.any_of]
            parts.append(f"({' OR '.join(found)})")
        if reading.at_least is not None:
            parts.append(self._compare(value, ">=", reading.at_least))
        if reading.less_than is not None:
            parts.append(self._compare(value, "<", reading.less_than))
        return f"({' AND '.join(parts)})"

    def _compare(self, value: str, operator: str, wanted: Value) -> str:
        match wanted:
            case bool():
                return f"{value} {operator} {self._bind(str(wanted).lower())}::jsonb"
            case int() | Decimal():
                number = self._bind(Decimal(wanted))
                return f"({value} #>> '{{}}')::numeric {operator} {number}::numeric"
            case Money():
                currency, amount = self._bind(wanted.currency), self._bind(wanted.minor_units)
                return (
                    f"({value} ->> 1 = {currency}::text"
                    f" AND ({value} ->> 0)::bigint {operator} {amount}::bigint)"
                )
            case datetime():
                # As text too: the driver takes the first of all moments for minus infinity.
                moment = self._bind(wanted.isoformat(timespec="seconds"))
                here = _UTC.format(text=f"({value} #>> '{{}}')")
                return f"{here} {operator} {_UTC.format(text=f'{moment}::text')}"
            case str():
                return f"{value} #>> '{{}}' {operator} {self._bind(wanted)}::text"
            case _:
                assert_never(wanted)


def _pass_id(value: UUID) -> PassId:
    # asyncpg's own UUID type is a subclass; the plain one compares and prints alike.
    return PassId(UUID(int=value.int))
