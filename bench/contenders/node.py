"""Node and the packages that are measured in it, installed into a folder that git ignores."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_INSTALL_SECONDS: Final = 300
_PASSKIT_GENERATOR: Final = "3.6.1"
_WALLETPASS: Final = "7.2.0"
_WALLETPASS_BEFORE_NODE_24: Final = "6.9.8"
_WALLETPASS_NODE: Final = (24, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node with the packages. `versions`: of Node and of each package."""

    program: str
    packages: Path
    versions: dict[str, str]


def install(packages: Path, say: Callable[[str], None]) -> Node | None:
    """Installs the packages unless they are there. None, and the reason said, without Node or when
    npm cannot get them."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        say("there is no Node here: passkit-generator and @walletpass/pass-js are left out")
        return None
    version = _output([program, "--version"]).removeprefix("v")
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    wanted = {
        "passkit-generator": _PASSKIT_GENERATOR,
        "@walletpass/pass-js": _WALLETPASS
        if numbers >= _WALLETPASS_NODE
        else _WALLETPASS_BEFORE_NODE_24,
    }
    if _installed(packages, wanted) != wanted:
        say(f"installing the packages for Node into {packages.name}/")
        packages.mkdir(parents=True, exist_ok=True)
        (packages / "package.json").write_text(json.dumps({"private": True}))
        arguments = [f"{name}@{number}" for name, number in wanted.items()]
        command = [npm, "install", "--prefix", str(packages), "--no-package-lock", "--no-audit"]
        command += ["--no-fund", "--ignore-scripts", "--silent", *arguments]
        try:
            subprocess.run(command, check=True, timeout=_INSTALL_SECONDS, capture_output=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            told = (error.stderr or b"").decode(errors="replace").strip()
            say(f"npm cannot install the packages, they are left out: {told or error}")
            return None
    return Node(program=program, packages=packages, versions={"node": version} | wanted)


def _installed(packages: Path, wanted: dict[str, str]) -> dict[str, str]:
    manifests = {name: packages / "node_modules" / name / "package.json" for name in wanted}
    return {
        name: json.loads(manifest.read_text())["version"]
        for name, manifest in manifests.items()
        if manifest.is_file()
    }


def _output(command: list[str]) -> str:
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    return done.stdout.strip()
