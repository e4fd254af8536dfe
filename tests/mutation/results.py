"""What mutmut made and found, read from its folder."""

from __future__ import annotations

import ast
import difflib
import enum
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutation.areas import Area
from tests.mutation.changes import Kind, kind_of

# Exit statuses as mutmut keeps them; a signal is negative.
_FAILED: Final = frozenset({1, 3})
_CUT_OFF: Final = frozenset({-24, -9, 24, 152})
_PASSED: Final = frozenset({0})
_NO_TESTS: Final = frozenset({5, 33})
_SEPARATOR: Final = "\N{LATIN LETTER LATERAL CLICK}"


class Outcome(enum.Enum):
    """How a change fared. CAUGHT: a test failed. CUT_OFF: the run took many times as long as
    without the change, which on a busy machine proves nothing. BROKEN: something else is amiss."""

    CAUGHT = "caught"
    CUT_OFF = "cut off"
    MISSED = "missed"
    UNTESTED = "reached by no test"
    UNTRIED = "not tried"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One of mutmut's changes. `function`: `Class.method` or the function's name. `diff`: of the
    function, in lines."""

    name: str
    source: str
    function: str
    kind: Kind
    outcome: Outcome
    diff: str


def changes(folder: Path, area: Area) -> Iterator[Change]:
    """All changes of the area's functions, in the order of the sources."""
    for source in area.sources:
        mutated = folder / "mutants" / "passmill" / source
        kept = mutated.with_name(mutated.name + ".meta")
        exits: dict[str, int | None] = json.loads(kept.read_text("utf-8"))["exit_code_by_key"]
        text = mutated.read_text("utf-8")
        functions = _functions(ast.parse(text))
        for name, status in exits.items():
            short = name.rpartition(".")[2]
            original = short.partition("__mutmut_")[0]
            function = original.removeprefix("x_").removeprefix("x" + _SEPARATOR)
            function = function.replace(_SEPARATOR, ".")
            if source in area.only and function not in area.only[source]:
                continue
            before, after = functions[original + "__mutmut_orig"], functions[short]
            yield Change(
                name=name,
                source=source,
                function=function,
                kind=kind_of(before, after),
                outcome=_outcome(status),
                diff=_diff(before, after, text),
            )


def _functions(module: ast.Module) -> Mapping[str, ast.stmt]:
    classes = [each for each in module.body if isinstance(each, ast.ClassDef)]
    within = [*module.body, *(each for one in classes for each in one.body)]
    return {
        each.name: each
        for each in within
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _outcome(status: int | None) -> Outcome:
    if status is None:
        return Outcome.UNTRIED
    known = (
        (_FAILED, Outcome.CAUGHT),
        (_CUT_OFF, Outcome.CUT_OFF),
        (_PASSED, Outcome.MISSED),
        (_NO_TESTS, Outcome.UNTESTED),
    )
    return next((outcome for statuses, outcome in known if status in statuses), Outcome.BROKEN)


def _diff(before: ast.stmt, after: ast.stmt, text: str) -> str:
    old, new = _lines(before, text), _lines(after, text)
    parts = difflib.unified_diff(old[1:], new[1:], lineterm="", n=1)
    return "\n".join(line for line in parts if not line.startswith(("---", "+++", "@@")))


def _lines(node: ast.stmt, text: str) -> list[str]:
    return text.splitlines()[node.lineno - 1 : node.end_lineno]
