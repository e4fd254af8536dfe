"""Which column becomes what."""

from __future__ import annotations

import pytest

from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.mapping import ColumnMapping
from passmill_client import Value, messages

POINTS = messages.Slot(name="points", type=messages.SLOT_TYPE_INTEGER, required=True)
TIER = messages.Slot(name="tier", type=messages.SLOT_TYPE_TEXT)
NAME = messages.Slot(name="name", type=messages.SLOT_TYPE_TEXT)


def targets(mapping: ColumnMapping, *columns: str) -> dict[str, str]:
    """The target of each column that has one."""
    return {column: str(target) for column, target in mapping.resolve(columns).columns}


def test_columns_are_found_by_name_in_any_spelling() -> None:
    """Case, spaces and hyphens do not matter; slots go by their own name or with values before it;
    what has no meaning is left out and told."""
    mapping = ColumnMapping(slots=[POINTS, TIER])
    columns = [
        "External-ID",
        " Name ",
        "Phone",
        "POINTS",
        "values.tier",
        "external_ids.crm",
        "City",
    ]
    assert targets(mapping, *columns) == {
        "External-ID": "external_id",
        " Name ": "name",
        "Phone": "phone",
        "POINTS": "values.points",
        "values.tier": "values.tier",
        "external_ids.crm": "external_ids.crm",
    }
    assert mapping.resolve(columns).unused == ["City"]


def test_what_is_given_goes_before_what_is_found() -> None:
    """--map wins over names, and one column may have two targets."""
    given = [("No", "external_id"), ("No", "external_ids.crm"), ("Beans", "points")]
    mapping = ColumnMapping(slots=[POINTS, TIER], given=given)
    assert [
        (column, str(target))
        for column, target in mapping.resolve(["points", "No", "Beans", "tier"]).columns
    ] == [
        ("No", "external_id"),
        ("No", "external_ids.crm"),
        ("Beans", "values.points"),
        ("tier", "values.tier"),
    ]


def test_a_slot_called_like_a_part_of_a_recipient_needs_its_prefix() -> None:
    """`name` is the holder's; a slot of that name is values.name."""
    mapping = ColumnMapping(slots=[NAME])
    assert targets(mapping, "external_id", "name", "values.name") == {
        "external_id": "external_id",
        "name": "name",
        "values.name": "values.name",
    }


@pytest.mark.parametrize(
    ("columns", "given", "told"),
    [
        (["points", "name"], [], "--map COLUMN=external_id"),
        (["external_id"], [], "--map COLUMN=points"),
        (["external_id", "points", "Points"], [], "values.points: 'points' and 'Points'"),
        (["external_id", "points", "points"], [], "one name"),
        (["external_id", "points"], [("Beans", "points")], "no column 'Beans'"),
        (["external_id", "points", "x"], [("x", "beans")], "nothing a recipient has"),
        (["external_id", "points", "x"], [("x", "external_ids.CRM!")], "cannot name a system"),
        (["id", "no", "points"], [("id", "external_id"), ("no", "external_id")], "one target"),
    ],
)
def test_what_is_not_clear_is_told_before_anything_is_made(
    columns: list[str], given: list[tuple[str, str]], told: str
) -> None:
    """A missing, doubled or unknown column stops the command with what to do about it."""
    with pytest.raises(CommandFailed, match=told):
        ColumnMapping(slots=[POINTS, TIER], given=given).resolve(columns)


def test_required_slots_need_no_column_where_they_have_a_default_or_passes_are_changed() -> None:
    """A default, or an update, does without; an update needs to know which pass."""
    with_default = messages.Slot(
        name="points",
        type=messages.SLOT_TYPE_INTEGER,
        required=True,
        default_value=Value(integer=0),
    )
    assert targets(ColumnMapping(slots=[with_default]), "external_id")
    update = ColumnMapping(slots=[POINTS], wants_refs=True, needs_slots=False, numbered=True)
    assert targets(update, "Reference ID", "name") == {
        "Reference ID": "reference_id",
        "name": "name",
    }
    with pytest.raises(CommandFailed, match="which pass"):
        update.resolve(["name"])
    # Issuing has no pass to refer to.
    issue = ColumnMapping(slots=[], numbered=True)
    assert targets(issue, "reference_id") == {}
