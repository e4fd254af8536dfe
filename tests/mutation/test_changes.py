"""What is left out of the count, and no more than that."""

from __future__ import annotations

import ast

import pytest

from tests.mutation.changes import Kind, kind_of


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ('raise AppError(message="Too late.")', 'raise AppError(message="too late.")', Kind.TEXT),
        ('raise AppError(message="Too late.")', "raise AppError(message=None)", Kind.CODE),
        ("raise AppError(reason='A', message='B')", "raise AppError(reason='A')", Kind.CODE),
        ("raise AppError(reason='a')", "raise AppError(reason='A')", Kind.CODE),
        ('raise ValueError("No.")', 'raise ValueError("XXNo.XX")', Kind.TEXT),
        ('raise invalid_field("a", "b")', 'raise invalid_field("a", "XXbXX")', Kind.TEXT),
        ('raise invalid_field("a", "b")', 'raise invalid_field("A", "b")', Kind.CODE),
        ('raise not_found("unit")', 'raise not_found("UNIT")', Kind.CODE),
        ('f("SELECT a FROM b")', 'f("select a from b")', Kind.SQL_CASE),
        ('f("SELECT a FROM b")', 'f("XXSELECT a FROM bXX")', Kind.CODE),
        ("""f("SELECT 'x' FROM b")""", """f("select 'x' from b")""", Kind.SQL_CASE),
        ("""f("SELECT 'x' FROM b")""", """f("SELECT 'X' FROM B")""", Kind.CODE),
        ('f(f"{a} WHERE b = $1")', 'f(f"{a} where b = $1")', Kind.SQL_CASE),
        ('f({"unit": 1})', 'f({"UNIT": 1})', Kind.CODE),
        ("return a + 1", "return a + 2", Kind.CODE),
        ("return a + 1", "return a - 1", Kind.CODE),
    ],
)
def test_kinds(before: str, after: str, kind: Kind) -> None:
    """Texts for people and the case of SQL's words are told from all that programs go by."""
    trees = [
        ast.parse(f"def {name}():\n    {line}").body[0]
        for name, line in (("x_f__mutmut_orig", before), ("x_f__mutmut_1", after))
    ]
    assert kind_of(*trees) is kind
