"""Faults put into a copy of the service on purpose: a check that does not notice them would notice
nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SERVER = ROOT / "server"
_NOT_COPIED = shutil.ignore_patterns("__pycache__")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A fault. `path`: of the file below `server/passmill`. `changes`: texts that are there once,
    and what stands there instead."""

    path: str
    changes: Mapping[str, str]


MUTANTS: Mapping[str, Mutant] = {
    # Two who found the same use free both get it.
    "unique": Mutant(
        path="store/migrations/0013_pre_counter.sql",
        changes={"CREATE UNIQUE INDEX redemptions_once": "CREATE INDEX redemptions_once"},
    ),
    # Nobody asks whether offer and pass are in force and a use is free: there is always another.
    "where": Mutant(
        path="store/redemptions.py",
        changes={
            "SELECT CASE o.max_uses WHEN 0 THEN": "SELECT CASE 0 WHEN 0 THEN",
            """
    AND o.state = {OfferState.ACTIVE:d} AND p.state = {PassState.ACTIVE:d}
    AND (o.valid_from IS NULL OR o.valid_from <= $9)
    AND (o.valid_until IS NULL OR o.valid_until > $9)
    AND (o.venue_ids = '{{}}' OR $5 = ANY(o.venue_ids))
    AND free.use_number IS NOT NULL
    AND (o.max_uses = 0 OR o.max_uses > (
        SELECT count(*) FROM redemptions r
        WHERE r.tenant_id = $1 AND r.pass_id = origin.pass_id AND r.offer_id = $4
            AND r.reverse_time IS NULL))
""": "\n",
        },
    ),
    # A request that is sent again is done again.
    "replay": Mutant(
        path="usecases/mutation.py",
        changes={
            "                if kept is not None:\n                    return Answer": (
                "                if kept is None and tx is None:\n                    return Answer"
            )
        },
    ),
}


def put_in(mutant: Mutant, folder: Path) -> None:
    """Copies the service's packages to `folder` and changes the copy. ValueError when a text to be
    changed is not there once: then the mutant is to be written anew."""
    shutil.copytree(_SERVER, folder, ignore=_NOT_COPIED, dirs_exist_ok=True)
    file = folder / "passmill" / mutant.path
    text = file.read_text(encoding="utf-8")
    for before, after in mutant.changes.items():
        if text.count(before) != 1:
            raise ValueError(f"{mutant.path} does not hold once: {before}")
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")


def play_on_mutant(mutant: Mutant, module: str, arguments: Sequence[str]) -> int:
    """Runs the module with these arguments, but `--mutant`, on a faulty copy: its exit status."""
    place = arguments.index("--mutant")
    rest = [*arguments[:place], *arguments[place + 2 :]]
    with tempfile.TemporaryDirectory(prefix="passmill-mutant-") as folder:
        put_in(mutant, Path(folder))
        path = os.pathsep.join([folder, str(ROOT / "clients" / "python"), str(ROOT)])
        return subprocess.run(
            [sys.executable, "-m", module, *rest],
            env=os.environ | {"PYTHONPATH": path},
            cwd=folder,
            check=False,
        ).returncode
