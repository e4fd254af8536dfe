"""The folder mutmut works in: a copy of the server's sources and of the tests, with its settings.

mutmut wants the package at the top, so that its names are the modules' own. It leaves functions
with a decorator alone, for a decorator may do more than wrap; `property` does not, so that in the
copy `@property` stands behind the function, as an assignment, and what it decorates is changed
like the rest.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
from pathlib import Path
from typing import Final

from tests.mutation.areas import Area

ROOT: Final = Path(__file__).parents[2]

# A run is cut off after (what its tests took without a change + the constant) x the multiplier.
_SECONDS_BESIDE_TESTS: Final = 20.0
_PATIENCE: Final = 8.0


def stage(folder: Path, area: Area, *, seconds_a_test: int) -> None:
    """Makes or renews the folder. What mutmut found out there before is kept."""
    for package in ("passmill", "buf"):
        _copy(ROOT / "server" / package, folder / package)
    _copy(ROOT / "tests", folder / "tests")
    for source in area.sources:
        _free_properties(folder / "passmill" / source)
    (folder / "pyproject.toml").write_text(_settings(area, seconds_a_test), "utf-8")


def _copy(source: Path, target: Path) -> None:
    # With the times of the files: by them mutmut knows what has changed since.
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, target, ignore=skip, dirs_exist_ok=True)


def _free_properties(path: Path) -> None:
    text = path.read_text("utf-8")
    lines = text.splitlines()
    for node in reversed(list(ast.walk(ast.parse(text)))):
        if not isinstance(node, ast.FunctionDef) or len(node.decorator_list) != 1:
            continue
        decorator = node.decorator_list[0]
        if isinstance(decorator, ast.Name) and decorator.id == "property":
            margin = " " * node.col_offset
            assert node.end_lineno is not None
            lines.insert(node.end_lineno, f"{margin}{node.name} = property({node.name})")
            del lines[decorator.lineno - 1]
    changed = path.stat()
    path.write_text("\n".join(lines) + "\n", "utf-8")
    os.utime(path, ns=(changed.st_atime_ns, changed.st_mtime_ns))


def _settings(area: Area, seconds_a_test: int) -> str:
    plugins = ["-p", "tests.mutation.quick_first", "-p", "no:xdist"]
    settings = {
        "source_paths": ["passmill"],
        "only_mutate": [f"passmill/{each}" for each in area.sources],
        "also_copy": ["buf"],
        "pytest_add_cli_args": [*plugins, f"--timeout={seconds_a_test}"],
        "pytest_add_cli_args_test_selection": list(area.tests),
        # gRPC and the signer's threads do not survive a fork: nothing that is forked has run tests.
        "process_isolation": "forkserver",
        "timeout_constant": _SECONDS_BESIDE_TESTS,
        "timeout_multiplier": _PATIENCE,
        "debug": True,  # without it nobody hears why a test failed that nothing was changed for
        "track_dependencies": False,
        "use_git_change_detection": False,
        "on_dependency_change": "ignore",
        "use_setproctitle": False,
    }
    # A value of JSON, as far as these go, is one of TOML.
    ours = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    return (ROOT / "pyproject.toml").read_text("utf-8") + "\n[tool.mutmut]\n" + ours
