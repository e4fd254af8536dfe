"""Puts the generated protocol code into the client's wheel, under the path it has in the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GENERATED = ("passmill/v1", "buf")


class GeneratedCode(BuildHookInterface[Any]):
    """Runs before the wheel is written. Ends the build when the code was not generated yet."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the folders of `GENERATED`."""
        server = Path(self.root).parents[1] / "server"
        for name in GENERATED:
            if not (server / name / "__init__.py").is_file():
                raise SystemExit(
                    f"{server / name} is not there: the client is built from a checkout of Passmill"
                    " in which `make proto` has generated the protocol code."
                )
            build_data["force_include"][str(server / name)] = name
