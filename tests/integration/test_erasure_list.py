"""The list of what holds something of a person, against the catalogue: a new table or column that
could is decided for or against, or this fails."""

from __future__ import annotations

import asyncio
from collections import Counter

from passmill.store.erasure import ERASED, KEPT, SCHEMAS_OF_IDS
from tests.integration.test_row_level_security import connect, operator
from tests.support.postgres import Database

# What cannot hold a word about anybody.
NUMBERS_AND_TIMES = {
    "bigint",
    "boolean",
    "date",
    "double precision",
    "integer",
    "real",
    "smallint",
    "timestamp with time zone",
    "uuid",
    "xid8",
    "ARRAY:_int8",
    "ARRAY:_uuid",
}


async def _columns(url: str) -> set[tuple[str, str]]:
    """Every column of the service's own tables that could hold a word."""
    async with connect(url) as pool, pool.transaction(operator()) as tx:
        rows = await tx.fetch(
            "SELECT table_schema, table_name, column_name, data_type, udt_name"
            " FROM information_schema.columns"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
    schemas = {row["table_schema"] for row in rows}
    assert schemas == {"public", *SCHEMAS_OF_IDS}, "a schema that nobody decided about"
    found = set()
    for row in rows:
        kind = row["data_type"]
        if kind == "ARRAY":
            kind += f":{row['udt_name']}"
        if row["table_schema"] == "public" and kind not in NUMBERS_AND_TIMES:
            found.add((row["table_name"], row["column_name"]))
    return found


def test_every_column_is_decided_once(database: Database) -> None:
    """Each column of text, bytes or JSON, also in arrays and types to come, is in the list exactly
    once, to be erased or with the reason why it stays; and nothing is in the list that is not in
    the database."""
    decided = Counter(
        [(table, column) for table, erased in ERASED.items() for column in erased.columns]
        + [
            (table, column)
            for table, parts in KEPT.items()
            for kept in parts
            for column in kept.columns
        ]
    )
    assert [place for place, count in decided.items() if count > 1] == []
    columns = asyncio.run(_columns(database.url))
    assert sorted(columns - decided.keys()) == [], "decide about these in store/erasure.py"
    assert sorted(decided.keys() - columns) == [], "these are no more"


def test_every_decision_says_how_or_why() -> None:
    """What is erased says how, and a statement is of its own table; what stays says why."""
    for table, erased in ERASED.items():
        assert erased.columns
        assert erased.how
        assert erased.statement is None or table in erased.statement
    assert all(kept.columns and kept.why for parts in KEPT.values() for kept in parts)
