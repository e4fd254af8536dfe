"""Which of mutmut's changes say nothing about the tests, so that they are neither run nor counted.

mutmut writes every string in capitals, in small letters and between `XX`. Two kinds of these are
left out, by what the syntax trees say and nothing else:

- the text of a refusal, which is for people: what programs go by is its reason, its field and its
  metadata, which are counted;
- SQL's own words and names in the other case, which PostgreSQL reads as the same statement; what
  stands in quotes is counted.
"""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SQL: Final = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|FROM|JOIN|WHERE|AND|SET|VALUES|ORDER BY|RETURNING|LIMIT)\b"
    r"|\$\{}"
)
_QUOTED: Final = re.compile("""'[^']*'|"[^"]*\"""")
_ERRORS: Final = re.compile(r"\w*(Error|Exception|Refused)")


class Kind(enum.Enum):
    """What a change is of."""

    CODE = "code"
    TEXT = "text for people"
    SQL_CASE = "case of SQL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where two trees part: the nodes above, and what stands there in each."""

    above: tuple[ast.AST, ...]
    before: object
    after: object


def kind_of(original: ast.AST, mutant: ast.AST) -> Kind:
    """What mutmut changed in a function, by the trees of both."""
    parted = _difference(original, mutant, ())
    if parted is None or not isinstance(parted.before, str) or not isinstance(parted.after, str):
        return Kind.CODE
    if _is_for_people(parted):
        return Kind.TEXT
    if _is_case_of_sql(parted.before, parted.after):
        return Kind.SQL_CASE
    return Kind.CODE


def _difference(before: object, after: object, above: tuple[ast.AST, ...]) -> Difference | None:
    """None when they are the same."""
    here = Difference(above=above, before=before, after=after)
    if type(before) is not type(after):
        return here
    if isinstance(before, ast.AST) and isinstance(after, ast.AST):
        above = (*above, before)
        pairs = [
            (getattr(before, name, None), getattr(after, name, None))
            for name in before._fields
            if not (name == "name" and len(above) == 1)  # mutmut's own, of the function
        ]
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return here
        pairs = list(zip(before, after, strict=True))
    else:
        return None if before == after else here
    parted = [each for pair in pairs if (each := _difference(*pair, above)) is not None]
    return here if len(parted) > 1 else next(iter(parted), None)


def _is_for_people(parted: Difference) -> bool:
    is_raised = False
    for node, below in _with_next(parted.above):
        if isinstance(node, ast.Raise):
            is_raised = True
        if isinstance(node, ast.keyword) and node.arg == "message":
            return True
        if isinstance(node, ast.Assign) and _is_name(node.targets[0], "message"):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and below in node.args:
            if node.func.id == "invalid_field" and below is not node.args[0]:
                return True
            if is_raised and _ERRORS.fullmatch(node.func.id):
                return True
    return False


def _with_next(nodes: tuple[ast.AST, ...]) -> Iterator[tuple[ast.AST, ast.AST | None]]:
    yield from zip(nodes, (*nodes[1:], None), strict=True)


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_case_of_sql(before: str, after: str) -> bool:
    is_same = before.casefold() == after.casefold()
    are_quotes_kept = _QUOTED.findall(before) == _QUOTED.findall(after)
    return is_same and are_quotes_kept and _SQL.search(before) is not None
