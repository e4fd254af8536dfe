"""What the database holds of a person, and how it goes when its holder is erased.

The one list to keep: a test compares it with the catalogue, so that no column that could hold
something of a person comes in undecided. Backups and the write-ahead log are the operator's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from passmill.domain.ids import PassId
from passmill.store.database import Transaction
from passmill.store.pass_origins import origin_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """Columns that hold something of a person. `statement`: what overwrites or deletes them, given
    the tenant ($1) and the person's passes ($2); it may be run again. None where `how` says which
    code does it."""

    columns: frozenset[str]
    how: str
    statement: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Columns that stay as they are, and why."""

    columns: frozenset[str]
    why: str


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


_WITH_PASS: Final = "with the pass, by EraseHolder"  # noqa: S105 - words of ours
# Of a recipient that was refused no pass is known, so it is not found: what stays, until a month
# after the campaign's end, is the operator's own id of it and which of its fields was wrong, not
# what that held.
_IN_CAMPAIGN: Final = "recipient for recipient, by store.erased_recipients, where its pass is known"
_OPERATORS: Final = "the operator's own"
_RANDOM: Final = "random numbers, hashes or keys"
_STATES: Final = "words of ours"
# Under whose ids what the passes did at the counter is kept.
_ORIGINS: Final = (
    f"ANY(ARRAY(SELECT {origin_of('p.pass_id')}"  # noqa: S608 - a name of ours
    " FROM unnest($2::uuid[]) AS p(pass_id)))"
)
_LEDGER: Final = "what a till calls a sale, under the id of a pass; entries are never changed"
_STAFF: Final = "who of staff it was, not whose pass"

ERASED: Final[Mapping[str, Erased]] = MappingProxyType(
    {
        "passes": Erased(
            columns=_columns("holder_name holder_phone slot_values void_reason digest signature"),
            how=_WITH_PASS,
        ),
        "pass_external_ids": Erased(columns=_columns("system external_id"), how=_WITH_PASS),
        "pass_tags": Erased(columns=_columns("tag"), how=_WITH_PASS),
        "holder_keys": Erased(columns=_columns("system key_hash"), how="deleted by EraseHolder"),
        "recipient_chunks": Erased(columns=_columns("content"), how=_IN_CAMPAIGN),
        "recipient_failures": Erased(columns=_columns("external_id message"), how=_IN_CAMPAIGN),
        "campaign_shards": Erased(columns=_columns("undo"), how=_IN_CAMPAIGN),
        "personalizations": Erased(
            columns=_columns("token info signature"),
            how="deleted",
            statement="DELETE FROM personalizations WHERE tenant_id = $1 AND pass_id = ANY($2)",
        ),
        # Of one person is a link that gives one of the passes, or that nobody else has claimed by
        # and that names its holder or was good once: others have what is common to many. Those that
        # nobody has claimed by yet are found by whom they are for (`erase_links_for`): by the same
        # keyed hashes of a telephone number, e-mail address or other id as the holder's. A link
        # that names nobody but by name or values is nobody's that could be told. A campaign's link
        # has its pass's id.
        "claim_links": Erased(
            columns=_columns("draft"),
            how="emptied where it is of one person, before it is claimed by EraseHolder; nobody can"
            " use it any more",
            statement="""
            UPDATE claim_links AS l SET draft = '["", "", {}, "{}", null, []]',
                revoke_time = coalesce(revoke_time, now())
            WHERE tenant_id = $1 AND (link_id = ANY($2)
                OR (pass_id = ANY($2) AND pass_id <> link_id) OR (
                (max_uses = 1 OR draft NOT LIKE '["", "", {}, %')
                AND link_id = ANY(ARRAY(SELECT c.link_id FROM claims c
                    WHERE c.tenant_id = $1 AND c.pass_id = ANY($2)))
                AND NOT EXISTS (SELECT FROM claims o WHERE o.tenant_id = $1
                    AND o.link_id = l.link_id AND (o.pass_id = ANY($2)) IS NOT TRUE)))
            """,
        ),
        "claims": Erased(
            columns=_columns("person_hash second_person_hash answers"),
            how="overwritten",
            statement="UPDATE claims SET person_hash = NULL, second_person_hash = NULL,"
            " answers = '' WHERE tenant_id = $1 AND pass_id = ANY($2)",
        ),
        "redemptions": Erased(
            columns=_columns("undo reverse_reason"),
            how="overwritten; who had what, under the id of a pass, stays",
            statement="UPDATE redemptions SET undo = NULL, reverse_reason = ''"  # noqa: S608 - as above
            f" WHERE tenant_id = $1 AND pass_id = {_ORIGINS}"
            " AND (undo IS NOT NULL OR reverse_reason <> '')",
        ),
        "chain_steps": Erased(
            columns=_columns("undo"),
            how="overwritten; where a pass stood, under its id, stays",
            statement="UPDATE chain_steps SET undo = NULL WHERE tenant_id = $1"  # noqa: S608 - as above
            f" AND pass_id = {_ORIGINS} AND undo IS NOT NULL",
        ),
    }
)
"""By table."""

