"""What is changed, and which tests must notice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """`sources`: files below `server/passmill`. `only`: of a file, the functions that belong to
    the area, all when it is not named. `tests`: what pytest is given."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)


AREAS: Final = {
    "redeem": Area(
        sources=(
            "domain/scans.py",
            "domain/offers.py",
            "domain/chains.py",
            "domain/redemptions.py",
            "usecases/use_offer.py",
            "usecases/redeem_pass.py",
            "usecases/reverse_redemption.py",
            "usecases/sync_offline_scans.py",
            "store/redemptions.py",
        ),
        tests=("tests/unit/test_counter_rules.py", "tests/unit/test_chains.py", "tests/counter"),
    ),
    "ledger": Area(
        sources=(
            "domain/ledger.py",
            "domain/balance_units.py",
            "usecases/post_entry.py",
            "usecases/post_entries.py",
            "usecases/hold_balance.py",
            "usecases/capture_hold.py",
            "usecases/pay_sale.py",
            "usecases/reverse_entry.py",
            "usecases/account_in_hand.py",
            "store/ledger.py",
            "store/ledger_batch.py",
            "store/holds.py",
            "store/accounts.py",
        ),
        tests=(
            "tests/unit/test_balance_units.py",
            "tests/ledger",
            "tests/stateful/test_ledger.py",
        ),
    ),
    "claims": Area(
        sources=(
            "domain/claims.py",
            "domain/claim_forms.py",
            "usecases/claim_pass.py",
            "usecases/resolve_claim.py",
            "usecases/recover_claim.py",
            "usecases/create_claim_links.py",
            "usecases/present_link.py",
            "usecases/issue_claim.py",
            "usecases/revoke_claim_link.py",
            "store/claims.py",
            "store/claim_links.py",
        ),
        tests=(
            "tests/unit/test_claim_forms.py",
            "tests/claims",
            # Hundreds of requests at once: on a busy machine they would fail without a change.
            "--deselect=tests/claims/test_claim_pages.py::test_get_and_head_use_nothing_up",
            "--deselect=tests/claims/test_claim_pages.py::test_two_hundred_posts_of_a_link_for_three",
        ),
    ),
    "auth": Area(
        sources=(
            "domain/api_keys.py",
            "domain/callers.py",
            "domain/pass_tokens.py",
            "domain/rates.py",
            "usecases/authenticate.py",
            "usecases/authenticate_pass.py",
            "store/api_keys.py",
            "rpc/door.py",
        ),
        only={
            "rpc/door.py": (
                "MethodRule.__post_init__",
                "Call.within",
                "Call.mutation",
                "Door.handlers",
                "Door._method_handler",
                "Door._admit",
                "Door._caller",
                "Door._decode",
                "Door._fingerprint",
                "_credential",
                "snake_case",
            )
        },
        tests=(
            "tests/unit/test_api_keys.py",
            "tests/unit/test_counter_rules.py",
            "tests/unit/test_many_numbers.py",
            "tests/unit/test_keyring.py",
            "tests/integration/test_authenticate.py",
            "tests/rpc/test_door.py",
            "tests/rpc/test_every_method.py::test_without_a_key_nothing_opens",
            "tests/rpc/test_every_method.py::test_scopes_open_what_they_name",
            "tests/rpc/test_admin_api_keys.py",
            "tests/edge/test_client_rates.py",
            "tests/edge/test_web_service.py",
            "tests/devices/test_shared_pass_types.py",
        ),
    ),
}
