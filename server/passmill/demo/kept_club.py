"""The coffee club of `passmill dev`: set up at the first start, found again at later ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from passmill.demo.club import Club, set_up
from passmill.dev.private_file import write_private

CLUB_FILE: Final = "coffee_club.json"
ROOT_FILE: Final = "root.pem"


def find_or_set_up(
    folder: Path,
    *,
    api_address: str,
    admin_address: str,
    operator_key: str,
    on_step: Callable[[str], None],
) -> Club:
    """The club kept in `folder`, beside the data it lives in; made when there is none yet.

    The root of its authority is left there too, as PEM. PassmillError or DemoFailed as `set_up`.
    """
    kept = folder / CLUB_FILE
    root = folder / ROOT_FILE
    if kept.exists():
        return Club(**json.loads(kept.read_text(encoding="utf-8")), root_pem=root.read_bytes())
    on_step("setting up a coffee club to try things with")
    club = set_up(api_address=api_address, admin_address=admin_address, operator_key=operator_key)
    root.write_bytes(club.root_pem)
    text = json.dumps(
        {
            "tenant_id": club.tenant_id,
            "issue_key": club.issue_key,
            "template_id": club.template_id,
        }
    )
    write_private(kept, text)
    return club