KEPT: Final[Mapping[str, Sequence[Kept]]] = MappingProxyType(
    {
        "tenants": (
            Kept(columns=_columns("display_name"), why=_OPERATORS),
            Kept(columns=_columns("serial_key reference_key"), why=_RANDOM),
        ),
        "api_keys": (
            Kept(columns=_columns("display_name scopes"), why=_OPERATORS),
            Kept(columns=_columns("key_id secret_hash"), why=_RANDOM),
        ),
        "signing_identities": (
            Kept(
                columns=_columns(
                    "pass_type_identifier team_identifier fingerprint leaf_der intermediate_der"
                    " wrapped_key"
                ),
                why=_OPERATORS,
            ),
        ),
        "programs": (Kept(columns=_columns("display_name pass_type_identifier"), why=_OPERATORS),),
        "assets": (Kept(columns=_columns("asset_id content"), why=_OPERATORS),),
        "templates": (Kept(columns=_columns("display_name draft"), why=_OPERATORS),),
        "template_revisions": (
            Kept(
                columns=_columns(
                    "content pass_type_identifier team_identifier web_service_url sharing"
                ),
                why=_OPERATORS,
            ),
        ),
        "passes": (
            Kept(columns=_columns("barcode_seal"), why="made of ids and a time alone; made anew"),
        ),
        "barcode_keys": (Kept(columns=_columns("public_key wrapped_private_key"), why=_RANDOM),),
        "over_shares": (
            Kept(columns=_columns("token_hash"), why="a hash of a device's token; soon forgotten"),
        ),
        "outbox": (Kept(columns=_columns("kind detail"), why="ids, counts and words of ours"),),
        "request_answers": (
            Kept(columns=_columns("method"), why=_STATES),
            Kept(columns=_columns("fingerprint"), why=_RANDOM),
            Kept(
                columns=_columns("answer"),
                why="ids, states and counts; secrets are sealed; gone after a month",
            ),
        ),
        "deployment": (Kept(columns=_columns("master_key_check edge_key_check"), why=_RANDOM),),
        "schema_migrations": (Kept(columns=_columns("name checksum"), why=_STATES),),
        "campaigns": (
            Kept(
                columns=_columns("display_name definition"),
                why="the operator's own: what is done to many, and how they are chosen",
            ),
            Kept(columns=_columns("state_reason"), why=_STATES),
        ),
        "recipient_streams": (Kept(columns=_columns("resume_after"), why="an id or a place"),),
        "recipient_failures": (Kept(columns=_columns("reason"), why=_STATES),),
        "devices": (
            Kept(
                columns=_columns(
                    "pass_type_identifier device_library_identifier push_token system_version"
                    " push_reason"
                ),
                why="a phone's names for itself, by which it hears that its pass is voided; gone"
                " when it has removed the pass",
            ),
        ),
        "stopped_topics": (Kept(columns=_columns("pass_type_identifier reason"), why=_STATES),),
        "push_counts": (Kept(columns=_columns("pass_type_identifier reason"), why=_STATES),),
        "install_counts": (Kept(columns=_columns("system_version"), why="counts of many"),),
        "balance_units": (Kept(columns=_columns("unit slot value_currency"), why=_OPERATORS),),
        "tiers": (Kept(columns=_columns("tier unit slot slot_value"), why=_OPERATORS),),
        "balances": (Kept(columns=_columns("unit"), why=_OPERATORS),),
        "ledger_entries": (
            Kept(columns=_columns("unit venue"), why=_OPERATORS),
            Kept(columns=_columns("reference"), why=_LEDGER),
        ),
        "holds": (
            Kept(columns=_columns("unit"), why=_OPERATORS),
            Kept(columns=_columns("reference"), why=_LEDGER),
        ),
        "venues": (Kept(columns=_columns("display_name partner"), why=_OPERATORS),),
        "scanners": (
            Kept(columns=_columns("display_name rights"), why=_OPERATORS),
            Kept(columns=_columns("key_id"), why=_RANDOM),
        ),
        "scanner_codes": (
            Kept(columns=_columns("code_hash"), why=_RANDOM),
            Kept(columns=_columns("rights"), why=_OPERATORS),
        ),
        "offers": (
            Kept(
                columns=_columns("display_name cost_unit worth_unit tiers attention mark"),
                why=_OPERATORS,
            ),
        ),
        "chains": (Kept(columns=_columns("display_name"), why=_OPERATORS),),
        "chain_versions": (Kept(columns=_columns("steps"), why=_OPERATORS),),
        "counter_policies": (
            Kept(columns=_columns("demands photo_slot tier_slot attention_slots"), why=_OPERATORS),
        ),
        "claim_links": (
            Kept(columns=_columns("token_hash"), why=_RANDOM),
            Kept(columns=_columns("fields default_region source utm"), why=_OPERATORS),
        ),
        "claims": (Kept(columns=_columns("key_hash"), why=_RANDOM),),
        "claim_link_keys": (
            Kept(
                columns=_columns("key_hash"),
                why="keyed hashes, by which EraseHolder finds links, and which go with their draft",
            ),
        ),
        "redemptions": (
            Kept(columns=_columns("key_id"), why=_RANDOM),
            Kept(columns=_columns("cost_unit"), why=_OPERATORS),
            Kept(columns=_columns("staff"), why=_STAFF),
        ),
        "check_ins": (Kept(columns=_columns("in_staff out_staff"), why=_STAFF),),
        "offline_scans": (
            Kept(columns=_columns("origin fingerprint"), why=_RANDOM),
            Kept(columns=_columns("outcome reason action"), why=_STATES),
            Kept(columns=_columns("staff"), why=_STAFF),
        ),
    }
)
"""By table."""

SCHEMAS_OF_IDS: Final = frozenset({"pgqueuer"})
"""Schemas whose jobs and logs name ids alone: `jobs.worker` keeps every message out of them."""


async def run_scrub(tx: Transaction, statement: str, pass_ids: Sequence[PassId]) -> int:
    """Runs a statement of `ERASED` for a holder's passes; gives how many rows it touched. Each in a
    transaction of its own, so that none waits for another's lock in a circle."""
    return await tx.execute(statement, tx.tenant_id, pass_ids)
