"""The coffee club of `passmill dev`: set up at the first start, found again at later ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from passmill.demo.club import Club, set_up
from passmill.dev.authority import ThrowawayAuthority
from passmill.dev.private_file import write_private

CLUB_FILE: Final = "coffee_club.json"
ROOT_FILE: Final = "root.pem"


class KeptClub:
    """The club kept in `folder`, beside the data it lives in; made when there is none yet.

    `root_pem`: what its signatures are checked with, known from the start, for whoever is told of
    it before the service runs.
    """

    def __init__(self, folder: Path) -> None:
        self._kept = folder / CLUB_FILE
        self._root = folder / ROOT_FILE
        self._authority: ThrowawayAuthority | None = None
        if self._kept.exists():
            self.root_pem = self._root.read_bytes()
        else:
            self._authority = ThrowawayAuthority(now=datetime.now(UTC))
            self.root_pem = self._authority.root_pem

    def find_or_set_up(
        self,
        *,
        api_address: str,
        admin_address: str,
        operator_key: str,
        on_step: Callable[[str], None],
    ) -> Club:
        """The club. The root of its authority is left in the folder too, as PEM. PassmillError or
        DemoFailed as `set_up`."""
        if self._authority is None:
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
            return Club(**kept, root_pem=self.root_pem)
        on_step("setting up a coffee club to try things with")
        club = set_up(
            api_address=api_address,
            admin_address=admin_address,
            operator_key=operator_key,
            authority=self._authority,
        )
        self._root.write_bytes(club.root_pem)
        text = json.dumps(
            {
                "tenant_id": club.tenant_id,
                "issue_key": club.issue_key,
                "template_id": club.template_id,
            }
        )
        write_private(self._kept, text)
        self._authority = None  # made once, and its keys are kept nowhere
        return club
