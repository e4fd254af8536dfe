"""Everything that Passmill is built of, or with, may be given on beside Apache-2.0.

Judged by what packages declare: Python's by the metadata of those on the lock, Rust's by `cargo
metadata` of what is built for this machine. Fuzz targets and benches have packages of their own,
which nobody is given.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement

from tests.support.tools import run

ROOT: Final = Path(__file__).parents[2]
# They ask for their text and names to be kept, at most (https://www.apache.org/legal/resolved.html,
# category A, and their like).
PERMISSIVE: Final = frozenset(
    {
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Unicode-3.0",
        "ZPL-2.1",
    }
)
# Others, package by package, with the licence that was looked at. MPL-2.0 binds the files it stands
# in: these are used as they come, and are in none of our own packages.
PYTHON_EXCEPTIONS: Final = {
    # Declares none. Its own text is MIT's, and that of axe-core in it MPL-2.0: tests of pages.
    "axe-playwright-python": "",
    "bidict": "MPL-2.0",  # of locust: load tests
    "certifi": "MPL-2.0",  # of httpx: Mozilla's roots, for the simulated phone and for tests
    "hypothesis": "MPL-2.0",  # tests
    "pathspec": "MPL-2.0",  # of mypy and hatchling: tools
}
RUST_EXCEPTIONS: Final = {
    # Mozilla's roots, compiled in. It asks for its text to be kept, and nothing of what is made
    # with the data.
    "webpki-roots": "CDLA-Permissive-2.0",
}
# What packages from before SPDX say. A package with several is taken to be under all of them.
CLASSIFIERS: Final = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",  # of two clauses, or of three
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
TEXTS: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
}


def is_permissive(expression: str) -> bool:
    """Whether an SPDX expression lets us choose permissive licences only. AND binds closer than OR
    (SPDX 2.3, annex D)."""

    def judged(found: re.Match[str]) -> str:
        return found[0] if found[0] in {"AND", "OR"} else str(found[0] in PERMISSIVE)

    def chosen(flat: str) -> str:
        return str(any(set(each.split(" AND ")) == {"True"} for each in flat.split(" OR ")))

    rest = re.sub(
        r"[\w.+-]+(?: WITH [\w.-]+)?", judged, canonicalize_license_expression(expression)
    )
    while "(" in rest:
        rest = re.sub(r"\(([^()]*)\)", lambda inner: chosen(inner[1]), rest)
    return chosen(rest) == "True"


def misfits(declared: Mapping[str, str]) -> dict[str, str]:
    """Those of the packages that need an exception: by an expression, or by none that can be
    read."""
    found = {}
    for name, expression in declared.items():
        try:
            fits = is_permissive(expression)
        except InvalidLicenseExpression:
            fits = False
        if not fits:
            found[name] = expression
    return found


def locked_packages() -> Iterator[str]:
    """The packages of the lock that belong on this machine."""
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line.removesuffix("\\"))
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement.name


def python_licence(name: str) -> str:
    """What an installed package declares, the newest form first (PEP 639)."""
    about = metadata(name)
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers = [
        CLASSIFIERS.get(each, each)
        for each in about.get_all("Classifier", [])
        if each.startswith("License :: OSI Approved")
    ]
    if classifiers:
        return " AND ".join(classifiers)
    text = " ".join(about.get_all("License", []))
    return TEXTS.get(text, text)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("mit or GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT AND ISC", True),
        ("(GPL-3.0-only OR MIT) AND ISC", True),
        ("(GPL-3.0-only OR MIT) AND (ISC AND (MPL-2.0 OR LGPL-2.1-or-later))", False),
        ("Apache-2.0 WITH LLVM-exception OR MPL-2.0", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
    ],
)
def test_expressions(expression: str, wanted: bool) -> None:
    """What must be kept to is told from what may be chosen."""
    assert is_permissive(expression) is wanted
    assert (misfits({"package": expression}) == {}) is wanted


def test_what_cannot_be_read_does_not_fit() -> None:
    """A package that declares nothing, or what is no licence, needs an exception."""
    for expression in ("", "see LICENSE", "BSD"):
        assert misfits({"package": expression}) == {"package": expression}


def test_python_packages() -> None:
    """Every package of the lock is permissive, but for the exceptions, each of which is needed."""
    declared = {name: python_licence(name) for name in locked_packages()}
    assert len(declared) > 100
    assert misfits(declared) == PYTHON_EXCEPTIONS


def test_rust_crates() -> None:
    """Every crate that the extension is made of or with is permissive, but for the exceptions."""
    host = re.search(r"^host: (\S+)$", run("rustc", "-vV").decode(), flags=re.MULTILINE)
    assert host
    shown = subprocess.run(
        [
            *("cargo", "metadata", "--format-version=1", "--locked"),
            *("--filter-platform", host[1], "--manifest-path", "signer_ext/Cargo.toml"),
        ],
        cwd=ROOT,
        check=True,
        timeout=50,
        stdout=subprocess.PIPE,
    )
    # Of some crates there are two versions. Before SPDX, `MIT/Apache-2.0` was a choice.
    declared = {
        f"{crate['name']} {crate['version']}": (crate["license"] or "").replace("/", " OR ")
        for crate in json.loads(shown.stdout)["packages"]
    }
    names = {crate.split()[0] for crate in declared}
    assert {"apns", "pkpass", "rsa_mb", "signer-py", "aws-lc-sys"} <= names
    found = {crate.split()[0]: licence for crate, licence in misfits(declared).items()}
    assert found == RUST_EXCEPTIONS
